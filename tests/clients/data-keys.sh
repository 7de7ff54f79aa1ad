#!/bin/bash
# Envelope encryption as applications do it: data keys that OpenSSL made and wrapped are unwrapped in the region and used there.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"
app=("$BW_BUILD/tests/data_keys" "$MODULE")

head -c 32 /dev/urandom >key
head -c 16 /dev/urandom >iv
head -c 50000 /dev/urandom >plain
openssl enc -aes-256-cbc -K "$(od -An -v -tx1 key | tr -d " \n")" -iv "$(od -An -v -tx1 iv | tr -d " \n")" -in plain -out cipher
openssl pkeyutl -encrypt -pubin -inkey rsa.pem -in key -out wrapped -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256

"${app[@]}" rsa wrapped iv cipher 20 </dev/null >opened 2>said
cmp plain opened
[[ $(records --operation UnwrapKey --outcome granted) == 20 && $(records --operation Decrypt --outcome granted) == 40 ]]
checked "20 data keys under RSA-OAEP: one record for each unwrapping, one for each decryption, and their values stay away"

# the sealed key outlives the daemon
mkfifo lines
"${app[@]}" rsa wrapped iv cipher 1 <lines >opened 2>said &
waiting=$!
exec 9>lines
until grep -q decrypted said; do kill -0 $waiting; done
region_stop "$DIR/eu-central"
region_start "$DIR/eu-central"
echo >&9
exec 9>&-
wait $waiting
cmp plain opened
checked "a data key unwrapped before a restart of the daemon decrypts after it"

printf '{"rules": [{"name": "decrypts only", "operations": ["decrypt"]}]}' >policy
cli_as custodian key create --spec RSA_2048 --label narrow --policy policy >/dev/null
expect 1 "WRONG" "${app[@]}" narrow wrapped iv cipher 1
head -c 40 wrapped >damaged
expect 1 "WRONG: p11->C_UnwrapKey" "${app[@]}" rsa damaged iv cipher 1
checked "a policy without unwrap refuses, and so does a damaged key"
