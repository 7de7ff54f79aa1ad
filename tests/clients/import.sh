#!/bin/bash
# Bringing one's own key: the customer's half with nothing but OpenSSL's commands, and with "bailiwick import".
source "$(dirname "$0")/../lib/region.sh"
live_region

waiting_key()
{
    cli_as custodian key create --spec "$1" --alias "$2" --imported | grep -q '"state":"PENDING_IMPORT"'
}

# fields of one line of JSON
hex_of() { sed -n "s/.*\"$1\":\"\([0-9a-f]*\)\".*/\1/p"; }
hexdump_of() { od -An -v -tx1 "$@" | tr -d ' \n'; }

# ---- OpenSSL alone: RSA-OAEP ----
waiting_key AES_256 own
expect 1 KEY_STATE cli_as app wrap --key own </dev/null
cli_as custodian key import-parameters own "$DIR/own"
openssl dgst -sha256 -verify "$DIR/own/attestation-key.pem" -signature "$DIR/own/attestation" "$DIR/own/statement" >/dev/null
sum=$(openssl pkey -pubin -in "$DIR/own/wrapping-key.pem" -outform DER | openssl dgst -sha256 -r)
grep -qx "wrapping-key sha256:${sum%% *}" "$DIR/own/statement"
grep -qx 'region eu-central' "$DIR/own/statement"
openssl rand -out "$DIR/material" 32
key=$(hexdump_of "$DIR/material")
openssl pkeyutl -encrypt -pubin -inkey "$DIR/own/wrapping-key.pem" -pkeyopt rsa_padding_mode:oaep -in "$DIR/material" -out "$DIR/wrapped"
head -c 48 /dev/zero >"$DIR/bad-token"
expect 1 IMPORT_TOKEN_INVALID cli_as custodian key import-material own --token "$DIR/bad-token" "$DIR/wrapped"
expect 1 NOT_PERMITTED cli_as app key import-material own --token "$DIR/own/import-token" "$DIR/wrapped"
answer=$(cli_as custodian key import-material own --token "$DIR/own/import-token" "$DIR/wrapped")
[[ $answer == *'"state":"ENABLED"'* && $answer == *'"origin":"IMPORTED"'* ]]
zeros=$(head -c 16 /dev/zero | openssl enc -aes-256-ecb -nopad -K "$key" | head -c 3 | hexdump_of)
[[ $(hex_of check <<<"$answer") == "$zeros" ]] || die "another check value than OpenSSL's: $answer"

# ---- the imported key decrypts what OpenSSL encrypted with it ----
printf 'encrypted by OpenSSL' >"$DIR/plain"
openssl enc -aes-256-cbc -K "$key" -iv 000102030405060708090a0b0c0d0e0f -in "$DIR/plain" -out "$DIR/cipher-own"
id=$(cli_as app key show own | hex_of cka_id)
pkcs11-tool --module "$MODULE" --decrypt --mechanism AES-CBC-PAD --iv 000102030405060708090a0b0c0d0e0f --id "$id" \
    -i "$DIR/cipher-own" -o "$DIR/decrypted" >/dev/null 2>&1
cmp "$DIR/decrypted" "$DIR/plain"

# ---- a token is good once, for its key ----
expect 1 KEY_STATE cli_as custodian key import-material own --token "$DIR/own/import-token" "$DIR/wrapped"
waiting_key AES_256 second
expect 1 IMPORT_TOKEN_INVALID cli_as custodian key import-material second --token "$DIR/own/import-token" "$DIR/wrapped"
cli_as custodian key import-parameters second "$DIR/second"
cli_as custodian key update second --label changed >/dev/null
expect 1 IMPORT_TOKEN_INVALID cli_as custodian key import-material second --token "$DIR/second/import-token" "$DIR/wrapped"

