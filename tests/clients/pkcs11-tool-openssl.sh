#!/bin/bash
# Each operation and mechanism that OpenSC's pkcs11-tool knows, with keys that OpenSSL has too: every result has its counterpart.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"

tool() # ARGUMENT...: quietly
{
    pkcs11-tool --module "$MODULE" "$@" >said 2>&1 || { cat said >&2; return 1; }
}

hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }

known_key() # SPEC LABEL ID BYTES [OPTION...]: a key whose value is in the file LABEL.key
{
    head -c "$4" /dev/urandom >"$2.key"
    cli_as custodian key create --spec "$1" --label "$2" --cka-id "$3" --alias "$2" --imported "${@:5}" >/dev/null
    cli_as custodian import "$2" "$2.key" >/dev/null
}

pair() # SPEC LABEL ID [OPTION...]: its public key is in LABEL.pem
{
    cli_as custodian key create --spec "$1" --label "$2" --cka-id "$3" "${@:4}" >/dev/null
    p11tool --provider "$MODULE" --batch --export-pubkey "pkcs11:id=%$3;type=private" --outfile "$2.pem" 2>/dev/null
}

printf '{"rules": [{"name": "all"}, {"name": "ECB too", "mechanisms": ["CKM_AES_ECB"]}]}' >policy
known_key AES_256 known-aes 21 32 --policy policy
known_key HMAC_512 known-hmac 22 64
printf '{"rules": [{"name": "lets secrets out", "operations": ["derive"], "release": true}]}' >policy
pair EC_P384 p384 24
pair ED25519 ed25519 25
pair EC_P256 ecdh 26 --policy policy
iv=000102030405060708090a0b0c0d0e0f
head -c 3200 /dev/urandom >message

for hash in SHA-1:sha1 SHA224:sha224 SHA256:sha256 SHA384:sha384 SHA512:sha512; do
    tool --hash -m "${hash%:*}" -i message -o digest
    openssl dgst "-${hash#*:}" -binary -out expected message
    cmp expected digest
done
checked "hashes: SHA-1 to SHA-512 are OpenSSL's"

for how in AES-ECB:aes-256-ecb:-nopad AES-CBC:aes-256-cbc:-nopad AES-CBC-PAD:aes-256-cbc:; do
    IFS=: read -r mechanism cipher padding <<<"$how"
    iv_openssl=(-iv "$iv") iv_tool=(--iv "$iv")
    [[ $mechanism != AES-ECB ]] || iv_openssl=() iv_tool=()
    openssl enc "-$cipher" ${padding:+"$padding"} -K "$(hex known-aes.key)" "${iv_openssl[@]}" -in message -out expected
    tool --encrypt --id 21 -m "$mechanism" "${iv_tool[@]}" -i message -o cipher
    cmp expected cipher
    tool --decrypt --id 21 -m "$mechanism" "${iv_tool[@]}" -i expected -o opened
    cmp message opened
done
checked "AES-ECB, AES-CBC, AES-CBC-PAD: ciphertext is OpenSSL's, and OpenSSL's is decrypted"

for hash in SHA-1:SHA1 SHA256:SHA256 SHA384:SHA384 SHA512:SHA512; do
    tool --sign --id 22 -m "${hash%:*}-HMAC" -i message -o mac
    openssl mac -binary -macopt hexkey:"$(hex known-hmac.key)" -digest "${hash#*:}" -in message -out expected HMAC
    cmp expected mac
    tool --verify --id 22 -m "${hash%:*}-HMAC" -i message --signature-file mac
done
checked "SHA*-HMAC: MACs are OpenSSL's"

for hash in SHA1 SHA224 SHA256 SHA384 SHA512; do
    length=$(openssl dgst "-${hash,,}" -binary message | wc -c)
    tool --sign --id 02 -m "$hash-RSA-PKCS" -i message -o signature
    openssl dgst "-${hash,,}" -verify rsa.pem -signature signature message >/dev/null
    tool --verify --id 02 -m "$hash-RSA-PKCS" -i message --signature-file signature
    grep -q 'Signature is valid' said
    tool --sign --id 02 -m "$hash-RSA-PKCS-PSS" --salt-len "$length" -i message -o signature
    openssl dgst "-${hash,,}" -verify rsa.pem -signature signature -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:"$length" message >/dev/null
    tool --verify --id 02 -m "$hash-RSA-PKCS-PSS" --salt-len "$length" -i message --signature-file signature
    grep -q 'Signature is valid' said
