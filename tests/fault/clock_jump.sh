#!/bin/bash
# A clock that jumps forward by eight days: what is due in seven is not destroyed, not now and not after a restart, and the
# operator's log says why.
source "$(dirname "$0")/../lib/region.sh"
live_region
eu=$DIR/eu-central

# The daemon's wall clock alone is moved; how long the machine has been running is not. (libfaketime ends waits by the monotonic
# clock too soon, so housekeeping looks more often than it would.)
library=/usr/lib/$(gcc -print-multiarch)/faketime/libfaketime.so.1
start_at()
{
    printf '%s\n' "$1" >"$DIR/time"
    LD_PRELOAD=$library FAKETIME_TIMESTAMP_FILE=$DIR/time FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 region_start "$eu"
}
state_of() { cli_as custodian key show "$1" | sed -n 's/.*"state":"\([A-Z_]*\)","origin".*/\1/p'; }
wait_for_jump() { grep -qm1 'the clock has jumped' < <(timeout 60 tail -n +1 -f "$eu/log"); }
jumps() { grep -c 'the clock has jumped' "$eu/log" || true; }

region_stop "$eu"
start_at +0
for key in doomed orders; do
    cli_as custodian key create --spec AES_256 --alias $key >/dev/null
done
cli_as custodian key create --spec AES_256 --alias short --expires +2d >/dev/null
cli_as custodian key delete doomed --days 7 --yes >/dev/null
cli_as app wrap --key short </dev/null >/dev/null
[[ $(jumps) == 0 ]]
checked "a clock that goes on is believed"

printf '%s\n' +8d >"$DIR/time"
cli_as custodian key update orders --label changed >/dev/null # has housekeeping look
wait_for_jump
[[ $(state_of doomed) == PENDING_DELETION ]]
grep -q 'the clock has jumped.*seconds_ahead="\?691[12]' "$eu/log"
checked "one that jumps by eight days destroys nothing, and the operator's log says so"
expect 1 EXPIRED cli_as app wrap --key short </dev/null
checked "uses go by it: that can be undone"

region_stop "$eu"
start_at +8d
cli_as custodian key update orders --label again >/dev/null
wait_for_jump
[[ $(state_of doomed) == PENDING_DELETION ]]
checked "neither is it believed after a restart"
