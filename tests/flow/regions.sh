#!/bin/bash
# What must not cross a region's border, as an attacker tries it: nodes set up with a part of another region, clients
# pointed at another region, callers from there, another tenant's keys, envelopes that were moved, certificates that are
# revoked, missing or of another CA.
source "$(dirname "$0")/../lib/region.sh"
live_region
start_region us-east
make_tenant us-east acme
make_tenant eu-central umbra
python_messages
eu=$DIR/eu-central us=$DIR/us-east
us_port=$(<"$us/port")

say()
{
    printf 'ok      %s\n' "$*"
}

# ---- a node of two regions does not start, and says which part differs ----

# refuses_to_start SENTENCE TEXT SED [CONFIG]: region us-east's node, its configuration changed so, with eu-central's HSM if asked
refuses_to_start()
{
    local sentence=$1 text=$2 change=$3 hsm=${4:-$us/softhsm2.conf}

    sed "$change" "$us/bailiwickd.conf" >"$DIR/mixed.conf"
    expect 1 "$text" env SOFTHSM2_CONF="$hsm" timeout 30 bailiwickd --config "$DIR/mixed.conf"
    say "a daemon does not start when $sentence"
}

region_stop "$us"
region_stop "$eu"
refuses_to_start "its configuration names another region" "certificate differs: region eu-central is configured" 's/^name .*/name = eu-central/'
refuses_to_start "its certificate is another region's"     "names region eu-central"  "s,us-east.node.n1,eu-central.node.n1,"
refuses_to_start "its HSM holds another region's token"    "the HSM differs"          "" "$eu/softhsm2.conf"
refuses_to_start "its store is another region's"           "the store differs"        "/^.store/,/^.audit/ s,$us/store,$eu/store,"
refuses_to_start "its audit log is another region's"       "the audit log differs"    "s,$us/audit\$,$eu/audit,"
region_start "$eu"
region_start "$us"

# ---- a client of eu-central that is led to us-east sends nothing ----

bailiwick --config "$DIR/us-east.operator.conf" audit query --region >"$DIR/before"
cli_conf "$DIR/eu-central.acme.misled.conf" eu-central "$us_port" "$CA" eu-central.acme.app.t1
provider_conf "$DIR/misled.pkcs11.conf" eu-central "$us_port" "$CA" eu-central.acme.app.t1 acme
expect 4 SERVER_REGION cli_as misled describe
expect 4 SERVER_REGION cli_as misled wrap --key "bw:eu-central:acme:key/00000000000000000000000000000000" <<<"secret"
BAILIWICK_PKCS11_CONFIG=$DIR/misled.pkcs11.conf expect 1 "C_GenerateRandom: 0x68" "$BW_BUILD/tests/words_app" "$MODULE" <<<"random"
bailiwick --config "$DIR/us-east.operator.conf" audit query --region >"$DIR/after"
cmp "$DIR/before" "$DIR/after"
region_stop "$us"
[[ $(grep -cE 'eu-central|refused' "$us/log") == 0 ]] || die "us-east heard of eu-central's client: $(<"$us/log")"
region_start "$us"
say "command and module led to us-east are refused; us-east saw no call, and has no record"

: >"$DIR/listener"
/usr/bin/python3 "$(dirname "$0")/listener.py" "$CA/ca.pem" "$CA/us-east.node.n1" "$DIR/listener" &
listener=$!
grep -qm1 port < <(tail -n +1 -f --pid="$listener" "$DIR/listener" 2>/dev/null)
cli_conf "$DIR/eu-central.acme.misled.conf" eu-central "$(sed -n 's/^port //p' "$DIR/listener")" "$CA" eu-central.acme.app.t1
expect 4 SERVER_REGION cli_as misled describe
wait "$listener"
[[ $(tail -n 1 "$DIR/listener") == "nobody, 0 bytes" ]] || die "a server of us-east learned: $(<"$DIR/listener")"
say "a server with us-east's certificate learns neither who calls nor one byte of a request"

# ---- callers from elsewhere ----

