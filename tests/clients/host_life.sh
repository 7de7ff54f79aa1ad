#!/bin/bash
# The module's life in its host: forks, threads, signals, limits, ends. Each case is a process of its own, which must say nothing.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"
host=$BW_BUILD/tests/host_life

# quiet NAME COMMAND...: it ends well, in time, and without a word
quiet()
{
    local name=$1 status=0
    shift
    timeout 60 "$@" >said 2>&1 || status=$?
    ((status == 0)) || die "$name: ended with $status: $(<said)"
    [[ ! -s said ]] || die "$name: it said: $(<said)"
    checked "$name"
}

# trap 8: the host's openssl.cnf makes us its engine for all algorithms
example openssl.cnf engine.cnf "$MODULE"
sed -i 's/^init .*/&\ndefault_algorithms = ALL/' engine.cnf
for program in host_forks host_life; do
    for name in $("$BW_BUILD/tests/$program" "$MODULE"); do
        quiet "$name" env HOST_SHARES_OPENSSL=yes OPENSSL_CONF="$DIR/engine.cnf" "$BW_BUILD/tests/$program" "$MODULE" "$name"
    done
done

# what the host may not do without telling why
refused()
{
    expect 1 "$1" "$host" "$MODULE" only-initialises
    checked "refused, and said so: $1"
}

good=$BAILIWICK_PKCS11_CONFIG
cp "$good" mine.conf
export BAILIWICK_PKCS11_CONFIG=$DIR/mine.conf
chmod 620 mine.conf
refused "$DIR/mine.conf: others can write this file; run chmod go-w on it"
chmod 602 mine.conf
refused "$DIR/mine.conf: others can write this file; run chmod go-w on it"
chmod 600 mine.conf
install -m 600 "$CA/eu-central.acme.app.t1.key" mine.key
sed -i "s,^key .*,key = $DIR/mine.key," mine.conf
quiet "a key of its own" "$host" "$MODULE" only-initialises
chmod 604 mine.key
refused "others can read or write this private key; run chmod g-w,o-rwx on it"
chmod 620 mine.key
refused "others can read or write this private key; run chmod g-w,o-rwx on it"
export BAILIWICK_PKCS11_CONFIG=$good

if [[ $EUID != 0 ]]; then
    checked "not as root: hosts that run as another user are left out"
    exit
fi

# without the right to lock memory beyond the limit, which root has
quiet "no-memory-to-lock, by law" setpriv --bounding-set=-ipc_lock "$host" "$MODULE" no-memory-to-lock

# trap 12: who starts a setuid program chooses neither its configuration nor its key
chmod 711 "$DIR" "$CA"
mkdir nobody
cp "$CA"/{ca.pem,eu-central.acme.app.t1.pem,eu-central.acme.app.t1.key} nobody
sed "s,$CA,$DIR/nobody,g" "$good" >nobody/pkcs11.conf
cp "$MODULE" "$host" nobody
chown -R nobody: nobody
chmod 600 nobody/pkcs11.conf nobody/*.key
as_nobody=(setpriv --reuid=nobody --regid=nogroup --clear-groups env -C / BAILIWICK_PKCS11_CONFIG="$DIR/nobody/pkcs11.conf")
quiet "as nobody, with a configuration of his" "${as_nobody[@]}" "$DIR/nobody/host_life" "$DIR/nobody/bailiwick-pkcs11.so" storm-of-signals
chown root nobody/host_life
chmod 4755 nobody/host_life
"${as_nobody[@]}" "$DIR/nobody/host_life" "$DIR/nobody/bailiwick-pkcs11.so" only-initialises >said 2>&1 || true
# shellcheck disable=SC2016 # it says so
[[ -e /etc/bailiwick/pkcs11.conf || $(<said) == *'looked for $BAILIWICK_PKCS11_CONFIG (not set)'* ]] || die "a setuid host: $(<said)"
checked "a setuid host does not look where the one who started it says"
chmod 755 nobody/host_life
expect 1 "belongs to another user" env BAILIWICK_PKCS11_CONFIG="$DIR/nobody/pkcs11.conf" "$host" "$MODULE" only-initialises
checked "root does not take a configuration that nobody can write"
