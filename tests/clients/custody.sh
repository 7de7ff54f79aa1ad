#!/bin/bash
# Customers hold their keys: two custodians find together with the command line tool, and a tenant whose PIN its custodian
# alone has works only while he says so.
source "$(dirname "$0")/../lib/region.sh"
live_region

# custodian NAME [TENANT]: a certificate and a configuration; cli_as NAME calls with it in acme.
custodian()
{
    local name=$1 tenant=${2:-acme}

    bailiwick ca caller "$CA" --region eu-central --tenant "$tenant" --role custodian --name "$name" >/dev/null
    cli_conf "$DIR/eu-central.$tenant.$name.conf" eu-central "$PORT" "$CA" "eu-central.$tenant.custodian.$name"
}

# proposal COMMAND...: runs what takes more custodians, and prints the id of its proposal.
proposal()
{
    local said got=0

    said=$("$@" 2>&1) || got=$?
    ((got == 7)) || die "$*: ended with $got, not 7: $said"
    [[ $said == *NOT_APPROVED*"repeats this very command"* ]] || die "$*: does not say what to do: $said"
    sed -n 's/^  proposal *\([0-9a-f]\{32\}\)$/\1/p' <<<"$said"
}

custodian ann
custodian bob
custodian cas

# ---- an early purge takes two, whatever the policy ----
cli_as ann key create --spec AES_256 --alias gone >/dev/null
expect 1 KEY_STATE cli_as ann key purge gone --yes
cli_as ann key delete gone --yes >/dev/null
expect 2 "--yes answers" cli_as ann key purge gone
id=$(proposal cli_as ann key purge gone --yes)
[[ $id =~ ^[0-9a-f]{32}$ ]] || die "not a proposal's id: $id"
[[ $(cli_as bob proposal list) == *"\"id\":\"$id\",\"state\":\"WAITING\",\"method\":\"PurgeKey\""*'"needed":2,"approved":1'* ]]
cli_as bob proposal list --table | grep -q "^$id  WAITING  PurgeKey "
name=$(cli_as bob key show gone | key_name)
[[ $(cli_as bob proposal show "$id") == *"\"request\":{\"name\":\"$name\"}"* ]]
cli_as bob proposal show "$id" --table | grep -q "proposer .*/custodian/ann$"
expect 1 NOT_PERMITTED cli_as ann proposal approve "$id" --yes
expect 1 NOT_PERMITTED cli_as app proposal approve "$id" --yes
expect 2 "--yes answers" cli_as bob proposal approve "$id"
expect 1 NO_SUCH_PROPOSAL cli_as bob proposal approve 00000000000000000000000000000000 --yes
expect 2 "32 hexadecimal" cli_as bob proposal approve none --yes
[[ $(cli_as bob proposal approve "$id" --yes) == *'"state":"APPROVED"'* ]]
[[ $(cli_as ann key purge gone --yes) == *'"state":"DESTROYED"'* ]]
expect 1 NO_SUCH_KEY cli_as ann key show gone
[[ -z $(cli_as ann proposal list) ]]
cli_as auditor audit query --operation PurgeKey --outcome granted | grep -q "\"proposal_id\":\"$id\""
cli_as auditor audit query --operation ApproveProposal --outcome granted | grep -q "\"proposal_id\":\"$id\""
[[ $(records --operation PurgeKey --outcome denied) == 2 ]]
checked "two custodians purge a key, and one does not"

# ---- what the tenant's policy says ----
printf '{"dual_control": {"actions": ["key_policy", "import"], "approvals": 2, "expires_hours": 24}}\n' >"$DIR/tenant.json"
cli_as ann tenant policy set acme "$DIR/tenant.json" >/dev/null
cli_as ann key create --spec AES_256 --alias orders >/dev/null
printf '{"rules": [{"name": "none", "principals": ["app/none"]}]}\n' >"$DIR/none.json"
id=$(proposal cli_as ann key policy set orders "$DIR/none.json")
[[ $(cli_as bob proposal show "$id") == *'"policy":{"rules":[{"name":"none","principals":["app/none"]}]}'* ]]
cli_as app wrap --key orders </dev/null >"$DIR/envelope"
cli_as bob proposal approve "$id" --yes >/dev/null
expect 7 NOT_APPROVED cli_as cas key policy set orders "$DIR/none.json"
cli_as ann key policy set orders "$DIR/none.json" >/dev/null
expect 1 NOT_PERMITTED cli_as app unwrap <"$DIR/envelope"
id=$(proposal cli_as ann tenant policy set acme <(printf '{}'))
[[ $(cli_as cas proposal reject "$id") == *"\"id\":\"$id\""* ]]
expect 1 NO_SUCH_PROPOSAL cli_as bob proposal approve "$id" --yes
checked "a policy takes two, and nobody switches that off alone"

