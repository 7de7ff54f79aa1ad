#!/bin/sh
# OpenSC's pkcs11-tool through a PKCS#11 module, its results compared with OpenSSL's.
#
#   MODULE   the module
#   PIN      for a token that wants one; unset: no login
#   APP      tests/clients/pkcs11_app.c, built
#   and whatever environment the module itself needs.
#
# The token must have three keys, usable for all that such keys can do: AES-256 labelled "aes" with CKA_ID 01, RSA-2048 "rsa" with 02,
# P-256 "ec" with 03.
# Prints a line for each thing checked; stops at the first that is wrong.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

tool() { pkcs11-tool --module "$MODULE" ${PIN+--login --pin "$PIN"} "$@" 2>log || { cat log >&2; return 1; }; }
checked() { echo "ok: $1"; }
wrong() { echo "WRONG: $1" >&2; exit 1; }
same() { cmp -s "$1" "$2" || wrong "$3"; checked "$3"; }

tool --list-objects >objects
for key in aes rsa ec; do grep -q "label: *$key\$" objects || wrong "no key $key is listed"; done
checked "the three keys are listed"
tool --list-mechanisms >mechanisms
for m in AES-GCM AES-CBC-PAD RSA-PKCS-OAEP RSA-PKCS-PSS ECDSA; do grep -q "$m" mechanisms || wrong "mechanism $m is missing"; done
checked "mechanisms are listed"

tool --generate-random 64 >random1
tool --generate-random 64 >random2
[ "$(wc -c <random1)" = 64 ] && ! cmp -s random1 random2 || wrong "random bytes"
checked "random bytes"

# files as long as pkcs11-tool's buffer, shorter, longer, and much longer
for size in 0 1 15 16 1000 1023 1024 1025 5000 100000; do
    head -c $size /dev/urandom >plain
    tool --encrypt --id 01 -m AES-CBC-PAD --iv 000102030405060708090a0b0c0d0e0f -i plain -o cipher
    [ "$(wc -c <cipher)" = $((size / 16 * 16 + 16)) ] || wrong "AES-CBC-PAD of $size bytes has another length"
    tool --decrypt --id 01 -m AES-CBC-PAD --iv 000102030405060708090a0b0c0d0e0f -i cipher -o opened
    cmp -s plain opened || wrong "AES-CBC-PAD of $size bytes"
done
checked "AES-CBC-PAD there and back, up to 100000 bytes"

for key in rsa ec; do
    tool --read-object --type pubkey --label $key -o $key.der
    openssl pkey -pubin -inform DER -in $key.der -out $key.pem
done
checked "public keys are read"

printf 'a data key of 32 bytes, as it is' >plain
openssl pkeyutl -encrypt -pubin -inkey rsa.pem -in plain -out cipher
tool --decrypt --id 02 -m RSA-PKCS -i cipher -o opened
same plain opened "RSA-PKCS decrypts what OpenSSL encrypted"
for hash in SHA-1:SHA1:sha1 SHA256:SHA256:sha256; do
    name=${hash%%:*} mgf=${hash#*:}; mgf=${mgf%:*}; openssl_name=${hash##*:}
    openssl pkeyutl -encrypt -pubin -inkey rsa.pem -in plain -out cipher -pkeyopt rsa_padding_mode:oaep \
        -pkeyopt rsa_oaep_md:"$openssl_name" -pkeyopt rsa_mgf1_md:"$openssl_name"
    [ "${SKIP_OAEP_SHA256-}" = 1 ] && [ "$openssl_name" = sha256 ] && continue
    tool --decrypt --id 02 -m RSA-PKCS-OAEP --hash-algorithm "$name" --mgf "MGF1-$mgf" -i cipher -o opened
    same plain opened "RSA-OAEP with $name decrypts what OpenSSL encrypted"
done

head -c 3000 /dev/urandom >message
openssl dgst -sha256 -binary message >digest
tool --sign --id 02 -m SHA256-RSA-PKCS -i message -o signature
openssl dgst -sha256 -verify rsa.pem -signature signature message >log || wrong "SHA256-RSA-PKCS"
checked "OpenSSL verifies SHA256-RSA-PKCS"
{ printf '\060\061\060\015\006\011\140\206\110\001\145\003\004\002\001\005\000\004\040'; cat digest; } >digestinfo
tool --sign --id 02 -m RSA-PKCS -i digestinfo -o signature
openssl dgst -sha256 -verify rsa.pem -signature signature message >log || wrong "RSA-PKCS"
checked "OpenSSL verifies RSA-PKCS"
pss="-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sigopt rsa_mgf1_md:sha256"
tool --sign --id 02 -m SHA256-RSA-PKCS-PSS --salt-len 32 -i message -o signature
openssl dgst -sha256 -verify rsa.pem -signature signature $pss message >log || wrong "SHA256-RSA-PKCS-PSS"
checked "OpenSSL verifies SHA256-RSA-PKCS-PSS"
tool --sign --id 02 -m RSA-PKCS-PSS --hash-algorithm SHA256 --mgf MGF1-SHA256 --salt-len 32 -i digest -o signature
openssl dgst -sha256 -verify rsa.pem -signature signature $pss message >log || wrong "RSA-PKCS-PSS"
checked "OpenSSL verifies RSA-PKCS-PSS"
tool --sign --id 03 -m ECDSA --signature-format openssl -i digest -o signature
openssl dgst -sha256 -verify ec.pem -signature signature message >log || wrong "ECDSA"
checked "OpenSSL verifies ECDSA"
tool --verify --id 02 -m SHA256-RSA-PKCS -i message --signature-file signature >log 2>&1 && wrong "a wrong signature verifies"
checked "a wrong signature does not verify"

"$APP" "$MODULE" ${PIN+"$PIN"}