# ---- OpenSSL alone: RSA-AES-KEY-WRAP ----
rm -r "$DIR/second"
cli_as custodian key import-parameters second "$DIR/second"
openssl rand -out "$DIR/between" 32
openssl pkeyutl -encrypt -pubin -inkey "$DIR/second/wrapping-key.pem" -pkeyopt rsa_padding_mode:oaep -in "$DIR/between" -out "$DIR/wrapped2"
openssl enc -id-aes256-wrap-pad -K "$(hexdump_of "$DIR/between")" -iv A65959A6 -in "$DIR/material" >>"$DIR/wrapped2"
answer=$(cli_as custodian key import-material second --token "$DIR/second/import-token" --aes-wrap "$DIR/wrapped2")
[[ $(hex_of check <<<"$answer") == "$zeros" ]] || die "another check value than OpenSSL's: $answer"

# ---- what is no such key ----
waiting_key AES_128 short
cli_as custodian key import-parameters short "$DIR/short"
expect 1 "" cli_as custodian key import-material short --token "$DIR/short/import-token" "$DIR/wrapped"
[[ $(cli_as custodian key show short) == *'"state":"PENDING_IMPORT"'* ]]
expect 1 NOT_IMPORTABLE cli_as custodian key create --spec ED25519 --imported
[[ $(cli_as app describe) == *'"imports":["AES_128",'*'"RSA_2048",'*'"EC_P521",'* ]]
grep -q 'the HSM imports no such keys.*ED25519' "$DIR/eu-central/log"
expect 1 KEY_STATE cli_as custodian key rotate own

# ---- OpenSSL alone: private keys ----
# wrapped_key NAME: the PKCS#8 of $DIR/NAME.pem, wrapped as $DIR/NAME.wrapped for the key of that alias
wrapped_key()
{
    cli_as custodian key import-parameters "$1" "$DIR/$1"
    grep -q '^oaep-hashes.* SHA1' "$DIR/$1/statement"
    openssl pkey -in "$DIR/$1.pem" -pubout -out "$DIR/$1.pub"
    openssl pkcs8 -topk8 -nocrypt -in "$DIR/$1.pem" -outform DER -out "$DIR/$1.der"
    openssl rand -out "$DIR/between" 32
    openssl pkeyutl -encrypt -pubin -inkey "$DIR/$1/wrapping-key.pem" -pkeyopt rsa_padding_mode:oaep -in "$DIR/between" -out "$DIR/$1.wrapped"
    openssl enc -id-aes256-wrap-pad -K "$(hexdump_of "$DIR/between")" -iv A65959A6 -in "$DIR/$1.der" >>"$DIR/$1.wrapped"
}

# import_pair NAME SPEC: and the check value is the front of the public key's SHA-256
import_pair()
{
    local sum

    waiting_key "$2" "$1"
    wrapped_key "$1"
    answer=$(cli_as custodian key import-material "$1" --token "$DIR/$1/import-token" --aes-wrap --public-key "$DIR/$1.pub" "$DIR/$1.wrapped")
    [[ $answer == *'"state":"ENABLED"'*'"origin":"IMPORTED"'* ]]
    sum=$(openssl pkey -pubin -in "$DIR/$1.pub" -outform DER | openssl dgst -sha256 -r)
    [[ $(hex_of check <<<"$answer") == "${sum:0:6}" ]] || die "another check value than OpenSSL's: $answer"
}

tool() { pkcs11-tool --module "$MODULE" --id "$(cli_as app key show "$1" | hex_of cka_id)" "${@:2}" >/dev/null 2>&1; }

openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out "$DIR/rsa.pem" 2>/dev/null
import_pair rsa RSA_3072
openssl pkeyutl -encrypt -pubin -inkey "$DIR/rsa.pub" -in "$DIR/plain" -out "$DIR/cipher"
tool rsa --decrypt --mechanism RSA-PKCS -i "$DIR/cipher" -o "$DIR/decrypted"
cmp "$DIR/decrypted" "$DIR/plain"
tool rsa --sign --mechanism SHA256-RSA-PKCS -i "$DIR/plain" -o "$DIR/signature"
openssl dgst -sha256 -verify "$DIR/rsa.pub" -signature "$DIR/signature" "$DIR/plain" >/dev/null

