# shellcheck shell=bash
# A live region in a folder that is gone when the script ends. Sourced by tests/clients/*.sh and others.
#
#   BW_BUILD   the build folder (from the environment; tools/test sets it)
#
# After live_region: $DIR the folder, $CA the CA's, $PORT the daemon's, tenant acme with an application, a custodian and an
# auditor, and an operator. cli_as custodian key list    runs the tool as that role.

set -euo pipefail

: "${BW_BUILD:?the build folder}"
PATH=$BW_BUILD/tools:$BW_BUILD/server:$PATH
# shellcheck disable=SC2034 # for the scripts that source this
MODULE=$BW_BUILD/provider/bailiwick-pkcs11.so
# shellcheck source=../../tools/region.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/region.sh"

DIR=$(mktemp -d "${TMPDIR:-/tmp}/bw-region-XXXXXX")
CA=$DIR/ca

# SoftHSM leaks a little with each EdDSA signature; under AddressSanitizer only a full stack tells that it is SoftHSM
printf 'leak:hsm_crypt.c\n' >"$DIR/lsan"
export LSAN_OPTIONS=print_suppressions=0:suppressions=$DIR/lsan ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}fast_unwind_on_malloc=0
REGIONS=()
AT_END=() # functions to call when the script ends, before the regions stop
MOUNTS=() # folders in it to unmount

