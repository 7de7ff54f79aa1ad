#!/bin/bash
# The power fails at random, under load from 8 threads that encrypt while a custodian makes keys; 12 times, or so often as $1
# says. The daemon's disk (power_cut.c) then has what was synced and nothing else. Afterwards every result that a caller
# received has its record, and all else holds that holds after a kill. HSM and callers are other machines: they forget nothing.
#
# power_cut.sh lowered: the opposite. With the audit's `synchronous` lowered to NORMAL behind the daemon's back, a cut loses
# records of results that callers have; if it did not, this test could not tell anything.
if [[ ${1:-} == lowered ]]; then
    said=$(BW_LOWERED=1 bash "$0" 1 2>&1) || lost=1
    grep -E '^FAILED .* has its GRANTED record|cannot start.*code=LOG_POSITION' <<<"$said" && ((${lost:-0})) && exit 0
    printf 'nothing was lost, or something else went wrong:\n%s\n' "$said" >&2
    exit 1
fi
source "$(dirname "$0")/../lib/region.sh"
wanted=${1:-12}
eu=$DIR/eu-central
live_region
key=$(cli_as custodian key create --spec AES_256 | key_name)
region_stop "$eu"

# what there is so far is on the disk
mkdir "$DIR/disk"
cp -a "$eu"/audit* "$eu/store" "$DIR/disk/"

start_on_disk()
{
    LD_PRELOAD=$BW_BUILD/tests/libpower_cut.so BW_DISK=$DIR/disk BW_DISK_OF=$eu region_start "$eu"
}

cut_power()
{
    region_kill "$eu"
    rm -rf "$eu"/audit* "$eu/store"
    cp -a "$DIR/disk/." "$eu/"
}

make_keys()
{
    local made

    while [[ ! -e $DIR/enough ]]; do
        if made=$(cli_as custodian key create --spec AES_256 2>/dev/null); then
            key_name <<<"$made" >>"$DIR/promised"
        fi
    done
}

stop_maker()
{
    touch "$DIR/enough"
    wait "$maker"
}

touch "$DIR/promised"
start_on_disk
make_keys &
maker=$!
AT_END+=(stop_maker)
start_load "$key"
for ((cuts = 1; cuts <= wanted; cuts++)); do
    await_results $((RANDOM % 400 + 1))
    cut_power
    start_on_disk 3>&-
done
await_results 100
stop_maker
stop_load

cli_as auditor audit query >"$DIR/records"
cli_as custodian key list >"$DIR/keys"
cli_as app wrap --key "$key" <<<"still serving" | cli_as app unwrap | grep -qx "still serving"
region_stop "$eu"
/usr/bin/python3 "$(dirname "$0")/check_results.py" "$wanted power cuts" "$DIR/results" "$DIR/records" "$DIR/promised" "$DIR/keys" \
    "$eu/store" "$eu/audit"
