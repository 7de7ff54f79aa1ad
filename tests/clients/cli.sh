#!/bin/bash
# The command line tool against a live region: every command once, and what each kind of failure looks like.
source "$(dirname "$0")/../lib/region.sh"
live_region

# ---- describe ----
[[ $(cli_as app describe) == *'"region":"eu-central"'* ]]
[[ $(cli_as app describe) == *'"caller":"spiffe://test.example/region/eu-central/tenant/acme/app/t1"'* ]]

# ---- keys ----
made=$(cli_as custodian key create --spec aes_256 --label orders --alias orders --cka-id 0a0b --tag team=billing --description 'of orders')
name=$(sed -n 's/.*"name":"\(bw:[^"]*\)".*/\1/p' <<<"$made")
[[ $name =~ ^bw:eu-central:acme:key/[0-9a-f]{32}$ ]] || die "not a key name: $made"
[[ $made == *'"cka_id":"0a0b"'* && $made == *'"team":"billing"'* && $made == *'"state":"ENABLED"'* ]]
[[ $(cli_as app key show orders) == *"\"name\":\"$name\""* ]]
[[ $(cli_as app key show "$name") == *'"description":"of orders"'* ]]
[[ $(cli_as app key list --label orders) == *"$name"* ]]
[[ -z $(cli_as app key list --label none) ]]
[[ $(cli_as custodian key update orders --label renamed) == *'"label":"renamed"'* ]]
[[ $(cli_as custodian key rotate orders) == *'"primary_version":2'* ]]
expect 1 ALREADY_EXISTS cli_as custodian key create --spec AES_256 --alias orders
expect 1 NOT_PERMITTED cli_as app key create --spec AES_256
expect 1 NO_SUCH_KEY cli_as app key show nothing
expect 2 "there is AES_128" cli_as custodian key create --spec DES
expect 2 "nothing to change" cli_as custodian key update orders

# ---- versions ----
cli_as app wrap --key orders </dev/null >"$DIR/by-2"
cli_as custodian key rotate orders >/dev/null
cli_as app unwrap <"$DIR/by-2"
[[ $(cli_as custodian key show orders | sed 's/.*"number":2\([^}]*\)}.*/\1/') == *'"last_used":"20'* ]]
[[ $(cli_as custodian key show orders | sed 's/.*"number":3\([^}]*\)}.*/\1/') != *last_used* ]]
cli_as custodian key update orders --minimum-version 3 >/dev/null
expect 1 KEY_STATE cli_as app unwrap <"$DIR/by-2"
cli_as custodian key update orders --minimum-version 2 >/dev/null
cli_as app unwrap <"$DIR/by-2"
expect 1 "newer than the primary" cli_as custodian key update orders --minimum-version 4

# ---- envelopes ----
printf 'the text' >"$DIR/plain"
cli_as app wrap --key orders --context a=1 --context b=2 <"$DIR/plain" >"$DIR/envelope"
cli_as app unwrap --context b=2 --context a=1 <"$DIR/envelope" | cmp - "$DIR/plain"
expect 1 ENVELOPE_INVALID cli_as app unwrap --context a=1 <"$DIR/envelope"
[[ -z $(cli_as app unwrap <"$DIR/envelope" 2>/dev/null) ]]
head -c 524289 /dev/zero | expect 2 "too large" cli_as app wrap --key orders
head -c 524288 /dev/zero >"$DIR/large"
cli_as app wrap --key orders <"$DIR/large" >"$DIR/large-envelope"
cli_as app unwrap <"$DIR/large-envelope" | cmp - "$DIR/large"