cleanup()
{
    local status=$? region end

    for end in "${AT_END[@]}"; do
        "$end" || true
    done
    for region in "${REGIONS[@]}"; do
        region_stop "$DIR/$region" || status=1
        ((status == 0)) || tail -n 40 "$DIR/$region/log" | sed "s/^/$region: /" >&2
    done
    ((${#MOUNTS[@]} == 0)) || umount -l "${MOUNTS[@]}"
    rm -rf "$DIR"
    exit "$status"
}
trap cleanup EXIT
trap 'printf "%s:%d: failed: %s\n" "${BASH_SOURCE[0]}" "$LINENO" "$BASH_COMMAND" >&2' ERR

# start_region REGION: makes the CA with the first one.
start_region()
{
    local region=$1

    [[ -d $CA ]] || bailiwick ca init "$CA" --trust-domain test.example >/dev/null 2>&1
    region_make "$DIR/$region" "$region" "$CA"
    printf '\n[log]\nrequests = all\n' >>"$DIR/$region/bailiwickd.conf"
    REGIONS+=("$region")
    region_start "$DIR/$region"
    bailiwick ca operator "$CA" --region "$region" --name ops >/dev/null
    cli_conf "$DIR/$region.operator.conf" "$region" "$(<"$DIR/$region/port")" "$CA" "$region.operator.ops"
}

# region_kill DIR: its daemon dies at once. We are its parent: wait returns when it is gone.
region_kill()
{
    local pid

    pid=$(<"$1/pid")
    rm "$1/pid"
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
}

# make_tenant REGION TENANT: with an app, a custodian and an auditor, all called t1; passphrase-less keys.
make_tenant()
{
    local region=$1 tenant=$2 port role

    port=$(<"$DIR/$region/port")
    bailiwick --config "$DIR/$region.operator.conf" tenant create "$tenant" >/dev/null
    for role in app custodian auditor; do
        bailiwick ca caller "$CA" --region "$region" --tenant "$tenant" --role "$role" --name t1 >/dev/null
        cli_conf "$DIR/$region.$tenant.$role.conf" "$region" "$port" "$CA" "$region.$tenant.$role.t1"
    done
    provider_conf "$DIR/$region.$tenant.pkcs11.conf" "$region" "$port" "$CA" "$region.$tenant.app.t1" "$tenant"
}

# cli_as ROLE ARGUMENT...: as operator, or as that role of tenant acme, in eu-central.
cli_as()
{
    local role=$1
    shift
    if [[ $role == operator ]]; then
        bailiwick --config "$DIR/eu-central.operator.conf" "$@"
    else
        bailiwick --config "$DIR/eu-central.acme.$role.conf" "$@"
    fi
}

# live_region: eu-central with tenant acme, and the module's configuration in the environment.
live_region()
{
    start_region eu-central
    make_tenant eu-central acme
    # shellcheck disable=SC2034 # for the scripts that source this
    PORT=$(<"$DIR/eu-central/port")
    export BAILIWICK_PKCS11_CONFIG=$DIR/eu-central.acme.pkcs11.conf
}

# three_keys: what applications with everyday wishes use; "rsa" and "ec" also as $DIR/rsa.pem and $DIR/ec.pem, public keys.
three_keys()
{
    local key

    cli_as custodian key create --spec AES_256  --label aes --cka-id 01 --alias aes >/dev/null
    cli_as custodian key create --spec RSA_2048 --label rsa --cka-id 02 --alias rsa >/dev/null
    cli_as custodian key create --spec EC_P256  --label ec  --cka-id 03 --alias ec >/dev/null
    for key in rsa ec; do
        pkcs11-tool --module "$MODULE" --read-object --type pubkey --label "$key" -o "$DIR/$key.der" 2>/dev/null
        openssl pkey -pubin -inform DER -in "$DIR/$key.der" -out "$DIR/$key.pem"
    done
}

# apps_own_keys: acme's applications may make keys and objects of their own.
apps_own_keys()
{
    printf '{"apps_own_keys": true}\n' >"$DIR/tenant-policy.json"
    cli_as custodian tenant policy set acme "$DIR/tenant-policy.json" >/dev/null
}

# checked TEXT: says what holds.
checked()
{
    printf 'ok: %s\n' "$*"
}

# records FILTER...: how many records of acme's log there are that this selects.
records()
{
    cli_as auditor audit query "$@" | wc -l
}

# proxy NAME [PORT]: a proxy (fault_proxy.py) in front of eu-central, or of what listens there. $said is its endpoint and $! its process; in $DIR, NAME.mode says how
# it is, and NAME.flow what went through.
PROXIES=()
proxy()
{
    echo pass >"$DIR/$1.mode"
    mkfifo "$DIR/$1.port"
    /usr/bin/python3 "$BW_SOURCE/tests/lib/fault_proxy.py" "${2:-$PORT}" "$DIR/$1.mode" >"$DIR/$1.port" 2>>"$DIR/$1.flow" &
    ((${#PROXIES[@]})) || AT_END+=(stop_proxies)
    PROXIES+=($!)
    read -r said <"$DIR/$1.port"
    said=127.0.0.1:$said
}
stop_proxies()
{
    kill "${PROXIES[@]}"
}

# expect STATUS TEXT COMMAND...: the command must end with that status and say that text, on either output.
expect()
{
    local status=$1 text=$2 said got=0
    shift 2
    said=$("$@" 2>&1) || got=$?
    ((got == status)) || die "$*: ended with $got, not $status: $said"
    [[ $said == *"$text"* ]] || die "$*: does not say '$text' but: $said"
}

# tells STATUS CAUSE REMEDY COMMAND...: doctor ends so, and says both in one line of JSON. $TOLD counts them.
TOLD=0
tells()
{
    local status=$1 cause=$2 remedy=$3 got=0
    shift 3
    "$@" >"$DIR/said" 2>&1 </dev/null || got=$?
    ((got == status)) || die "$cause: ended with $got, not $status: $(<"$DIR/said")"
    sed 's,\\",",g' "$DIR/said" | grep -F -- "$cause" | grep -qF -- "$remedy" || die "no line says '$cause' and '$remedy': $(<"$DIR/said")"
    TOLD=$((TOLD + 1))
}

# python_messages: compiles the protocol for stock gRPC clients into $DIR/messages.
python_messages()
{
    mkdir "$DIR/messages"
    (cd "$BW_SOURCE/proto" && protoc -I. -I/usr/include --python_out="$DIR/messages" \
        bailiwick/v1/*.proto google/rpc/*.proto grpc/health/v1/*.proto grpc/reflection/v1alpha/*.proto)
}

# stock SCRIPT ARGUMENT...: a Python script beside this folder's users that imports lib/stock.py.
stock()
{
    local script=$1
    shift
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$BW_SOURCE/tests/lib /usr/bin/python3 "$script" "$DIR/messages" "$@"
}

# key_name: the name of the key that a command's reply on standard input is about.
key_name()
{
    sed -n 's/.*"name":"\(bw:[^"]*\)".*/\1/p'
}

# start_load KEY: 8 threads that encrypt, until stop_load; $DIR/results has a line for each result. Descriptor 3 is in use.
start_load()
{
    mkfifo "$DIR/load-on"
    : >"$DIR/results"
    "$BW_BUILD/tests/load" "$BAILIWICK_PKCS11_CONFIG" "$1" 8 <"$DIR/load-on" >"$DIR/results" &
    LOAD=$!
    exec 3>"$DIR/load-on"
}

stop_load()
{
    exec 3>&-
    wait "$LOAD"
}

# await_results COUNT: returns when that many more results have come.
await_results()
{
    head -n "$1" < <(tail -n 0 -f --pid="$LOAD" "$DIR/results" 2>/dev/null) >/dev/null
}

# await_log REGION LINE TEXT: returns when the daemon has said it in that line of its log or later; prints the line.
await_log()
{
    grep -m1 -e "$3" < <(tail -n "+$2" -f --pid="$(<"$DIR/$1/pid")" "$DIR/$1/log" 2>/dev/null)
}

# log_end REGION: the number of the line that the daemon will write next.
log_end()
{
    printf '%s\n' $(($(wc -l <"$DIR/$1/log") + 1))
}
