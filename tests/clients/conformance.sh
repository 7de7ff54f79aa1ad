#!/bin/bash
# The same program on SoftHSM and through us; what differs is listed, with reasons, in conformance/main.c.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
apps_own_keys
cd "$DIR"
# what is off by default is compared too, with keys that came out of this one
printf '{"rules": [{"name": "all"}, {"name": "ECB too", "mechanisms": ["CKM_AES_ECB"]}]}' | cli_as custodian key policy set aes - >/dev/null
program=$BW_BUILD/tests/conformance

mkdir softhsm
printf 'directories.tokendir = %s\n' "$DIR/softhsm" >softhsm.conf
export SOFTHSM2_CONF=$DIR/softhsm.conf
reference=/usr/lib/softhsm/libsofthsm2.so
softhsm2-util --init-token --free --label direct --pin 1234 --so-pin 1234 >/dev/null
make=(pkcs11-tool --module "$reference" --login --pin 1234)
"${make[@]}" --keygen     --sensitive --key-type AES:32        --id 01 --label aes >said 2>&1
"${make[@]}" --keypairgen --key-type rsa:2048      --id 02 --label rsa >said 2>&1
"${make[@]}" --keypairgen --key-type EC:prime256v1 --id 03 --label ec  >said 2>&1

"$program" "$reference" 1234 >theirs
"$program" "$MODULE" - >ours
"$program" --compare theirs ours
