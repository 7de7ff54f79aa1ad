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
openssl enc -aes-256-cbc -K "$key" -iv 000102030405060708090a0b0c0d0e0f -in "$DIR/plain" -out "$DIR/cipher"
id=$(cli_as app key show own | hex_of cka_id)
pkcs11-tool --module "$MODULE" --decrypt --mechanism AES-CBC-PAD --iv 000102030405060708090a0b0c0d0e0f --id "$id" \
    -i "$DIR/cipher" -o "$DIR/decrypted" >/dev/null 2>&1
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
expect 1 KEY_TYPE cli_as custodian key create --spec RSA_2048 --imported
expect 1 KEY_STATE cli_as custodian key rotate own

# ---- the tool's own half ----
waiting_key HMAC_256 mac
expect 4 "is not the key that attests" cli_as custodian import mac "$DIR/material" --attestation-key "$DIR/own/wrapping-key.pem"
cli_as custodian import mac "$DIR/material" --attestation-key "$DIR/own/attestation-key.pem" >/dev/null
[[ $(cli_as app key show mac) == *'"state":"ENABLED"'* ]]

# ---- and it is all on record ----
[[ $(cli_as auditor audit query --operation ImportKeyMaterial --outcome granted | wc -l) == 3 ]]
[[ $(cli_as auditor audit query --operation ImportKeyMaterial --outcome intent | wc -l) -ge 3 ]]
