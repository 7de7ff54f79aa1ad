#!/bin/bash
# Envelopes by a PKCS#11 application: the example of bailiwick_pkcs11.h, compiled as it stands there, and what opens what it made.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
here=$(cd "$(dirname "$0")" && pwd)
cd "$DIR"
header=$BW_SOURCE/include/bailiwick/bailiwick_pkcs11.h
sed -n '/^ \*     /s/^ \*     //p' "$header" >example.inc
grep -q '^C_Encrypt(' example.inc
cc -Wall -Wextra -Werror -I"$DIR" -I"$BW_SOURCE/include" -isystem /usr/include/p11-kit-1 -o app "$here/envelope.c" -ldl
app=("$DIR/app" "$MODULE")
checked "the header's example compiles"

head -c 5000 /dev/urandom >plain
"${app[@]}" encrypt - <plain >envelope
cli_as app unwrap --context file=report.pdf <envelope >opened
cmp plain opened
"${app[@]}" decrypt report.pdf <envelope >opened
cmp plain opened
cli_as app wrap --key aes --context file=other.pdf <plain >other
"${app[@]}" decrypt other.pdf <other >opened
cmp plain opened
checked "what the module made the command line tool opens, and the other way round"

expect 1 "C_Decrypt: CKR 0x40" "${app[@]}" decrypt other.pdf <envelope
head -c 100 envelope >cut-envelope
expect 1 "C_Decrypt: CKR 0x4" "${app[@]}" decrypt report.pdf <cut-envelope
checked "another context and a cut envelope are refused"

start_region ch
make_tenant ch acme
bailiwick --config "$DIR/ch.acme.custodian.conf" key create --spec AES_256 --alias aes >/dev/null
bailiwick --config "$DIR/ch.acme.app.conf" wrap --key aes --context file=report.pdf <plain >foreign
expect 1 "C_Decrypt: CKR 0x68, ulDeviceError 6, WRONG_REGION" "${app[@]}" decrypt report.pdf <foreign
checked "another region's envelope is refused by name, and ulDeviceError says why"
[[ $(records --operation Wrap --outcome granted) == 2 && $(records --operation Unwrap --outcome granted) == 3 ]]
checked "each envelope is a record"
