#!/bin/bash
# The daemon is stopped, or killed, and started again while seven threads of an application are inside calls, through a network with
# some delay: what is asked again succeeds and is right; what comes to the deadline is CKR_DEVICE_ERROR, and the call after it, on
# the daemon that is back, succeeds. No session is lost, and no key is made twice: traps 13 and 32.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
apps_own_keys
cd "$DIR"
eu=$DIR/eu-central
proxy slow
endpoint=$said
echo "delay 3" >slow.mode

# start DEADLINE: the application, with calls under way
start()
{
    sed "s/^endpoints .*/endpoints = $endpoint/; \$a deadline_ms = $1" "$BAILIWICK_PKCS11_CONFIG" >restarts.conf
    chmod 600 restarts.conf
    : >results
    [[ -p on ]] || mkfifo on
    BAILIWICK_PKCS11_CONFIG=$DIR/restarts.conf "$BW_BUILD/tests/restarts" "$MODULE" <on >results 2>told &
    LOAD=$!
    exec 3>on
    await_results 50
}

# finish WHAT: it ends well, and has made no key that is not there. Those whose making nobody heard of may be there, too.
finish()
{
    local made there

    await_results 50
    stop_load || die "$1: $(<told)"
    read -r _ made _ there <told
    unheard=$((unheard + $(grep -c 'CreateKey 0x30' results || true)))
    all_made=$((all_made + made))
    ((there >= all_made && there <= all_made + unheard)) || die "$1: $all_made keys made, $there there"
}
all_made=0 unheard=0

end_daemon() { if [[ $1 == KILL ]]; then region_kill "$eu"; else region_stop "$eu"; fi; }

now_ms()
{
    sed 's/\.\([0-9]*\) .*/\10/' /proc/uptime
}

for how in KILL TERM; do
    start 5000
    for _ in {1..5}; do
        end_daemon "$how"
        region_start "$eu" 3>&-
        await_results 100
    done
    finish "$how"
    longest=$(cut -d' ' -f2 results | sort -n | tail -n 1)
    [[ $(cut -d' ' -f4,5 results | sort -u) == "0x0 0" ]] || die "$how: $(grep -v ' 0x0 0$' results | head -n 5)"
    ((longest < 5000)) || die "$how: a call took $longest ms"
    checked "$how, five times in mid-call, back at once: $(wc -l <results) calls, all right, the longest took $longest ms"
done

for how in KILL TERM; do
    start 400
    gone=()
    for _ in {1..3}; do
        end_daemon "$how"
        gone+=("$(now_ms)")
        while ! tail -n 1 results | grep -q 0x30; do
            await_results 1
        done
        await_results 14 # two rounds of all threads that nobody answers
        region_start "$eu" 3>&-
        gone+=("$(now_ms)")
        await_results 100
    done
    finish "$how"
    [[ $(awk '$4 != "0x0" { print $4, $5 }' results | sort -u | grep -vxE '0x30 (66|67|100)') == "" ]] || die "$how: $(cut -d' ' -f4,5 results | sort | uniq -c)"
    # began while the daemon was there, and would have had its whole time: not one may fail
    late=$(awk -v gone="${gone[*]}" 'BEGIN { n = split(gone, g, " ") }
        $4 != "0x0" { away = 0; for (i = 1; i < n; i += 2) if ($1 > g[i] - 450 && $1 < g[i + 1]) away = 1; if (!away) print }' results)
    [[ -z $late ]] || die "$how: they failed though the daemon was there: $late (gone and back: ${gone[*]})"
    failed=$(grep -c ' 0x30 ' results)
    longest=$(cut -d' ' -f2 results | sort -n | tail -n 1)
    ((longest <= 500)) || die "$how: a call took $longest ms"
    checked "$how, three times in mid-call, away for longer than the deadline of 400 ms: $(wc -l <results) calls, $failed of them CKR_DEVICE_ERROR, the longest took $longest ms"
done
