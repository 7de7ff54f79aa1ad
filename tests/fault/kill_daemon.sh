#!/bin/bash
# The daemon is killed at random, under load from 8 threads that encrypt while a custodian makes keys; 50 times, or so often
# as $1 says. Each kill comes when a random number of further results has arrived. Afterwards every result that a caller
# received has its record, the log's indexes have neither gap nor duplicate, every change that was begun is closed, every
# key that was promised is there, and store and daemon are healthy.
source "$(dirname "$0")/../lib/region.sh"
kills=${1:-50}
live_region

make_keys()
{
    local made

    while [[ ! -e $DIR/enough ]]; do
        if made=$(cli_as custodian key create --spec AES_256 2>/dev/null); then
            key_name <<<"$made" >>"$DIR/promised"
        fi
    done
}

key=$(cli_as custodian key create --spec AES_256 | key_name)
touch "$DIR/promised"
make_keys &
maker=$!
start_load "$key"

for ((kill = 1; kill <= kills; kill++)); do
    await_results $((RANDOM % 400 + 1))
    region_kill "$DIR/eu-central"
    region_start "$DIR/eu-central" 3>&-
done
await_results 100
touch "$DIR/enough"
wait "$maker"
stop_load

cli_as auditor audit query >"$DIR/records"
cli_as custodian key list >"$DIR/keys"
cli_as app wrap --key "$key" <<<"still serving" | cli_as app unwrap | grep -qx "still serving"
region_stop "$DIR/eu-central"
/usr/bin/python3 "$(dirname "$0")/check_results.py" "$kills kills" "$DIR/results" "$DIR/records" "$DIR/promised" "$DIR/keys" \
    "$DIR/eu-central/store" "$DIR/eu-central/audit"
