# shellcheck shell=bash
# What tools/quickstart, tools/test and the tests share: installing what is missing, making regions in folders, starting
# and stopping them. Sourced, with errexit on. Expects bailiwick and bailiwickd on the PATH.

BW_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die()
{
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# install_missing quickstart|test|bench: the packages of tools/packages that are not there; asks nothing.
install_missing()
{
    local wanted=$1 package purpose
    local -a missing=() as_root=()

    while read -r package purpose; do
        [[ $package == '#'* || -z $package ]] && continue
        [[ $purpose == "$wanted" || $purpose == quickstart ]] || continue
        # shellcheck disable=SC2016 # dpkg-query expands it
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done <"$BW_SOURCE/tools/packages"
    ((${#missing[@]})) || return 0

    if ((EUID != 0)); then
        sudo -n true 2>/dev/null || die "these Debian packages are missing, and this is neither root nor a user who may sudo: ${missing[*]}"
        as_root=(sudo -n)
    fi
    printf 'installing %s\n' "${missing[*]}"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
}

# free_port: prints a TCP port of 127.0.0.1 that nobody listens on.
free_port()
{
    local port

    while port=$((20000 + RANDOM % 12000)); do
        (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    printf '%s\n' "$port"
}

# hsm_mechanisms: what the daemon may ask of its HSM, for SoftHSM's slots.mechanisms. What is not offered cannot be misused; and
# SoftHSM copies the whole list at the start of each operation, which takes a tenth of an AES-GCM decryption.
hsm_mechanisms()
{
    sed -n 's/^BW_MECH(\([^,]*,\)\{4\} *\(CKM_[A-Z0-9_]*\),.*/\2/p' "$BW_SOURCE/include/bailiwick/mechanisms.def" | sort -u | paste -sd,
}

# region_make DIR REGION CA [PORT]: a region's folder: node certificate, configuration, HSM token, store, audit log.
region_make()
{
    local dir=$1 region=$2 ca=$3 port=${4:-$(free_port)}

    mkdir -p "$dir/tokens" "$dir/store" "$dir/audit"
    (umask 077 && mkdir -p "$dir/pins")
    printf '%s\n' "$port" >"$dir/port"
    bailiwick ca node "$ca" --region "$region" --name n1 --dns localhost --ip 127.0.0.1 >/dev/null
    cat >"$dir/softhsm2.conf" <<END
directories.tokendir = $dir/tokens
objectstore.backend = file
log.level = ERROR
slots.mechanisms = $(hsm_mechanisms)
END
    cat >"$dir/bailiwickd.conf" <<END
[region]
name         = $region
node         = n1
trust_domain = $(trust_domain "$ca")

[listen]
address = 127.0.0.1:$port

[tls]
certificate = $ca/$region.node.n1.pem
key         = $ca/$region.node.n1.key
ca          = $ca/ca.pem
crl         = $ca/crl.pem

[hsm]
module  = ${BW_HSM:-/usr/lib/softhsm/libsofthsm2.so}
pin_dir = $dir/pins

[store]
dir = $dir/store

[audit]
dir   = $dir/audit
guard = $dir/audit-guard
END
    SOFTHSM2_CONF=$dir/softhsm2.conf bailiwickd --init-region --config "$dir/bailiwickd.conf"
}

trust_domain()
{
    openssl x509 -in "$1/ca.pem" -noout -ext subjectAltName | sed -n 's,.*URI:spiffe://,,p'
}

# region_start DIR: returns when the daemon says that it serves; fails when it ends instead.
region_start()
{
    local dir=$1 pid

    : >"$dir/log"
    SOFTHSM2_CONF=$dir/softhsm2.conf setsid bailiwickd --config "$dir/bailiwickd.conf" </dev/null >>"$dir/log" 2>&1 &
    pid=$!
    printf '%s\n' "$pid" >"$dir/pid"
    if ! grep -qm1 ' started ' < <(tail -n +1 -f --pid="$pid" "$dir/log" 2>/dev/null); then
        cat "$dir/log" >&2
        die "bailiwickd of $dir did not start"
    fi
}

# region_stop DIR: lets running calls end, and returns when the daemon is gone; fails when it ended badly, as far as this
# shell is its parent and hears.
region_stop()
{
    local dir=$1 pid status=0

    [[ -s $dir/pid ]] || return 0
    pid=$(<"$dir/pid")
    rm -f "$dir/pid"
    kill -TERM "$pid" 2>/dev/null || true # ended already: wait tells how
    wait "$pid" 2>/dev/null || status=$?
    ((status == 127)) || return "$status"
    tail -f -s 0.1 --pid="$pid" /dev/null
}

# cli_conf FILE HOME PORT CA STEM: the command line tool's configuration. HOME: the region asked; STEM: the certificate used.
cli_conf()
{
    cat >"$1" <<END
region       = $2
trust_domain = $(trust_domain "$4")
endpoints    = 127.0.0.1:$3
ca           = $4/ca.pem
certificate  = $4/$5.pem
key          = $4/$5.key
END
}

# provider_conf FILE HOME PORT CA STEM TENANT: the PKCS#11 module's configuration, one slot.
provider_conf()
{
    cat >"$1" <<END
[$2]
region       = $2
tenant       = $6
trust_domain = $(trust_domain "$4")
endpoints    = 127.0.0.1:$3
ca           = $4/ca.pem
certificate  = $4/$5.pem
key          = $4/$5.key
END
}

# example NAME FILE MODULE: a configuration of tools/packaging/examples, for a module that lies elsewhere.
example()
{
    sed "s,/usr/lib/x86_64-linux-gnu/pkcs11/bailiwick-pkcs11.so,$3,g" "$BW_SOURCE/tools/packaging/examples/$1" >"$2"
}
