#!/bin/bash
# No payload anywhere but in the reply: values that can be recognised go through every path, good and bad, and then nothing
# that the daemon, the tool and the module wrote may hold any of them: logs, errors, databases, and what lies beside them: trap 36.
source "$(dirname "$0")/../lib/region.sh"
live_region
python_messages
eu=$DIR/eu-central
printf 'canary-passphrase-of-a-client' >"$DIR/passphrase"
bailiwick ca caller "$CA" --region eu-central --tenant acme --role app --name locked --passphrase-file "$DIR/passphrase" >/dev/null

# every path of the protocol, with its refusals
stock "$(dirname "$0")/canaries.py" "$CA" "$PORT" "$DIR/canaries" >"$DIR/said" 2>&1

# the command and the module; their errors go where the canaries are looked for
wrap()
{
    cli_as app wrap "$@" 2>>"$DIR/said"
}
cli_as custodian key create --spec AES_256 --alias orders --label orders >/dev/null
printf 'canary-of-the-command' | wrap --key orders --context canary=canary-context-value >"$DIR/envelope"
for context in canary-context-value canary-context-other; do
    cli_as app unwrap --context canary="$context" <"$DIR/envelope" >/dev/null 2>>"$DIR/said" || true
done
printf 'canary-of-the-command' | wrap --key nothing --context canary=canary-context-value || true
printf 'canary-of-the-command' >"$DIR/plain"
{
    printf '%s\n' canary-of-the-command canary-context-value canary-context-other canary-passphrase-of-a-client canary-wrong-passphrase
    cat "$eu/pins/"*
} >>"$DIR/canaries"

pkcs11()
{
    BAILIWICK_PKCS11_CONFIG=$DIR/pkcs11.conf pkcs11-tool --module "$MODULE" "$@" >>"$DIR/said" 2>&1 || true
}
if ! ldd "$MODULE" | grep -q 'lib[at]san'; then # a sanitizer's module loads into programs with that sanitizer only
    provider_conf "$DIR/pkcs11.conf" eu-central "$PORT" "$CA" eu-central.acme.app.locked acme
    for pin in canary-passphrase-of-a-client canary-wrong-passphrase; do
        pkcs11 --login --pin "$pin" --encrypt --mechanism AES-GCM --iv 000102030405060708090a0b --label orders --input-file "$DIR/plain" --output-file "$DIR/cipher"
    done
fi

region_stop "$eu"
cat "$DIR/said" >"$eu/said"
# binary as it is, in hexadecimal as keys might be told, and in base64
sort -u "$DIR/canaries" | while read -r canary; do
    [[ -n $canary ]] || continue
    printf '%s\n' "$canary"
    printf '%s' "$canary" | od -An -v -tx1 | tr -d ' \n'
    printf '\n'
    printf '%s' "$canary" | base64 -w0 | sed 's/.\{4\}$//'
    printf '\n'
done >"$DIR/patterns"
[[ $(wc -l <"$DIR/patterns") -gt 30 ]] || die "no canaries: $(<"$DIR/said")"
looked=$(find "$eu/log" "$eu/said" "$eu/store" "$eu/audit" -type f | wc -l)
grep -raFf "$DIR/patterns" -o "$eu/log" "$eu/said" "$eu/store" "$eu/audit" >"$DIR/found" || (($? == 1))
[[ ! -s $DIR/found ]] || die "these got out: $(sort "$DIR/found" | uniq -c | head -n 20)"
# the search finds what is there
grep -qaFf "$DIR/patterns" "$DIR/plain" "$eu/pins/region.pin" || die "the search finds nothing"
printf 'ok      %d canaries in %d files of the daemon, the tool and the module: none\n' "$(sort -u "$DIR/canaries" | wc -l)" "$looked"
