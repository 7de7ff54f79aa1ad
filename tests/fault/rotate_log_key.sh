#!/bin/bash
# The log key is replaced, in a real HSM: old and new checkpoints verify from the first key on, a crash at any moment of it is
# resolved by the next run, and neither a retired key nor a new one signs another past.
source "$(dirname "$0")/../lib/region.sh"
live_region
eu=$DIR/eu-central
KILLS=${1:-8}
cli_as custodian key create --spec AES_256 --alias orders >/dev/null

wrap() { cli_as app wrap --key orders <<<"text" >/dev/null; }
rotate() { SOFTHSM2_CONF=$eu/softhsm2.conf bailiwickd --rotate-log-key --config "$eu/bailiwickd.conf"; }
export_to() { rm -rf "$1"; cli_as auditor audit export --dir "$1" >/dev/null; }
verify_in_go() # DIR KEY
{
    GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$DIR/go-cache GOFLAGS=-buildvcs=false go run "$(dirname "${BASH_SOURCE[0]}")/../clients/tlog_verify.go" "$@"
}
rotations() # OUTCOME: of the region's own log
{
    cli_as operator audit query --region --operation RotateLogKey --outcome "$1" | wc -l
}

# ---- one rotation ----
wrap; wrap
cli_as auditor audit checkpoint --last "$DIR/last" >"$DIR/old"
export_to "$DIR/before"
first=$(<"$DIR/before/key")
expect 1 "another process has this audit log" rotate
region_stop "$eu"
[[ $(rotate) == "log key 1 signs from now on"* ]]
region_start "$eu"
cli_as auditor audit checkpoint --last "$DIR/last" --key "$first" >"$DIR/new"
[[ $(sed -n 1,3p "$DIR/old") == "$(sed -n 1,3p "$DIR/new")" ]] || die "the new key does not go on from the old one's last checkpoint"
if cmp -s "$DIR/old" "$DIR/new"; then die "the old key signed again"; fi
wrap
cli_as auditor audit checkpoint --last "$DIR/last" --key "$first" >/dev/null
export_to "$DIR/after"
second=$(<"$DIR/after/key")
[[ $second != "$first" ]]
cli_as auditor audit proof 0 --key "$first" >"$DIR/proof"
bailiwick audit verify "$DIR/proof" --key "$second" >/dev/null
checked "the new key goes on from the old one, for who knew the old one alone"

for key in "$first" "$second"; do
    bailiwick audit verify "$DIR/after" --key "$key" --last "$DIR/new" >/dev/null
done
bailiwick audit verify "$DIR/after" --key "$first" --last "$DIR/old" >/dev/null
[[ $(verify_in_go "$DIR/after" "$second") == *"records" ]]
cli_as operator audit export --region --dir "$DIR/own" >/dev/null
bailiwick audit verify "$DIR/own" --key "$DIR/own/key" >/dev/null
[[ $(rotations granted) == 1 && $(rotations intent) == 1 ]]
checked "what was exported verifies from either key, and in Go with the new one alone"

# ---- another past ----
cp -r "$DIR/after" "$DIR/forged"
rm "$DIR/forged/keys"
expect 1 "none of these keys" bailiwick audit verify "$DIR/forged" --key "$first"
sed '2s/1/2/' "$DIR/after/keys" >"$DIR/forged/keys"
expect 1 "does not verify" bailiwick audit verify "$DIR/forged" --key "$first"
cp "$DIR/after/keys" "$DIR/forged/keys"
cp "$DIR/before/checkpoint" "$DIR/forged/checkpoint"
expect 1 "none of the log's keys" bailiwick audit verify "$DIR/forged" --key "$second"
checked "without the note, with a changed one, or by the retired key for who knows the new one alone, nothing is believed"

region_stop "$eu"
cp -a "$eu/audit-guard" "$DIR/guard"

# ---- a guard put back; a crash at any moment ----
begun=$(date +%s%N)
rotate >/dev/null
took=$(($(date +%s%N) - begun))
mv "$eu/audit-guard" "$DIR/guard-now"; cp -a "$DIR/guard" "$eu/audit-guard"
expect 1 "LOG_POSITION" env SOFTHSM2_CONF="$eu/softhsm2.conf" timeout 60 bailiwickd --config "$eu/bailiwickd.conf"
mv "$DIR/guard-now" "$eu/audit-guard"
checked "with the guard file of before a rotation nobody signs"

for ((i = 0; i < KILLS; i++)); do
    printf -v after '%d.%09d' $((took * i / KILLS / 1000000000)) $((took * i / KILLS % 1000000000))
    { SOFTHSM2_CONF=$eu/softhsm2.conf timeout -s KILL "$after" bailiwickd --rotate-log-key --config "$eu/bailiwickd.conf" || true; } >/dev/null 2>&1
    if ((i % 2)); then
        rotate >/dev/null
    else
        region_start "$eu"
        cli_as auditor audit checkpoint --last "$DIR/last" --key "$first" >/dev/null
        region_stop "$eu"
    fi
done
region_start "$eu"
wrap
cli_as auditor audit checkpoint --last "$DIR/last" --key "$first" >/dev/null
export_to "$DIR/after"
bailiwick audit verify "$DIR/after" --key "$first" --last "$DIR/old" >/dev/null
[[ $(verify_in_go "$DIR/after" "$(<"$DIR/after/key")") == *"records" ]]
(($(rotations intent) == $(rotations granted) + $(rotations unknown))) || die "an intent stayed open"
(($(grep -c 'audit/t/.*/keys$' "$DIR/after/keys") == $(rotations granted))) || die "the keys are not those on record"
checked "$KILLS kills: the next run or start resolves each, and the keys lead on from the first"
