#!/bin/bash
# OpenSC's pkcs11-tool: the same check straight on SoftHSM and through us, its own tests, and keys that it makes.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
check=$(dirname "$0")/check/pkcs11-tool
export APP=$BW_BUILD/tests/pkcs11_app

# tool ARGUMENT...: quietly
tool()
{
    pkcs11-tool --module "$MODULE" "$@" >"$DIR/said" 2>&1 || { cat "$DIR/said" >&2; return 1; }
}

# public_key ID: by p11tool, as pkcs11-tool 0.23 reads EC keys of P-256 only, from whatever module
public_key()
{
    p11tool --provider "$MODULE" --batch --export-pubkey "pkcs11:id=%$1;type=private" --outfile "$DIR/mine.pem" 2>/dev/null
}

# what our check expects holds of an HSM's own module too; SoftHSM does OAEP with SHA-1 only
softhsm()
{
    local -x SOFTHSM2_CONF=$DIR/softhsm.conf MODULE=/usr/lib/softhsm/libsofthsm2.so PIN=1234 SKIP_OAEP_SHA256=1

    mkdir "$DIR/softhsm"
    printf 'directories.tokendir = %s\n' "$DIR/softhsm" >"$SOFTHSM2_CONF"
    softhsm2-util --init-token --free --label direct --pin "$PIN" --so-pin "$PIN" >/dev/null
    tool --login --pin "$PIN" --keygen    --key-type AES:32        --id 01 --label aes
    tool --login --pin "$PIN" --keypairgen --key-type rsa:2048      --id 02 --label rsa
    tool --login --pin "$PIN" --keypairgen --key-type EC:prime256v1 --id 03 --label ec
    "$check" | sed 's/^ok:/ok: SoftHSM:/'
}

softhsm
MODULE=$MODULE "$check"

pkcs11-tool --module "$MODULE" --test >"$DIR/said" 2>&1
grep -q '^No errors' "$DIR/said"
checked "pkcs11-tool --test finds no errors"
for arguments in IL IN; do # C_Initialize with CKF_OS_LOCKING_OK, and with NULL; the tool may go on sleeping, whatever the module
    timeout 2 pkcs11-tool --module "$MODULE" --test-threads "${arguments}GISLT0" >"$DIR/said" 2>&1 || (($? == 124))
    grep -q 'Test thread 0 returning rv = 0' "$DIR/said"
    grep -qE 'Main C_Initialize\(NULL\) rv:CKR_(OK|CRYPTOKI_ALREADY_INITIALIZED)' "$DIR/said"
done
checked "pkcs11-tool --test-threads: a thread initialises the module beside the main one"

# keys of its own: refused until the custodian grants it
expect 1 CKR_KEY_FUNCTION_NOT_PERMITTED pkcs11-tool --module "$MODULE" --keygen --key-type AES:32 --id 14 --label mine
checked "an application makes no keys unless its tenant lets it"
apps_own_keys
tool --keygen     --key-type AES:32          --id 14 --label mine
tool --keygen     --key-type GENERIC:32      --id 15 --label mine
tool --keypairgen --key-type rsa:2048        --id 11 --label mine
tool --keypairgen --key-type EC:secp384r1    --id 12 --label mine
tool --keypairgen --key-type EC:edwards25519 --id 13 --label mine
checked "it makes AES, HMAC, RSA, P-384 and Ed25519 keys"
head -c 1000 /dev/urandom >"$DIR/plain"
openssl dgst -sha384 -binary "$DIR/plain" >"$DIR/digest"
tool --sign --id 12 -m ECDSA --signature-format openssl -i "$DIR/digest" -o "$DIR/signature"
public_key 12
openssl dgst -sha384 -verify "$DIR/mine.pem" -signature "$DIR/signature" "$DIR/plain" >/dev/null
tool --sign --id 13 -m EDDSA -i "$DIR/plain" -o "$DIR/signature"
public_key 13
openssl pkeyutl -verify -pubin -inkey "$DIR/mine.pem" -rawin -in "$DIR/plain" -sigfile "$DIR/signature" >/dev/null
tool --sign --id 15 -m SHA256-HMAC -i "$DIR/plain" -o "$DIR/mac"
[[ $(stat -c %s "$DIR/mac") == 32 ]]
checked "they work: OpenSSL verifies P-384 and Ed25519"

