#!/bin/bash
# A network that fails between the module and its daemon: no hang past the deadline, no wrong result, no lost session, no leak, and
# in the log one use for each call: trap 32.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
apps_own_keys
cd "$DIR"
mkfifo well
proxy bad
sed "s/^endpoints .*/endpoints = $said/; \$a deadline_ms = 1000" "$BAILIWICK_PKCS11_CONFIG" >faulty.conf
chmod 600 faulty.conf

# under MODE CALLS: what endurance says of that many calls when, after the first one, the network is like that
under()
{
    local out well

    echo pass >bad.mode
    exec {out}< <(BAILIWICK_PKCS11_CONFIG=$DIR/faulty.conf "$BW_BUILD/tests/endurance" "$MODULE" aes "$2" 1000 <"$DIR/well" 2>&1)
    exec {well}>"$DIR/well"
    read -r said <&"$out"
    [[ $said == begun ]] || die "$said"
    echo "$1" >bad.mode
    echo >&"$well"
    read -r said <&"$out"
    [[ $said == *" failed, longest "* ]] || die "$1: $said"
    echo pass >bad.mode
    echo >&"$well"
    exec {well}>&-
    [[ $(cat <&"$out") == "ended well" ]] || die "$1: it does not recover"
    exec {out}<&-
}

# uses RPC: how many calls of the application's the log tells of. What was asked again, because its answer was lost, has the same id.
uses()
{
    cli_as auditor audit query --json --operation "$1" --outcome granted | sed -n 's,.*/app/t1".*"request_id":"\([0-9a-f]*\)".*,\1,p' | sort -u | wc -l
}

# cut_calls STEP HOW DEADLINE: each kind of call, cut after every STEP bytes
cut_calls()
{
    local rpc count before
    local -A made=() had=()

    sed -i "s/^deadline_ms .*/deadline_ms = $3/" faulty.conf
    for rpc in Encrypt Decrypt Sign Random GenerateKey WrapKey CreateKey UpdateKey PutObject; do
        had[$rpc]=$(uses "$rpc")
    done
    BAILIWICK_PKCS11_CONFIG=$DIR/faulty.conf "$BW_BUILD/tests/cut_calls" "$MODULE" "$DIR/bad.mode" "$1" "$2" "$3" >calls 2>failed || die "$2: $(<failed)"
    while read -r rpc count; do
        made[$rpc]=$((${made[$rpc]:-0} + count))
    done <calls
    said=$(sort calls | tr '\n' ' ')
    for rpc in "${!had[@]}"; do
        before=${had[$rpc]}
        count=$(($(uses "$rpc") - before))
        ((count == made[$rpc])) || die "$2: ${made[$rpc]} times $rpc, $count uses in the log"
    done
}

under pass 100
[[ $said == "100 right, 0 failed"* ]]
checked "as it should be: $said"
under "reset 6" 5000
connections=$(sed -n 's/.* method=Encrypt .* peer=\([^ ]*\).*/\1/p' eu-central/log | sort -u | wc -l)
[[ $connections -ge 1000 ]] || die "only $connections connections: $said"
checked "5,000 calls over $connections connections, each reset after a few answers: $said"
[[ $said == "5000 right, 0 failed"* ]]
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

cut_calls 17 reset 1000
checked "reset after every 17 bytes of each kind of call: every one succeeds, and is one use in the log: $said"
cut_calls 67 closed 1000
checked "closed after every 67 bytes: the same: $said"
cut_calls 300 silent 500
checked "silent after every 300 bytes: the same, another connection answers before the deadline: $said"

# a search of five pages, 60 ms each, through a proxy that cuts before one that delays
proxy far
proxy near "${said#*:}"
sed -i "s/^endpoints .*/endpoints = $said/; s/^deadline_ms .*/deadline_ms = 500/" faulty.conf
said=$(BAILIWICK_PKCS11_CONFIG=$DIR/faulty.conf "$BW_BUILD/tests/silent_search" "$MODULE" "$DIR/near.mode" "$DIR/far.mode" 2500 500)
read -r cuts _ fails _ <<<"$said"
((cuts > 5 && fails > 0 && fails < cuts)) || die "too early or too late: $said"
checked "silent after every 2,500 bytes of a search of five pages: over at one deadline, whatever came before: $said"
