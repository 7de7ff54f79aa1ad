#!/bin/bash
# Following the log: Debian's python3-grpcio, and the command line tool across a restart and a crash of the daemon.
# shellcheck disable=SC2119 # records without a filter: all of them
source "$(dirname "$0")/../lib/region.sh"
live_region
python_messages
eu=$DIR/eu-central
bailiwick ca caller "$CA" --region eu-central --tenant acme --role auditor --name leaver >/dev/null
key=$(cli_as custodian key create --spec AES_256 --alias orders | key_name)
printf 'text' >"$DIR/plain"

# ---- the tool goes on by itself ----
cli_as auditor audit query --follow --last "$DIR/last" >"$DIR/followed" 2>"$DIR/said" &
follower=$!
end_follower() { kill "$follower" 2>/dev/null; }
AT_END+=(end_follower)

await_records() # COUNT: returns when the follower has printed so many
{
    head -n "$1" < <(tail -n +1 -f --pid="$follower" "$DIR/followed" 2>/dev/null) >/dev/null
}

wrap() { cli_as app wrap --key orders <"$DIR/plain" >/dev/null; }
for how in TERM KILL TERM; do
    wrap
    await_records "$(records)"
    if [[ $how == TERM ]]; then
        region_stop "$eu"
    else
        region_kill "$eu"
    fi
    region_start "$eu"
    wrap
    await_records "$(records)"
done
[[ $(sed -n 's/^{"index":\([0-9]*\),.*/\1/p' "$DIR/followed") == "$(seq 0 $(($(records) - 1)))" ]] || die "skipped or repeated: $(cut -c1-40 "$DIR/followed")"
kill "$follower"
checked "a follower misses nothing and repeats nothing over two restarts and a crash"
[[ $(sed -n 2p "$DIR/last") -gt 0 ]]

# ---- and it holds the region to what it has seen ----
cli_as auditor audit query --last "$DIR/last" --limit 1 >/dev/null
sed '3s/^./A/;t' "$DIR/last" >"$DIR/forged"
if cmp -s "$DIR/last" "$DIR/forged"; then sed '3s/^./B/' "$DIR/last" >"$DIR/forged"; fi
expect 6 "does not go on" cli_as auditor audit query --last "$DIR/forged"
expect 6 "does not go on" cli_as auditor audit query --follow --last "$DIR/forged"
[[ -s $DIR/forged.other ]] # both are kept
sed '2s/.*/9999999/' "$DIR/last" >"$DIR/longer"
expect 6 LOG_POSITION cli_as auditor audit query --last "$DIR/longer"
expect 6 LOG_POSITION cli_as auditor audit query --follow --last "$DIR/longer"
expect 6 LOG_POSITION cli_as auditor audit query --follow --from-index 9999999
expect 2 "does not go with" cli_as auditor audit query --follow --newest
[[ $(cli_as auditor audit query --follow --limit 3 | wc -l) == 3 ]]
expect 1 NOT_PERMITTED cli_as operator key list
[[ $(cli_as operator audit query --follow --region --limit 1 | wc -l) == 1 ]]
checked "a log that does not go on from the last checkpoint has an exit status of its own"

stock "$(dirname "$0")/follow.py" "$PORT" "$CA" "$eu" "$key"