bailiwick ca caller "$CA" --region us-east --tenant acme --role app --name abroad >/dev/null
cli_conf "$DIR/eu-central.acme.abroad.conf" eu-central "$PORT" "$CA" us-east.acme.app.abroad
cli_as custodian key create --spec AES_256 --alias orders >"$DIR/key"
key=$(sed -n 's/.*"name":"\(bw:[^"]*\)".*/\1/p' "$DIR/key")
expect 1 CALLER_REGION cli_as abroad wrap --key "$key" <<<"from abroad"
abroad=spiffe://test.example/region/us-east/tenant/acme/app/abroad
[[ $(cli_as auditor audit query --principal "$abroad" --outcome denied --key "$key") == *'"reason":"CALLER_REGION"'* ]]
[[ -z $(cli_as auditor audit query --principal "$abroad" --outcome granted) ]]
say "a caller in us-east is refused by name, and acme's log has it"
printf '{"rules": [{"name": "both", "regions": ["eu-central", "us-east"]}]}' | cli_as custodian key policy set "$key" - >/dev/null
cli_as abroad wrap --key "$key" <<<"from abroad" >"$DIR/envelope"
say "until the key's policy names his region"

# ---- another tenant's key, a moved envelope ----

stock "$(dirname "$0")/borders.py" "$CA" "$PORT" "$us_port" "$key"

umbra=spiffe://test.example/region/eu-central/tenant/umbra/app/t1
[[ -z $(cli_as auditor audit query --principal "$umbra") ]]
[[ $(cli_as operator audit query --region --principal "$umbra" --outcome denied) == *'"reason":"NO_SUCH_KEY"'* ]]
[[ -z $(bailiwick --config "$DIR/eu-central.umbra.auditor.conf" audit query --key "$key") ]]
say "attempts at another tenant's key are in the region's log, in neither tenant's"

bailiwick --config "$DIR/us-east.acme.auditor.conf" audit query --operation Unwrap >"$DIR/records"
grep -q '"outcome":"DENIED","reason":"WRONG_REGION"' "$DIR/records"
[[ $(grep -c GRANTED "$DIR/records") == 0 ]]
region_stop "$us"
grep 'code=WRONG_REGION' "$us/log" | grep -q 'stage=authorise'
[[ $(grep 'code=WRONG_REGION' "$us/log" | grep -vc 'stage=authorise') == 0 ]]
region_start "$us"
say "us-east has the moved envelope on record as refused, before its HSM was asked"

# ---- certificates ----

bailiwick ca caller "$CA" --region eu-central --tenant acme --role app --name lost >/dev/null
cli_conf "$DIR/eu-central.acme.lost.conf" eu-central "$PORT" "$CA" eu-central.acme.app.lost
stock "$(dirname "$0")/revoked.py" "$CA" "$PORT" "$eu"
expect 4 REVOKED cli_as lost describe
[[ $(cli_as auditor audit query --principal spiffe://test.example/region/eu-central/tenant/acme/app/lost --outcome denied) == *'"reason":"REVOKED"'* ]]
say "and on new ones, and acme's log has it"

handshake()
{
    openssl s_client -connect "127.0.0.1:$PORT" -CAfile "$CA/ca.pem" "$@" </dev/null 2>&1 || true
}
[[ $(handshake -tls1_3 -cert "$CA/eu-central.acme.app.t1.pem" -key "$CA/eu-central.acme.app.t1.key") == *"Cipher is TLS_"* ]]
[[ $(handshake -tls1_2 -cert "$CA/eu-central.acme.app.t1.pem" -key "$CA/eu-central.acme.app.t1.key") == *"Cipher is (NONE)"* ]]
say "TLS 1.2 is refused"

bailiwick ca init "$DIR/other-ca" --trust-domain test.example >/dev/null 2>&1
bailiwick ca caller "$DIR/other-ca" --region eu-central --tenant acme --role app --name t1 >/dev/null
cp "$DIR/other-ca/eu-central.acme.app.t1.pem" "$CA/stranger.pem"
cp "$DIR/other-ca/eu-central.acme.app.t1.key" "$CA/stranger.key"
cli_conf "$DIR/eu-central.acme.stranger.conf" eu-central "$PORT" "$CA" stranger
expect 4 TLS_REFUSED cli_as stranger describe
say "a certificate of another CA is refused in the handshake"

cli_conf "$DIR/eu-central.acme.node.conf" eu-central "$PORT" "$CA" eu-central.node.n1
expect 4 "" cli_as node describe
say "a node's certificate makes no caller"
