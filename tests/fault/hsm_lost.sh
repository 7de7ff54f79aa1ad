#!/bin/bash
# The HSM is pulled out while 8 threads use a key, three times: callers are refused by name, health says NOT_SERVING, nothing
# is on record as granted that nobody got, and when the HSM is back the daemon goes on by itself.
source "$(dirname "$0")/../lib/region.sh"
export BW_HSM=$BW_BUILD/tests/liblosable_hsm.so BW_HSM_GONE=$DIR/gone
live_region
python_messages
key=$(cli_as custodian key create --spec AES_256 --alias orders | key_name)
printf '%s\n' "$key" >"$DIR/promised"
cli_as app wrap --key orders <<<"text" >"$DIR/envelope"
start_load "$key"

health()
{
    stock "$(dirname "$0")/health.py" "$CA" "$PORT"
}
[[ $(health) == SERVING ]]
doctor=(bailiwick doctor --json --module "$MODULE")
for time in first second third; do
    await_results 100
    line=$(log_end eu-central)
    touch "$BW_HSM_GONE"
    await_log eu-central "$line" '"not serving" part=hsm' >/dev/null
    expect 3 HSM_UNAVAILABLE cli_as app unwrap <"$DIR/envelope"
    expect 3 HSM_UNAVAILABLE cli_as custodian key create --spec AES_256
    [[ $(health) == NOT_SERVING ]] || die "health says $(health)"
    tells 4 'does not serve: HSM_UNAVAILABLE: the HSM does not answer' "the region's operator must bring the HSM back" "${doctor[@]}"
    line=$(log_end eu-central)
    rm "$BW_HSM_GONE"
    await_log eu-central "$line" 'notice serving' >/dev/null
    await_results 100
    cli_as app unwrap <"$DIR/envelope" | grep -qx text
    [[ $(health) == SERVING ]] || die "health says $(health)"
    tells 0 'region eu-central' '"finding":"fine"' "${doctor[@]}"
    printf 'ok      the HSM was lost a %s time: refused as HSM_UNAVAILABLE, NOT_SERVING, told by doctor, and served again by itself\n' "$time"
done
stop_load
cli_as auditor audit query >"$DIR/records"
cli_as custodian key list >"$DIR/keys"
region_stop "$DIR/eu-central"
/usr/bin/python3 "$(dirname "$0")/check_results.py" "the HSM was lost" "$DIR/results" "$DIR/records" "$DIR/promised" "$DIR/keys" \
    "$DIR/eu-central/store" "$DIR/eu-central/audit"