for curve in 256 384 521; do
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-$curve -out "$DIR/ec$curve.pem"
    import_pair ec$curve EC_P$curve
    tool ec$curve --sign --mechanism ECDSA-SHA256 --signature-format openssl -i "$DIR/plain" -o "$DIR/signature"
    openssl dgst -sha256 -verify "$DIR/ec$curve.pub" -signature "$DIR/signature" "$DIR/plain" >/dev/null
done

# another's public half, and no public half at all
waiting_key EC_P256 halves
cp "$DIR/ec256.pem" "$DIR/halves.pem"
wrapped_key halves
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | openssl pkey -pubout -out "$DIR/other.pub"
expect 1 OTHER_MATERIAL cli_as custodian key import-material halves --token "$DIR/halves/import-token" --aes-wrap --public-key "$DIR/other.pub" "$DIR/halves.wrapped"
expect 1 BAD_ARGUMENT cli_as custodian key import-material halves --token "$DIR/halves/import-token" --aes-wrap "$DIR/halves.wrapped"
[[ $(cli_as custodian key show halves) == *'"state":"PENDING_IMPORT"'* ]]

# ---- material ends, and only the same comes again ----
state_of() { cli_as custodian key show "$1" | sed -n 's/.*"state":"\([A-Z_]*\)","origin".*/\1/p'; }

cli_as custodian key update own --material-expires now >/dev/null
expect 1 "" cli_as app wrap --key own </dev/null
for ((tries = 200; tries > 0; tries--)); do # housekeeping was woken, and does it after the answer
    [[ $(state_of own) != PENDING_IMPORT ]] || break
done
((tries > 0))
[[ $(cli_as custodian key show own) == *'"state":"AWAITS_IMPORT"'* ]]
openssl rand -out "$DIR/other" 32
expect 1 OTHER_MATERIAL cli_as custodian import own "$DIR/other"
cli_as custodian import own "$DIR/material" --expires +90d >/dev/null
pkcs11-tool --module "$MODULE" --decrypt --mechanism AES-CBC-PAD --iv 000102030405060708090a0b0c0d0e0f --id "$id" -i "$DIR/cipher-own" -o "$DIR/decrypted" >/dev/null 2>&1
cmp "$DIR/decrypted" "$DIR/plain"
[[ $(cli_as auditor audit query --operation ExpireMaterial --outcome granted | wc -l) == 1 ]]

cli_as custodian key update own --expires now >/dev/null
expect 1 EXPIRED cli_as app wrap --key own </dev/null
expect 1 "expired  $(date -u +%Y-%m-%dT%H:)" cli_as app wrap --key own </dev/null
cli_as custodian key update own --expires never >/dev/null
cli_as app wrap --key own </dev/null >/dev/null

# ---- the tool's own half ----
waiting_key HMAC_256 mac
expect 4 "is not the key that attests" cli_as custodian import mac "$DIR/material" --attestation-key "$DIR/own/wrapping-key.pem"
cli_as custodian import mac "$DIR/material" --attestation-key "$DIR/own/attestation-key.pem" >/dev/null
[[ $(cli_as app key show mac) == *'"state":"ENABLED"'* ]]
waiting_key RSA_2048 tools
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$DIR/tools.pem" 2>/dev/null
cli_as custodian import tools "$DIR/tools.pem" >/dev/null
tool tools --sign --mechanism SHA256-RSA-PKCS -i "$DIR/plain" -o "$DIR/signature"
openssl dgst -sha256 -verify <(openssl pkey -in "$DIR/tools.pem" -pubout) -signature "$DIR/signature" "$DIR/plain" >/dev/null

# ---- and it is all on record ----
[[ $(cli_as auditor audit query --operation ImportKeyMaterial --outcome granted | wc -l) == 9 ]]
[[ $(cli_as auditor audit query --operation ImportKeyMaterial --outcome intent | wc -l) -ge 9 ]]
