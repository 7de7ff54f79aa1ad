#!/bin/bash
# A network that fails between the module and its daemon: no hang past the deadline, no wrong result, no lost session, no leak.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"
echo pass >mode
mkfifo well
coproc PROXY { exec /usr/bin/python3 "$BW_SOURCE/tests/lib/fault_proxy.py" "$PORT" "$DIR/mode"; }
proxy_pid=$! # of the coprocess
stop_proxy()
{
    kill "$proxy_pid"
}
AT_END+=(stop_proxy)
read -r port <&"${PROXY[0]}"
sed "s/^endpoints .*/endpoints = 127.0.0.1:$port/; \$a deadline_ms = 1000" "$BAILIWICK_PKCS11_CONFIG" >faulty.conf
chmod 600 faulty.conf

# under MODE CALLS: what endurance says of that many calls when, after the first one, the network is like that
under()
{
    local out well

    echo pass >mode
    exec {out}< <(BAILIWICK_PKCS11_CONFIG=$DIR/faulty.conf "$BW_BUILD/tests/endurance" "$MODULE" aes "$2" 1000 <"$DIR/well" 2>&1)
    exec {well}>"$DIR/well"
    read -r said <&"$out"
    [[ $said == begun ]] || die "$said"
    echo "$1" >mode
    read -r said <&"$out"
    [[ $said == *" failed, longest "* ]] || die "$1: $said"
    echo pass >mode
    echo >&"$well"
    exec {well}>&-
    [[ $(cat <&"$out") == "ended well" ]] || die "$1: it does not recover"
    exec {out}<&-
}

under pass 100
[[ $said == "100 right, 0 failed"* ]]
checked "as it should be: $said"
under "reset 6" 1000
connections=$(sed -n 's/.* method=Encrypt .* peer=\([^ ]*\).*/\1/p' eu-central/log | sort -u | wc -l)
[[ $connections -ge 200 ]] || die "only $connections connections: $said"
checked "1,000 calls over $connections connections, each reset after a few answers: $said"
[[ ${said%% *} -ge 980 ]]
under "delay 100" 10
[[ $said == "10 right, 0 failed"* ]]
checked "each piece delayed by 100 ms: $said"
under slow 20
[[ $said == "20 right, 0 failed"* ]]
checked "byte by byte: $said"
under hole 4
[[ $said == "0 right, 4 failed"* ]]
checked "half-open, nothing comes through: $said"
under refuse 4
[[ $said == "0 right, 4 failed"* ]]
checked "closed at once: $said"
