#!/bin/bash
# The daemon's clock is set forward and back, by ten years too, stands still, and has a leap second (libfaketime): the log's order
# and times hold, nothing is destroyed early, and a clock that is more than a minute behind the log stops the service until it
# is right again.
source "$(dirname "$0")/../lib/region.sh"
live_region
python_messages
eu=$DIR/eu-central
cli_as custodian key create --spec AES_256 --alias orders >/dev/null
region_stop "$eu"

set_clock() # OFFSET or a moment, at which it stands still; the file is replaced in one piece
{
    printf '%s\n' "$1" >"$DIR/clock.new"
    mv "$DIR/clock.new" "$DIR/clock"
}
set_clock +0
# its conversions of monotonic waits are switched off: waits are by CLOCK_MONOTONIC here, which is not faked
clocked_start()
{
    LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1 FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_FORCE_MONOTONIC_FIX=0 FAKETIME_NO_CACHE=1 \
        FAKETIME_TIMESTAMP_FILE=$DIR/clock region_start "$eu"
}
clocked_start

wrap() { cli_as app wrap --key orders <<<"text" >/dev/null; }
in_order() # also leaves the times in $DIR/times
{
    cli_as auditor audit query | sed -n 's/.*"time":"\([^"]*\)".*/\1/p' >"$DIR/times"
    LC_ALL=C sort -uc "$DIR/times" || die "times do not grow"
}

wrap
set_clock +3600
wrap; wrap
in_order
(($(date -d "$(tail -n 1 "$DIR/times")" +%s) - $(date -d "$(head -n 1 "$DIR/times")" +%s) >= 3590))
cli_as auditor audit checkpoint --last "$DIR/last" >/dev/null
checked "an hour forward: records go on, in order"

set_clock +3570
wrap; wrap
in_order
checked "half a minute back: records go on, and their times still grow"

line=$(log_end eu-central)
set_clock +0
await_log eu-central "$line" '"not serving" part=audit code=CLOCK_UNAVAILABLE' >/dev/null
expect 3 CLOCK_UNAVAILABLE wrap
[[ $(stock "$(dirname "$0")/health.py" "$CA" "$PORT") == NOT_SERVING ]]
before=$(wc -l <"$DIR/times")
checked "an hour back: nothing is served, and an alarm says why"

line=$(log_end eu-central)
set_clock +3600
await_log eu-central "$line" 'notice serving' >/dev/null
wrap
in_order
(($(wc -l <"$DIR/times") > before))
cli_as auditor audit checkpoint --last "$DIR/last" >/dev/null
checked "right again: it serves by itself, and the log goes on from its last checkpoint"

set_clock "$(date -d '+3610 seconds' '+%Y-%m-%d %H:%M:%S')"
for _ in {1..5}; do wrap; done
in_order
checked "a clock that stands still: times grow all the same"
set_clock +3620
wrap

# A leap second comes at the end of a month, UTC: the kernel repeats its last one.
leap=$(($(date -u -d "$(date -u +%Y-%m-01) +2 months -1 second" +%s) - $(date +%s)))
set_clock "+$leap"
wrap; wrap
set_clock "+$((leap - 1))"
for _ in {1..5}; do wrap; done
in_order
cli_as auditor audit checkpoint --last "$DIR/last" >/dev/null
checked "a leap second: times grow over the second that comes twice"
cli_as auditor audit export --dir "$DIR/export" >/dev/null
bailiwick audit verify "$DIR/export" --key "$DIR/export/key" --last "$DIR/last" >/dev/null

# Past every certificate and every waiting time.
cli_as custodian key create --spec AES_256 --alias doomed >/dev/null
cli_as custodian key delete doomed --days 7 --yes >/dev/null
set_clock +10y
expect 4 TLS_REFUSED wrap
region_stop "$eu" # looks once more at what is due
grep -q '"the clock has jumped"' "$eu/log"
set_clock "+$leap"
clocked_start
wrap
in_order
[[ $(cli_as custodian key show doomed) == *'"state":"PENDING_DELETION"'* ]] || die "a clock ten years ahead destroyed a key"
checked "ten years forward and back: no certificate is good, nothing is destroyed, an alarm tells, and the log goes on in order"
