#!/bin/bash
# An application whose daemon is restarted between any two of its calls, by turns stopped and killed, and which never
# initialises again. Counts the RPCs of each call in the daemon's log, and the application's threads and descriptors.
source "$(dirname "$0")/../lib/region.sh"
live_region
eu=$DIR/eu-central
cli_as custodian key create --spec AES_256 --label orders >/dev/null
region_stop "$eu"

mkfifo "$DIR/words"
"$BW_BUILD/tests/words_app" "$MODULE" <"$DIR/words" >"$DIR/done" 2>"$DIR/said" &
app=$!
exec 3>"$DIR/words"

# an idle client must not hold up the stop until the grace for running calls, 10 s, is over
end_daemon()
{
    local begun=$SECONDS

    if [[ $1 == KILL ]]; then
        region_kill "$eu"
    else
        region_stop "$eu"
        ((SECONDS - begun < 5)) || die "the daemon took $((SECONDS - begun)) s to stop"
    fi
}

# the application's calls, as the daemon's log has them; the log is whole when the daemon has stopped
rpcs()
{
    sed -n 's,.* info request .*method=\([A-Za-z]*\) .*principal=[^ ]*/app/t1 .*,\1,p' "$eu/log" | sort | tr '\n' ' ' | sed 's/ $//'
}

# call WORD RPCS: the application's next call, on a daemon that has just started; then the daemon ends
call()
{
    local word=$1 expected=$2 line

    region_start "$eu" 3>&-
    printf '%s\n' "$word" >&3
    calls=$((calls + 1))
    line=$(head -n 1 < <(tail -n "+$calls" -f --pid="$app" "$DIR/done"))
    [[ $line == "$word "* ]] || die "$word: ${line:-no answer}: $(<"$DIR/said")"
    end_daemon "$how"
    if [[ $how == TERM ]]; then
        [[ $expected == any || $(rpcs) == "$expected" ]] || die "$word: asked the daemon for '$(rpcs)', not '$expected'"
        printf 'ok      %-13s RPCs: %s\n' "$word" "$(rpcs)"
    fi
}

calls=0
drawn=Random # many bytes at once, for the calls to come
for how in TERM KILL TERM; do
    call random       "$drawn"
    call find         any # of the list, as far as it is not known
    call encrypt-init ""
    call encrypt-size ""
    call encrypt      "Encrypt"
    call decrypt-init ""
    call decrypt-size ""
    call decrypt      "Decrypt"
    drawn=
done
exec 3>&-
wait "$app"
printf 'ok      %s\n' "the application survived $calls restarts, and its data came back"

[[ $(cut -d' ' -f2 "$DIR/done" | sort -u) == 1 ]] || die "the application had more threads than its own: $(<"$DIR/done")"
printf 'ok      %s\n' "the module started no thread"
[[ $(cut -d' ' -f3 "$DIR/done" | sort -n | tail -n 1) -le $(($(cut -d' ' -f3 "$DIR/done" | head -n 1) + 1)) ]] || die "descriptors leak: $(<"$DIR/done")"
[[ $(sed -n '8p' "$DIR/done") == "$(sed -n '24p' "$DIR/done")" ]] || die "descriptors leak: $(<"$DIR/done")"
printf 'ok      %s\n' "and left no descriptor behind"
