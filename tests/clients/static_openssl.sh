#!/bin/bash
# The module with an OpenSSL of its own inside (BW_STATIC_OPENSSL): it exports what the other does, and its host's TLS library,
# whichever it is, cannot reach it.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"
cmake -G Ninja -S "$BW_SOURCE" -B "$DIR/build" -DBW_TESTS=OFF -DBW_STATIC_OPENSSL=ON >said 2>&1
cmake --build "$DIR/build" --target bailiwick-pkcs11 >said 2>&1 || die "$(tail -n 20 said)"
own=$DIR/build/provider/bailiwick-pkcs11.so

[[ $(nm -D --defined-only "$own" | cut -d' ' -f3 | tr '\n' ' ') == "C_GetFunctionList C_GetInterface C_GetInterfaceList " ]]
checked "it exports three symbols"
[[ $(readelf -d "$own") != *libssl* && $(readelf -d "$own") != *libcrypto* ]]
checked "it needs no OpenSSL"

call()
{
    [[ $(echo | LD_PRELOAD=$1 "$BW_BUILD/tests/caller" "$2" aes 2>&1) == "0x0 0 "* ]]
}
foreign=$BW_BUILD/tests/foreign_tls.so
call "" "$MODULE"
! call "$foreign" "$MODULE" 2>said || die "a TLS library that the module cannot share is no trouble to it?"
call "" "$own"
call "$foreign" "$own"
checked "in a host with another TLS library it works, where the one that shares OpenSSL cannot"

example openssl.cnf engine.cnf "$own"
sed -i 's/^init .*/&\ndefault_algorithms = ALL/' engine.cnf
for name in a-good-guest engine-of-its-host called-by-what-it-called finalised-in-mid-call; do
    OPENSSL_CONF=$DIR/engine.cnf "$BW_BUILD/tests/host_life" "$own" "$name"
done
"$BW_BUILD/tests/host_forks" "$own" ended
"$BW_BUILD/tests/host_forks" "$own" forked-in-mid-call
checked "hosts that have OpenSSL, with an engine for all algorithms, find it as good a guest"
pkcs11-tool --module "$own" --test >said 2>&1
[[ $(<said) == *"No errors"* ]]
checked "pkcs11-tool --test"
