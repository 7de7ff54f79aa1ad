#!/bin/bash
# GnuTLS's p11tool: tokens, objects, signatures, keys and certificates that it makes, and the p11-kit module file.
# Not Ed25519: GnuTLS 3.7 asks for such keys by CKM_EDDSA, which makes no keys.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
token='pkcs11:token=bw%20acme'

# tool ARGUMENT...: its warnings stay quiet, unless it fails
tool()
{
    p11tool --provider "$MODULE" --batch "$@" 2>"$DIR/said" || { cat "$DIR/said" >&2; return 1; }
}

tool --list-tokens >"$DIR/tokens"
grep -q 'Label: bw acme' "$DIR/tokens"
grep -q 'Flags: RNG, External PIN' "$DIR/tokens"
checked "the token is listed, and needs no PIN"
tool --list-all --only-urls "$token" >"$DIR/urls"
for object in 'id=%01;object=aes;type=secret-key' 'id=%02;object=rsa;type=private' 'id=%02;object=rsa;type=public' \
    'id=%03;object=ec;type=private' 'id=%03;object=ec;type=public'; do
    grep -qF "$object" "$DIR/urls"
done
checked "all objects are listed"
tool --login --list-all --only-urls "$token" | cmp - "$DIR/urls"
checked "with --login the same"
tool --list-mechanisms "$token" | grep -q 'CKM_RSA_PKCS_PSS keysize range (2048, 4096) hw sign verify'
checked "mechanisms are listed"
[[ $(tool --generate-random 1000 "$token" | wc -c) == 1000 ]]
checked "random bytes"

for key in rsa ec; do
    tool --test-sign "$token;object=$key;type=private"
    grep -q 'Verifying against public key in the token... ok' "$DIR/said"
    tool --export-pubkey "$token;object=$key;type=private" | openssl pkey -pubin | cmp - "$DIR/$key.pem"
done
tool --test-sign --sign-params RSA-PSS "$token;object=rsa;type=private"
checked "it signs by RSA, RSA-PSS and ECDSA, and verifies"

expect 1 'error' p11tool --provider "$MODULE" --batch --generate-privkey=ecdsa --curve secp256r1 --label mine "$token"
apps_own_keys
tool --generate-privkey=ecdsa --curve secp384r1 --label mine "$token" >/dev/null
tool --generate-privkey=rsa --bits 3072 --label mine-rsa "$token" >/dev/null
tool --test-sign "$token;object=mine;type=private"
checked "it makes keys of its own, once it may, and signs with them"
tool --write --load-certificate "$CA/ca.pem" --label ca "$token"
tool --export "$token;object=ca;type=cert" | openssl x509 | cmp - <(openssl x509 -in "$CA/ca.pem")
tool --set-label root "$token;object=ca"
[[ $(tool --list-all-certs --only-urls "$token") == *object=root* ]]
checked "it writes a certificate, renames it and reads it again"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$DIR/brought-rsa.pem" 2>/dev/null
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out "$DIR/brought-ec.pem"
for key in rsa ec; do
    tool --write --load-privkey "$DIR/brought-$key.pem" --label "brought-$key" "$token" >/dev/null
    tool --test-sign "$token;object=brought-$key;type=private"
    tool --export-pubkey "$token;object=brought-$key;type=private" | openssl pkey -pubin | cmp - <(openssl pkey -in "$DIR/brought-$key.pem" -pubout)
done
checked "it writes private keys that it has, and signs with them"
for object in mine mine-rsa root brought-rsa brought-ec; do
    tool --delete "$token;object=$object" >/dev/null
done
[[ $(tool --list-all --only-urls "$token") == "$(<"$DIR/urls")" ]]
checked "it deletes them"

# without --provider: p11-kit finds the module by the file that we install. Root's own module files p11-kit does not read, so
# the system's are ours in a mount namespace; where such are forbidden this is not checked.
modules=/usr/share/p11-kit/modules
if unshare -rm true 2>/dev/null; then
    mkdir "$DIR/modules"
    sed "s,^module:.*,module: $MODULE," "$BW_BUILD/provider/bailiwick.module" >"$DIR/modules/bailiwick.module"
    # shellcheck disable=SC2016 # the inner shell expands it
    unshare -rm bash -c 'mount --bind "$0" "$1" && p11tool --batch --list-token-urls' "$DIR/modules" "$modules" >"$DIR/said"
    grep -q 'token=bw%20acme' "$DIR/said"
    checked "p11-kit finds the token by bailiwick.module"
fi
