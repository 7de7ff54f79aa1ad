#!/bin/bash
# OpenSC's pkcs11-tool: the check that SoftHSM must pass too, through us.
source "$(dirname "$0")/../lib/region.sh"
live_region

cli_as custodian key create --spec AES_256  --label aes --cka-id 01 >/dev/null
cli_as custodian key create --spec RSA_2048 --label rsa --cka-id 02 >/dev/null
cli_as custodian key create --spec EC_P256  --label ec  --cka-id 03 >/dev/null
MODULE=$MODULE APP=$BW_BUILD/tests/pkcs11_app "$(dirname "$0")/check/pkcs11-tool"
