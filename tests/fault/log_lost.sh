#!/bin/bash
# Files of the log that are lost, put back or changed on the disk while the daemon is down: it refuses to serve, and names the
# last good checkpoint or the first bad record.
source "$(dirname "$0")/../lib/region.sh"
live_region
python_messages
eu=$DIR/eu-central
cli_as custodian key create --spec AES_256 --alias orders >/dev/null

wrap() # COUNT
{
    # shellcheck disable=SC2016 # the inner shell's
    seq "$1" | xargs -I{} sh -c 'printf text | bailiwick --config "$0" wrap --key orders >/dev/null' "$DIR/eu-central.acme.app.conf"
}

# refused TEXT: the daemon does not start, and says so
refused()
{
    local said
    if said=$(SOFTHSM2_CONF=$eu/softhsm2.conf timeout 60 bailiwickd --config "$eu/bailiwickd.conf" 2>&1); then die "it started"; fi
    [[ $said == *"$1"* ]] || die "does not say '$1' but: $said"
    [[ $2 == none || $said == *"last_good=\"test.example/audit/"* ]] || die "does not name the last good checkpoint: $said"
}

# ---- the write-ahead log, in which everything since the last start is ----
wrap 20
cli_as auditor audit checkpoint --last "$DIR/last" >/dev/null
region_kill "$eu"
cp -a "$eu/audit" "$DIR/whole"
rm "$eu/audit/audit.db-wal"
refused LOG_POSITION last_good
checked "without its write-ahead log the log is shorter than what was signed"
rm -r "$eu/audit"; cp -a "$DIR/whole" "$eu/audit"
region_start "$eu"
cli_as auditor audit checkpoint --last "$DIR/last" >/dev/null

# ---- the whole folder, from a backup ----
wrap 5
cli_as auditor audit checkpoint --last "$DIR/last" >/dev/null
region_stop "$eu"
mv "$eu/audit" "$DIR/now"; cp -a "$DIR/whole" "$eu/audit"
refused LOG_POSITION last_good
checked "a folder put back from a backup is not what was signed"
rm -r "$eu/audit"; mv "$DIR/now" "$eu/audit"

# ---- the guard file, and the backup with it ----
mv "$eu/audit-guard" "$DIR/guard"
refused "the guard file is missing" none
mv "$eu/audit" "$DIR/now"; cp -a "$DIR/whole" "$eu/audit"
if SOFTHSM2_CONF=$eu/softhsm2.conf bailiwickd --repair-guard --config "$eu/bailiwickd.conf" --checkpoint "$DIR/last" >"$DIR/said" 2>&1; then
    die "a guard was made for a log that was taken back"
fi
grep -q "not made again" "$DIR/said"
rm -r "$eu/audit"; mv "$DIR/now" "$eu/audit"
SOFTHSM2_CONF=$eu/softhsm2.conf bailiwickd --repair-guard --config "$eu/bailiwickd.conf" --checkpoint "$DIR/last" >"$DIR/said"
grep -q "all do" "$DIR/said"
region_start "$eu"
cli_as auditor audit checkpoint --last "$DIR/last" >/dev/null
[[ $(cli_as operator audit query --region --operation RepairGuard) == *RepairGuard* ]]
checked "a lost guard file is made again for the log that customers know, and for no other"

# ---- a record that was changed, below what a start looks at ----
region_stop "$eu"
position=$(sqlite3 "$eu/audit/audit.db" "SELECT position FROM audit_record WHERE log = 1 AND idx = 7")
sqlite3 "$eu/audit/audit.db" "UPDATE audit_record SET who = zeroblob(32) || substr(who, 33) WHERE position = $position"
region_start "$eu"
await_log eu-central 1 'error "the audit log on the disk is damaged" log=test.example/audit/t/[-0-9a-f]* index=7 ' >/dev/null
for _ in {1..50}; do # the health service looks each second
    [[ $(stock "$(dirname "$0")/health.py" "$CA" "$PORT") != NOT_SERVING ]] || break
done
[[ $(stock "$(dirname "$0")/health.py" "$CA" "$PORT") == NOT_SERVING ]]
expect 3 AUDIT_UNAVAILABLE cli_as app wrap --key orders </dev/null
checked "a changed record is found in the background and named, and nothing more is served"