# ---- a key's life ----
[[ $(cli_as custodian key disable orders) == *'"state":"DISABLED"'* ]]
expect 1 KEY_DISABLED cli_as app unwrap --context b=2 --context a=1 <"$DIR/envelope"
[[ $(cli_as custodian key enable orders) == *'"state":"ENABLED"'* ]]
cli_as app unwrap --context b=2 --context a=1 <"$DIR/envelope" | cmp - "$DIR/plain"
expect 2 "--yes answers" cli_as custodian key delete orders
[[ $(cli_as custodian key delete orders --yes --days 7) == *'"state":"PENDING_DELETION"'* ]]
[[ $(cli_as custodian key cancel-deletion orders) == *'"state":"DISABLED"'* ]]
[[ $(cli_as custodian key enable orders) == *'"state":"ENABLED"'* ]]

# ---- policies, as files ----
printf '{"rules": [\n  {"name": "all",   "principals": ["app/*"]}\n]}\n' >"$DIR/policy.json"
[[ $(cli_as custodian key policy set orders "$DIR/policy.json") == *'"name":"all"'* ]]
cli_as custodian key policy get orders | cmp - "$DIR/policy.json"
generation=$(cli_as custodian key show orders | sed -n 's/.*"generation":\([0-9]*\).*/\1/p')
cli_as custodian key policy set orders "$DIR/policy.json" --generation "$generation" >/dev/null
expect 1 CONFLICT cli_as custodian key policy set orders "$DIR/policy.json" --generation "$generation"
printf '{"rules": [{"name": "all", "operations": ["decript"]}]}' | expect 1 policy.operations cli_as custodian key policy set orders -
cli_as custodian key policy get orders | cmp - "$DIR/policy.json"

# ---- what a policy would have refused ----
tested=$(cli_as auditor policy test --key orders --file "$DIR/policy.json" --from -1h)
[[ $tested == *'"operation":"Unwrap"'*'"refused":0'* ]]
printf '{"rules": [{"name": "a", "operations": ["wrap"]}]}' >"$DIR/narrower.json"
expect 1 "would have refused" cli_as auditor policy test --key orders --file "$DIR/narrower.json" --table
tested=$(cli_as auditor policy test --key orders --file "$DIR/narrower.json" 2>/dev/null || true)
[[ $tested == *'"operation":"Unwrap"'*'"reason":"NOT_PERMITTED"'* ]]
cli_as auditor policy test --key orders --file "$DIR/narrower.json" --to -1h >/dev/null
expect 1 policy.operations cli_as auditor policy test --key orders --file <(printf '{"rules": [{"name": "a", "operations": ["w"]}]}')
expect 1 NOT_PERMITTED cli_as app policy test --key orders --file "$DIR/policy.json"

# ---- grants ----
bailiwick ca caller "$CA" --region eu-central --tenant acme --role app --name guest >/dev/null
cli_conf "$DIR/eu-central.acme.guest.conf" eu-central "$PORT" "$CA" eu-central.acme.app.guest
printf '{"rules": [{"name": "t1 only", "principals": ["app/t1"]}]}' | cli_as custodian key policy set orders - >/dev/null
expect 1 NOT_PERMITTED cli_as guest unwrap --context b=2 --context a=1 <"$DIR/envelope"
made=$(cli_as custodian grant create orders --to app/t1 --operation unwrap --context a=1 --expires +2h --delegations 1)
parent=$(sed -n 's/.*"grant":{"id":"\([0-9a-f]*\)".*/\1/p' <<<"$made")
[[ $made == *'"context":{"a":"1"}'* && $parent =~ ^[0-9a-f]{32}$ ]] || die "no grant: $made"
expect 1 GRANT_WIDER cli_as app grant create orders --to app/guest --operation unwrap --expires +1h --parent "$parent"
child=$(cli_as app grant create orders --to app/guest --operation unwrap --context a=1 --context b=2 --expires +1h --parent "$parent" |
        sed -n 's/.*"grant":{"id":"\([0-9a-f]*\)".*/\1/p')
