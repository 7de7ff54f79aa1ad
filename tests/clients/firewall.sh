#!/bin/bash
# A network that loses packets without a word, as a firewall does that forgot a connection: real network namespaces, hence root.
set -euo pipefail
if ((EUID != 0)); then
    printf 'ok: not as root, so no network of our own: left out\n'
    exit
fi
if [[ -z ${BW_OWN_NETWORK:-} ]]; then
    BW_OWN_NETWORK=yes exec unshare --net bash "$0" # and all that is in it goes with it
fi
ip link set lo up
source "$(dirname "$0")/../lib/region.sh"
live_region
cli_as custodian key create --spec AES_256 --label aes >/dev/null
region_stop "$DIR/eu-central"
sed -i "s/^address .*/address = 0.0.0.0:$PORT/" "$DIR/eu-central/bailiwickd.conf"
region_start "$DIR/eu-central"

# the application's machine, with two lines to the region's
unshare --net sleep infinity &
machine=$!
stop_machine()
{
    kill "$machine"
}
AT_END+=(stop_machine)
until [[ $(readlink "/proc/$machine/ns/net") != $(readlink /proc/$$/ns/net) ]]; do
    kill -0 "$machine"
done
for line in 0 1; do
    ip link add "line$line" type veth peer name "end$line" netns "$machine"
    ip addr add "10.9.$line.1/24" dev "line$line"
    ip link set "line$line" up
    nsenter --target "$machine" --net ip addr add "10.9.$line.2/24" dev "end$line"
    nsenter --target "$machine" --net ip link set "end$line" up
done

sed "s/^endpoints .*/endpoints = 10.9.0.1:$PORT, 10.9.1.1:$PORT/; \$a deadline_ms = 1500" "$BAILIWICK_PKCS11_CONFIG" >"$DIR/caller.conf"
chmod 600 "$DIR/caller.conf"
coproc CALLER { exec nsenter --target "$machine" --net env BAILIWICK_PKCS11_CONFIG="$DIR/caller.conf" "$BW_BUILD/tests/caller" "$MODULE" aes 2>&1; }

# call LEAST MOST WHAT: the application's next call succeeds in that many milliseconds
call()
{
    local rv took
    echo >&"${CALLER[1]}"
    read -r rv _ took <&"${CALLER[0]}"
    [[ $rv == 0x0 ]] || die "$3: $rv after $took ms"
    ((took >= $1 && took <= $2)) || die "$3: it took $took ms"
    checked "$3: $took ms"
}

call 0 1000 "over the first line"
ip link set line0 down
call 300 1500 "the first line is dead: the peer's silence is noticed, and the call goes over the second"
call 0 100 "the next one at once"
ip link set line0 up
ip link set line1 down
call 300 1500 "and back again"
