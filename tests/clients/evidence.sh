#!/bin/bash
# The log as evidence, from a live region: checkpoints, proofs, an exported directory, verified by us and by Go's packages.
source "$(dirname "$0")/../lib/region.sh"
live_region

verify_in_go() # DIR KEY
{
    GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$DIR/go-cache GOFLAGS=-buildvcs=false go run "$(dirname "${BASH_SOURCE[0]}")/tlog_verify.go" "$@"
}

flip() # FILE OFFSET: one bit of the byte there
{
    python3 -c 'import sys
f = open(sys.argv[1], "r+b"); f.seek(int(sys.argv[2])); b = f.read(1)[0]; f.seek(int(sys.argv[2])); f.write(bytes([b ^ 1]))' "$@"
}

# ---- records: a key that is used more often than a tile is wide ----
cli_as custodian key create --spec aes_256 --alias orders >/dev/null
head -c 100 /dev/zero >"$DIR/plain"
# shellcheck disable=SC2016 # the inner shell's
seq 260 | xargs -P 4 -I{} sh -c 'bailiwick --config "$0" wrap --key orders <"$1" >/dev/null' "$DIR/eu-central.acme.app.conf" "$DIR/plain"

# ---- checkpoints go on from one another ----
cli_as auditor audit checkpoint --last "$DIR/last" >"$DIR/first"
cmp "$DIR/first" "$DIR/last"
cp "$DIR/last" "$DIR/old"
cli_as app wrap --key orders <"$DIR/plain" >/dev/null
for _ in {1..50}; do # a second at most
    cli_as auditor audit checkpoint --last "$DIR/last" >/dev/null
    cmp -s "$DIR/last" "$DIR/old" || break
done
(($(sed -n 2p "$DIR/last") > $(sed -n 2p "$DIR/old")))
sed '3s/./A/' "$DIR/old" >"$DIR/forged"
if [[ $(sed -n 3p "$DIR/forged") == "$(sed -n 3p "$DIR/old")" ]]; then sed '3s/./B/' "$DIR/old" >"$DIR/forged"; fi
expect 6 "does not go on from the last checkpoint" cli_as auditor audit checkpoint --last "$DIR/forged"
expect 1 NOT_PERMITTED cli_as app audit checkpoint

# ---- export, and the key by which all else is verified ----
cli_as auditor audit export --dir "$DIR/export" >/dev/null
key=$(<"$DIR/export/key")
expect 2 "is there already" cli_as auditor audit export --dir "$DIR/export"
size=$(sed -n 2p "$DIR/export/checkpoint")
[[ $(bailiwick audit verify "$DIR/export" --key "$key") == *": $size records, all as they were signed" ]]
[[ $(bailiwick audit verify "$DIR/export" --key "$DIR/export/key" --last "$DIR/old") == *"$size records"* ]]
[[ $(verify_in_go "$DIR/export" "$key") == *": $size records" ]]
expect 2 "--key is missing" bailiwick audit verify "$DIR/export"

# ---- and of a changed copy nothing is believed ----
cp -r "$DIR/export" "$DIR/changed"
flip "$DIR/changed/disclosures/000" 5
expect 1 "record 0: " bailiwick audit verify "$DIR/changed" --key "$key"
cp -r "$DIR/export/." "$DIR/changed"
flip "$DIR/changed/tile/0/001.p/$((size - 256))" $((32 * 2))
expect 1 "record 258: " bailiwick audit verify "$DIR/changed" --key "$key"
if verify_in_go "$DIR/changed" "$key" 2>/dev/null; then die "Go believed a changed tile"; fi

# ---- one record ----
cli_as auditor audit proof 3 --key "$key" >"$DIR/proof"
[[ $(bailiwick audit verify "$DIR/proof" --key "$key") == *": record 3 of "*", as it was signed" ]]
sed 's/^index 3$/index 4/' "$DIR/proof" >"$DIR/forged"
expect 1 "another root" bailiwick audit verify "$DIR/forged" --key "$key"
expect 6 LOG_POSITION cli_as auditor audit proof 1000000
expect 1 "another key" cli_as auditor audit proof 3 --key "other+$key"

# ---- the region's own log ----
cli_as operator audit export --region --dir "$DIR/own" >/dev/null
[[ $(bailiwick audit verify "$DIR/own" --key "$DIR/own/key") == *"records, all as they were signed" ]]
expect 1 "none of these keys" bailiwick audit verify "$DIR/own" --key "$key"
expect 1 NOT_PERMITTED cli_as auditor audit export --region --dir "$DIR/another"