cli_as guest unwrap --context b=2 --context a=1 <"$DIR/envelope" | cmp - "$DIR/plain"
[[ $(cli_as auditor audit query --operation Unwrap --newest --limit 1) == *"\"rule\":\"grant/$child\""* ]]
[[ $(cli_as custodian grant list orders | wc -l) == 2 ]]
[[ $(cli_as guest grant list orders) == *"\"id\":\"$child\""* ]]
[[ $(cli_as custodian grant revoke orders "$parent") == *"$child"* ]]
expect 1 NOT_PERMITTED cli_as guest unwrap --context b=2 --context a=1 <"$DIR/envelope"
expect 1 NO_SUCH_GRANT cli_as custodian grant revoke orders "$parent"
expect 1 "to whom" cli_as custodian grant create orders --expires +1h
expect 2 "this option is needed" cli_as custodian grant create orders --to app/guest
cli_as custodian key policy set orders "$DIR/policy.json" >/dev/null

# ---- certificates ----
id=$(cli_as custodian object put "$CA/ca.pem" --key orders | sed -n 's/.*"object":{"id":"\([0-9a-f]*\)".*/\1/p')
[[ $(cli_as app object list --cka-id 0a0b) == *'BEGIN CERTIFICATE'* ]]
expect 2 "holds no certificate" cli_as custodian object put "$CA/ca.key"
cli_as custodian object delete "$id" --yes >/dev/null
[[ -z $(cli_as app object list) ]]

# ---- tenants ----
printf '{\n "apps_own_keys":   false}\n' >"$DIR/tenant-policy.json"
generation=$(cli_as custodian tenant show | sed -n 's/.*"generation":\([0-9]*\).*/\1/p')
cli_as custodian tenant policy set acme "$DIR/tenant-policy.json" --generation "$generation" >/dev/null
expect 1 CONFLICT cli_as custodian tenant policy set acme "$DIR/tenant-policy.json" --generation "$generation"
cli_as auditor tenant policy get | cmp - "$DIR/tenant-policy.json"
[[ $(cli_as operator tenant list) == *'"name":"acme"'* ]]
[[ $(cli_as app tenant show) == *'"region":"eu-central"'* ]]
cli_as operator tenant seal acme --yes >/dev/null
expect 1 TENANT_SEALED cli_as app unwrap --context b=2 --context a=1 <"$DIR/envelope"
cli_as operator tenant activate acme >/dev/null
cli_as app unwrap --context b=2 --context a=1 <"$DIR/envelope" | cmp - "$DIR/plain"
bailiwick ca caller "$CA" --region eu-central --tenant acme --role app --name gone >/dev/null
cli_conf "$DIR/eu-central.acme.gone.conf" eu-central "$PORT" "$CA" eu-central.acme.app.gone
cli_as gone key list >/dev/null
cli_as custodian tenant revoke-principal spiffe://test.example/region/eu-central/tenant/acme/app/gone --yes >/dev/null
expect 4 REVOKED cli_as gone key list
[[ $(cli_as custodian tenant list-revoked) == *'/app/gone"'* ]]

# ---- the log ----
[[ $(cli_as auditor audit query --operation Unwrap --outcome denied) == *'"reason":"KEY_DISABLED"'* ]]
[[ $(cli_as auditor audit query --operation RotateKey --key orders --outcome granted | wc -l) == 2 ]]
[[ $(cli_as auditor audit query --limit 3 | wc -l) == 3 ]]
[[ -z $(cli_as auditor audit query --to -1h) ]]
[[ -n $(cli_as auditor audit query --from -1h) ]]
[[ $(cli_as auditor audit query --limit 1 --newest) != "$(cli_as auditor audit query --limit 1)" ]]
expect 1 NOT_PERMITTED cli_as app audit query
expect 2 "no such method" cli_as auditor audit query --operation Decript
expect 2 "not a time" cli_as auditor audit query --from yesterday

# ---- nobody there ----
cli_conf "$DIR/eu-central.acme.nobody.conf" eu-central "$(free_port)" "$CA" eu-central.acme.app.t1
expect 3 UNREACHABLE cli_as nobody describe