done
checked "SHA*-RSA-PKCS and SHA*-RSA-PKCS-PSS: OpenSSL and the tool itself verify"

for key in ec:03 p384:24; do
    for hash in SHA1 SHA224 SHA256 SHA384 SHA512; do
        tool --sign --id "${key#*:}" -m "ECDSA-$hash" --signature-format openssl -i message -o signature
        openssl dgst "-${hash,,}" -verify "${key%:*}.pem" -signature signature message >/dev/null
    done
    tool --sign --id "${key#*:}" -m ECDSA-SHA256 -i message -o signature
    tool --verify --id "${key#*:}" -m ECDSA-SHA256 -i message --signature-file signature
    grep -q 'Signature is valid' said
done
tool --sign --id 25 -m EDDSA -i message -o signature
openssl pkeyutl -verify -pubin -inkey ed25519.pem -rawin -in message -sigfile signature >/dev/null
checked "ECDSA-SHA* over P-256 and P-384, EDDSA: OpenSSL verifies"

head -c 32 /dev/urandom >secret
for hash in SHA-1:sha1:SHA1 SHA224:sha224:SHA224 SHA256:sha256:SHA256 SHA384:sha384:SHA384 SHA512:sha512:SHA512; do
    IFS=: read -r name openssl_name mgf <<<"$hash"
    oaep=(-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:"$openssl_name" -pkeyopt rsa_mgf1_md:"$openssl_name")
    openssl pkeyutl -encrypt -pubin -inkey rsa.pem -in secret -out cipher "${oaep[@]}"
    tool --decrypt --id 02 -m RSA-PKCS-OAEP --hash-algorithm "$name" --mgf "MGF1-$mgf" -i cipher -o opened
    cmp secret opened
done
head -c 256 /dev/zero >number
printf 'a number' | dd of=number bs=1 seek=200 conv=notrunc status=none
openssl pkeyutl -encrypt -pubin -inkey rsa.pem -in number -out cipher -pkeyopt rsa_padding_mode:none
tool --decrypt --id 02 -m RSA-X-509 -i cipher -o opened
cmp number opened
checked "RSA-PKCS-OAEP with SHA-1 to SHA-512, RSA-X-509: OpenSSL's ciphertext is decrypted"

openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out peer.key
openssl pkey -in peer.key -pubout -outform DER -out peer.der
tool --derive --id 26 -m ECDH1-DERIVE -i peer.der -o shared
openssl pkeyutl -derive -inkey peer.key -peerkey ecdh.pem -out expected
cmp expected shared
checked "ECDH1-DERIVE: the secret is OpenSSL's, where the key's policy lets it out"

openssl enc -id-aes256-wrap -K "$(hex known-aes.key)" -iv A6A6A6A6A6A6A6A6 -in secret -out wrapped
tool --unwrap --id 21 -m AES-KEY-WRAP -i wrapped --key-type AES: --application-id 31 --application-label unwrapped
grep -q 'Key unwrapped' said
expect 1 CKR_KEY_UNEXTRACTABLE pkcs11-tool --module "$MODULE" --wrap --id 21 -m AES-KEY-WRAP --application-id 01 -o wrapped
checked "AES-KEY-WRAP: what OpenSSL wrapped is unwrapped; a master key is wrapped by nobody"

apps_own_keys
tool --keygen --key-type AES:16 --id 41 --label mine
tool --set-id 42 --type secrkey --id 41
tool --list-objects --type secrkey --id 42
grep -q 'label: *mine' said
tool --delete-object --type secrkey --id 42
checked "a key's CKA_ID is changed"

pkcs11-tool --module "$MODULE" --test-fork >said 2>&1
checked "pkcs11-tool --test-fork"
