#!/bin/bash
# Several endpoints, some of them bad; connections that die unseen: trap 33; and what ulDeviceError says of each failure.
source "$(dirname "$0")/../lib/region.sh"
live_region
start_region us-east
cli_as custodian key create --spec AES_256 --label aes --alias aes >/dev/null
cd "$DIR"
other=127.0.0.1:$(<us-east/port)
home=127.0.0.1:$PORT

proxy first
first_proxy=$said first_pid=$!
proxy second
second_proxy=$said second_pid=$!

# caller SETTING...: starts the application, with these settings instead of what there was
caller()
{
    local setting
    cp "$BAILIWICK_PKCS11_CONFIG" caller.conf
    for setting; do
        sed -i "/^${setting%% *} /d; \$ a $setting" caller.conf
    done
    chmod 600 caller.conf
    coproc CALLER { BAILIWICK_PKCS11_CONFIG=$DIR/caller.conf exec "$BW_BUILD/tests/caller" "$MODULE" aes 2>&1; }
}

caller_ends()
{
    local pid=$CALLER_PID in=${CALLER[1]}
    exec {in}>&-
    wait "$pid" || die "the application ended badly"
}

# call RV DEVICE-ERROR LEAST MOST WHAT: the application's next call ends so, in that many milliseconds
call()
{
    local rv code took
    echo >&"${CALLER[1]}"
    read -r rv code took <&"${CALLER[0]}"
    [[ $rv == "$1" && $code == "$2" ]] || die "$5: $rv, device error $code, after $took ms"
    ((took >= $3 && took <= $4)) || die "$5: it took $took ms"
    checked "$5: $rv $code, $took ms"
}
well()
{
    call 0x0 0 0 "$1" "$2"
}

# served REGION: the requests of acme's application there
served()
{
    grep -c '/app/t1 ' "$1/log" || true
}

# ---- which endpoint ----
caller "endpoints = 127.0.0.1:$(free_port), $home" "deadline_ms = 2000"
well 1000 "the first endpoint is not there"
caller_ends
echo refuse >first.mode
caller "endpoints = $first_proxy, $home" "deadline_ms = 2000"
well 1000 "the first endpoint hangs up"
caller_ends
echo hole >first.mode
caller "endpoints = $first_proxy, $home" "deadline_ms = 2000"
well 1500 "the first endpoint takes connections, and says nothing"
caller_ends
caller "endpoints = $other, $home" "deadline_ms = 2000"
well 1000 "the first endpoint is of another region"
caller_ends
echo pass >first.mode
caller "endpoints = $first_proxy, $other, $second_proxy" "deadline_ms = 2000"
well 1000 "the first of three"
echo refuse >first.mode
kill -USR2 "$first_pid"
well 1500 "it dies, the next is of another region, the third takes over"
echo refuse >second.mode
kill -USR2 "$second_pid"
call 0x68 102 0 2500 "only the one of another region is left, and there is a ticket of the home region's"
echo pass >first.mode
well 1500 "the first one is back"
caller_ends
[[ $(served us-east) == 0 ]] || die "another region has seen a request"
checked "another region's node has never seen a request"

# ---- connections that die unseen ----
echo pass >second.mode
caller "endpoints = $first_proxy" "deadline_ms = 600" "idle_ms = 1000"
well 600 "a connection"
kill -USR1 "$first_pid"
call 0x0 0 300 600 "it goes silent under us: another one answers before the deadline"
well 600 "and the next call does not wait"
kill -USR1 "$first_pid"
sleep 1.1
well 600 "it went silent while it was idle for longer than idle_ms: nobody notices"
kill -USR2 "$first_pid"
well 600 "it was reset while it was idle: nobody notices"
caller_ends

caller "endpoints = $first_proxy, $second_proxy" "deadline_ms = 1200"
well 600 "two endpoints"
echo hole >first.mode
call 0x0 0 600 1200 "the one in use goes silent in mid-connection: the other answers before the deadline"
well 600 "and the next call does not wait"
caller_ends
echo pass >first.mode

# ---- a ticket saves the certificates ----
proxy third # whose first connection is the application's first
third_pid=$!
caller "endpoints = $said" "deadline_ms = 2000"
for number in {1..6}; do
    well 2000 "a call on connection $number"
    kill -USR2 "$third_pid"
    head -n "$number" < <(tail -n +1 -f --pid="$third_pid" third.flow) >flow
done
caller_ends
read -r _ full <flow
while read -r _ resumed; do
    ((resumed < full - 500)) || die "a handshake that was not resumed: $(tr '\n' ';' <flow)"
done < <(tail -n +2 flow)
checked "the first handshake was the only full one: bytes up and down $(tr '\n' ';' <flow)"

# ---- what it was ----
caller "endpoints = 127.0.0.1:$(free_port)" "deadline_ms = 300"
call 0x30 100 0 500 "UNREACHABLE: nobody listens"
caller_ends
caller "endpoints = $other" "deadline_ms = 300"
call 0x68 102 0 800 "SERVER_REGION: a node of another region"
caller_ends
bailiwick ca init "$DIR/ca2" --trust-domain test.example >/dev/null 2>&1
caller "endpoints = $home" "deadline_ms = 300" "ca = $DIR/ca2/ca.pem"
call 0x30 101 0 800 "TLS_REFUSED: a node that our CA does not know"
caller_ends
caller "endpoints = $home" "deadline_ms = 2000"
well 1000 "all is well"
cli_as custodian key disable aes >/dev/null
call 0x60 8 0 1000 "KEY_DISABLED"
cli_as custodian key enable aes >/dev/null
cli_as custodian tenant seal acme --yes >/dev/null
call 0x68 10 0 1000 "TENANT_SEALED"
cli_as operator tenant activate acme >/dev/null
well 1000 "all is well again"
cli_as custodian tenant revoke-principal spiffe://test.example/region/eu-central/tenant/acme/app/t1 --yes >/dev/null
call 0x200 11 0 1000 "REVOKED"
caller_ends