# ---- an import ----
cli_as ann key create --spec AES_256 --alias own --imported >/dev/null
cli_as ann key import-parameters own "$DIR/own"
openssl rand -out "$DIR/material" 32
openssl pkeyutl -encrypt -pubin -inkey "$DIR/own/wrapping-key.pem" -pkeyopt rsa_padding_mode:oaep -in "$DIR/material" -out "$DIR/wrapped"
id=$(proposal cli_as ann key import-material own --token "$DIR/own/import-token" "$DIR/wrapped")
[[ $(cli_as bob proposal show "$id") == *'"method":"ImportKeyMaterial"'*RSA_PKCS_OAEP* ]]
cli_as bob proposal approve "$id" --yes >/dev/null
[[ $(cli_as bob key import-material own --token "$DIR/own/import-token" "$DIR/wrapped") == *'"state":"ENABLED"'* ]]
checked "an import takes two"

# ---- a tenant whose PIN the customer holds ----
pin=the-customers-own-$(openssl rand -hex 8)
printf '%s\n' "$pin" >"$DIR/pin"
chmod 600 "$DIR/pin"
bailiwick --config "$DIR/eu-central.operator.conf" tenant create held --customer-held --pin-file "$DIR/pin" >/dev/null
custodian ann held
bailiwick ca caller "$CA" --region eu-central --tenant held --role app --name t1 >/dev/null
cli_conf "$DIR/eu-central.held.app.conf" eu-central "$PORT" "$CA" eu-central.held.app.t1
in_held() { local who=$1; shift; bailiwick --config "$DIR/eu-central.held.$who.conf" "$@"; }

in_held ann key create --spec AES_256 --alias orders >/dev/null
printf 'the text' >"$DIR/plain"
in_held app wrap --key orders <"$DIR/plain" >"$DIR/held-envelope"

# nothing_works WHY: nothing of the tenant works; the other tenant does
nothing_works()
{
    expect 1 TENANT_SEALED in_held app unwrap <"$DIR/held-envelope"
    expect 1 TENANT_SEALED in_held app wrap --key orders <"$DIR/plain"
    expect 1 TENANT_SEALED in_held ann key create --spec AES_256
    expect 1 TENANT_SEALED in_held ann key rotate orders
    expect 1 NOT_PERMITTED bailiwick --config "$DIR/eu-central.operator.conf" tenant activate held --pin-file "$DIR/pin"
    expect 1 BAD_ARGUMENT in_held ann tenant activate held
    cli_as ann key list >/dev/null
    checked "nothing of it works after $1"
}

# what runs can be seen by everybody; the PIN comes through a pipe, so that we look while the command waits for it
activate()
{
    local activating

    mkfifo "$DIR/pin-pipe"
    in_held ann tenant activate held --pin-file "$DIR/pin-pipe" >"$DIR/activated" &
    activating=$!
    exec 4>"$DIR/pin-pipe"
    ! tr '\0' ' ' </proc/"$activating"/cmdline | grep -qF "$pin" || die "the PIN is on the command line"
    cat "$DIR/pin" >&4
    exec 4>&-
    wait "$activating"
    rm "$DIR/pin-pipe"
    grep -q '"state":"ACTIVE"' "$DIR/activated"
    in_held app unwrap <"$DIR/held-envelope" | cmp - "$DIR/plain"
    ! pgrep -f -- "$pin" >/dev/null || die "ps shows the PIN"
}

in_held ann tenant seal held --yes >/dev/null
nothing_works "it was sealed"
expect 1 PIN_INCORRECT in_held ann tenant activate held --pin-file <(printf 'another-pin-than-that\n')
activate
region_stop "$DIR/eu-central"
region_start "$DIR/eu-central"
nothing_works "the daemon was started again"
activate
region_kill "$DIR/eu-central"
region_start "$DIR/eu-central"
nothing_works "the daemon died"
activate
rm "$DIR/pin"
region_stop "$DIR/eu-central" # everything is on the disk that comes there
for form in "$pin" "$(printf '%s' "$pin" | base64)" "$(printf '%s' "$pin" | od -An -v -tx1 | tr -d ' \n')"; do
    ! grep -raqF -e "$form" "$DIR" || die "the PIN is in a file: $(grep -ralF -e "$form" "$DIR")"
done
checked "the PIN is in no file, no log and no list of processes"
region_start "$DIR/eu-central"