openssl x509 -in "$CA/ca.pem" -outform DER -out "$DIR/ca.der"
tool --write-object "$DIR/ca.der" --type cert --id 11 --label mine
tool --read-object --type cert --id 11 -o "$DIR/read.der"
cmp "$DIR/ca.der" "$DIR/read.der"
tool --write-object "$DIR/plain" --type data --label data --application-label app
tool --read-object --type data --label data -o "$DIR/read"
cmp "$DIR/plain" "$DIR/read"
checked "certificates and data are kept and read again"

# a private and a secret key that the application has already: they travel wrapped for the region's HSM alone
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -outform DER -out "$DIR/own-rsa.der" 2>/dev/null
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -outform DER -out "$DIR/own-ec.der"
tool --write-object "$DIR/own-rsa.der" --type privkey --id 21 --label mine
tool --write-object "$DIR/own-ec.der" --type privkey --id 22 --label mine --usage-sign
openssl rand -out "$DIR/own-aes" 32
tool --write-object "$DIR/own-aes" --type secrkey --key-type AES:32 --id 23 --label mine
openssl pkey -inform DER -in "$DIR/own-rsa.der" -pubout -out "$DIR/own-rsa.pem"
openssl pkey -inform DER -in "$DIR/own-ec.der" -pubout -out "$DIR/own-ec.pem"
tool --sign --id 21 -m SHA256-RSA-PKCS -i "$DIR/plain" -o "$DIR/signature"
openssl dgst -sha256 -verify "$DIR/own-rsa.pem" -signature "$DIR/signature" "$DIR/plain" >/dev/null
openssl pkeyutl -encrypt -pubin -inkey "$DIR/own-rsa.pem" -in "$DIR/digest" -out "$DIR/cipher"
tool --decrypt --id 21 -m RSA-PKCS -i "$DIR/cipher" -o "$DIR/read"
cmp "$DIR/digest" "$DIR/read"
tool --sign --id 22 -m ECDSA-SHA256 --signature-format openssl -i "$DIR/plain" -o "$DIR/signature"
openssl dgst -sha256 -verify "$DIR/own-ec.pem" -signature "$DIR/signature" "$DIR/plain" >/dev/null
openssl enc -aes-256-cbc -K "$(od -An -v -tx1 "$DIR/own-aes" | tr -d ' \n')" -iv 000102030405060708090a0b0c0d0e0f -in "$DIR/plain" -out "$DIR/cipher"
tool --decrypt --id 23 -m AES-CBC-PAD --iv 000102030405060708090a0b0c0d0e0f -i "$DIR/cipher" -o "$DIR/read"
cmp "$DIR/plain" "$DIR/read"
[[ $(records --operation ImportKeyMaterial --outcome granted) == 3 ]]
checked "it writes keys that it has to the token: OpenSSL verifies what they sign, and they decrypt what it encrypted"

for id in 11 12 13 21 22; do
    tool --delete-object --type privkey --id "$id"
done
for id in 14 15 23; do
    tool --delete-object --type secrkey --id "$id"
done
tool --delete-object --type cert --id 11
tool --delete-object --type data --label data
tool --list-objects
expect 1 "" grep mine "$DIR/said"
expect 1 CKR_KEY_FUNCTION_NOT_PERMITTED pkcs11-tool --module "$MODULE" --delete-object --type secrkey --id 01
checked "it deletes what is its own, and not the custodian's keys"
[[ $(records --operation ScheduleDeletion --outcome granted) == 8 && $(records --operation ScheduleDeletion --outcome denied) == 1 ]]
checked "the log has the deletions and the refusal"
