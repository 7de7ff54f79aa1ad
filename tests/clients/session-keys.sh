#!/bin/bash
# Session keys stay in the region, and every use of one goes through it; a value leaves only where the master key's policy releases
# it, and is on record as such.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"
app=("$BW_BUILD/tests/session_keys" "$MODULE")

head -c 32 /dev/urandom >key
wrap() { openssl pkeyutl -encrypt -pubin -inkey "$1" -in key -out wrapped -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256; }
released() { cli_as auditor audit query --json --operation "$1" | grep -c '"released":true' || true; }

printf '0x11\n' >sensitive
wrap rsa.pem
"${app[@]}" unwrap rsa wrapped >said
cmp sensitive said
[[ $(released UnwrapKey) == 0 ]]
checked "an unwrapped key that the policy does not release is sensitive, whatever its template"

"${app[@]}" use ec >said
cmp <(cat sensitive sensitive) said
[[ $(records --operation GenerateKey --outcome granted) == 1 && $(records --operation DeriveKey --outcome granted) == 1 ]]
[[ $(records --operation Encrypt --outcome granted) == 4 ]]
checked "generated and derived keys are sealed too, and each use of them is a record of the region"

printf '{"rules": [{"name": "lets values out", "operations": ["unwrap"], "release": true}]}' >policy
cli_as custodian key create --spec RSA_2048 --label open --policy policy >/dev/null
pkcs11-tool --module "$MODULE" --read-object --type pubkey --label open -o open.der 2>/dev/null
openssl pkey -pubin -inform DER -in open.der -out open.pem
wrap open.pem
"${app[@]}" unwrap open wrapped >said
cmp key said
[[ $(released UnwrapKey) == 1 ]]
checked "a policy that releases lets the value out, and the record says so"
