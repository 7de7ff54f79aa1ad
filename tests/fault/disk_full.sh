#!/bin/bash
# The audit log's disk is full, or its files may not grow, while 8 threads use a key: then nothing is released, the refusal says
# why, and when there is room again the daemon goes on by itself, without a gap. The full disk is a tmpfs, for which one must
# be root; the limit of a file's size is for everybody.
source "$(dirname "$0")/../lib/region.sh"
eu=$DIR/eu-central
mkdir -p "$eu/audit"
if ((EUID == 0)) && mount -t tmpfs -o size=224m,mode=700 none "$eu/audit" 2>/dev/null; then
    MOUNTS+=("$eu/audit")
fi
live_region
key=$(cli_as custodian key create --spec AES_256 --alias orders | key_name)
printf '%s\n' "$key" >"$DIR/promised"
cli_as app wrap --key orders <<<"text" >"$DIR/envelope"
start_load "$key"
await_results 100

doctor=(bailiwick doctor --json --module "$MODULE")

# refuses: says so, and gives nothing away
refuses()
{
    local given status=0

    given=$(cli_as app unwrap <"$DIR/envelope" 2>"$DIR/said") || status=$?
    ((status == 3)) && [[ -z $given ]] && grep -q AUDIT_UNAVAILABLE "$DIR/said"
}

if ((${#MOUNTS[@]})); then
    line=$(log_end eu-central)
    cat /dev/zero >"$eu/audit/filler" 2>/dev/null || true
    await_log eu-central "$line" '"not serving" part=audit' >/dev/null
    refuses || die "a full disk: $(<"$DIR/said")"
    tells 4 'does not serve: AUDIT_UNAVAILABLE: the audit log cannot be written' "must make room on the audit log's disk" "${doctor[@]}"
    printf 'ok      %s\n' "on a full disk nothing is released, the caller is told AUDIT_UNAVAILABLE, and doctor says what to do"
    line=$(log_end eu-central)
    rm "$eu/audit/filler"
    await_log eu-central "$line" 'notice serving' >/dev/null
    await_results 100
    tells 0 'region eu-central' '"finding":"fine"' "${doctor[@]}"
    printf 'ok      %s\n' "with room again the daemon serves again by itself"
fi

# the daemon's own log is a file too, and silent meanwhile
prlimit --pid "$(<"$eu/pid")" --fsize=1:unlimited
tries=0
until refuses || ((++tries == 20)); do
    : # a log that has room in its files goes on for a while
done
((tries < 20)) || die "files that may not grow: $(<"$DIR/said")"
printf 'ok      %s\n' "when the log's files may not grow nothing is released"
prlimit --pid "$(<"$eu/pid")" --fsize=unlimited:unlimited
await_results 100
printf 'ok      %s\n' "when they may again the daemon serves again by itself"

stop_load
cli_as app unwrap <"$DIR/envelope" | grep -qx text
cli_as auditor audit query >"$DIR/records"
cli_as custodian key list >"$DIR/keys"
region_stop "$eu"
/usr/bin/python3 "$(dirname "$0")/check_results.py" "the disk was full" "$DIR/results" "$DIR/records" "$DIR/promised" "$DIR/keys" "$eu/store" "$eu/audit"
