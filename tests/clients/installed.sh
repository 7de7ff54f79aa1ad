#!/bin/bash
# Installed as packages install it, in a mount namespace of our own (hence root): the examples as they are, without a path changed, the
# p11-kit module file, and doctor without a word of where anything is.
set -euo pipefail
if ((EUID != 0)); then
    printf 'ok: not as root, so nowhere to install: left out\n'
    exit
fi
if [[ -z ${BW_OWN_MOUNTS:-} ]]; then
    BW_OWN_MOUNTS=yes exec unshare --mount bash "$0"
fi
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"
build=$BW_BUILD
if ! grep -q '^CMAKE_INSTALL_PREFIX:PATH=/usr$' "$build/CMakeCache.txt"; then
    build=$DIR/build
    cmake -S "$BW_SOURCE" -B "$build" -G Ninja -DCMAKE_INSTALL_PREFIX=/usr -DBW_TESTS=OFF >said 2>&1
    cmake --build "$build" >said 2>&1 || die "$(tail -n 20 said)"
fi
DESTDIR=$DIR/root cmake --install "$build" >said 2>&1 || die "$(tail -n 20 said)"
install -D -m 644 "$BAILIWICK_PKCS11_CONFIG" root/etc/bailiwick/pkcs11.conf
for folder in /usr /etc; do
    mount -t overlay overlay -o "lowerdir=$DIR/root$folder:$folder" "$folder"
done
unset BAILIWICK_PKCS11_CONFIG
examples=$DIR/root/usr/share/doc/bailiwick/examples

/usr/bin/bailiwick doctor --json >said || die "doctor: $(<said)"
[[ $(<said) != *'"wrong"'* && $(<said) == *'/usr/share/p11-kit/modules/bailiwick.module names /usr/lib/x86_64-linux-gnu/pkcs11/bailiwick-pkcs11.so'* ]]
checked "doctor finds file, module and p11-kit's by itself, and nothing wrong"
p11tool --list-all 'pkcs11:token=bw%20acme' >said 2>&1
[[ $(<said) == *'object=rsa'* ]]
checked "p11tool sees the token through p11-kit"
OPENSSL_CONF=$examples/openssl.cnf openssl req -new -x509 -engine pkcs11 -keyform engine -key 'pkcs11:object=rsa;type=private' \
    -subj /CN=installed -out installed.pem 2>said || die "openssl: $(<said)"
openssl verify -CAfile installed.pem installed.pem >said
checked "openssl.cnf"
ssh-keygen -D "$(sed -n 's/^ *PKCS11Provider *//p' "$examples/ssh_config")" >said 2>&1 || die "ssh-keygen: $(<said)"
[[ $(<said) == *'ecdsa-sha2-nistp256 '* ]]
checked "ssh_config's module"
keytool -list -storetype PKCS11 -providerClass sun.security.pkcs11.SunPKCS11 -providerArg "$examples/java-pkcs11.cfg" -storepass none >said 2>&1 ||
    die "keytool: $(<said)"
checked "java-pkcs11.cfg"
mkdir nss
printf 'password\n' >password
certutil -N -d sql:nss -f password
printf '\n' | cat - "$examples/nss.txt" >>nss/pkcs11.txt
certutil -K -d sql:nss -f password -h 'bw acme' >said 2>&1 || die "certutil: $(<said)"
[[ $(<said) == *rsa* ]]
checked "nss.txt"
