#!/bin/bash
# Java 17's SunPKCS11: key store, signatures, RSA decryption, AES-CBC, -CTR and -GCM, random bytes, and a TLS 1.3 server.
# Not RSA-OAEP and not key wrapping: SunPKCS11 17 offers neither, whatever the module has.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"

# it sees a private key when there is a certificate with the same CKA_ID
example openssl.cnf engine.cnf "$MODULE"
for key in rsa ec; do
    OPENSSL_CONF=$DIR/engine.cnf openssl req -new -x509 -engine pkcs11 -keyform engine -key "pkcs11:object=$key;type=private" -sha256 \
        -subj "/CN=localhost/O=$key" -addext subjectAltName=DNS:localhost -out "$key.crt" 2>said
    cli_as custodian object put "$key.crt" --key "$key" >/dev/null
done
example java-pkcs11.cfg java.cfg "$MODULE"
java -Xshare:auto -XX:TieredStopAtLevel=1 "$BW_SOURCE/tests/clients/Java17.java" "$DIR/java.cfg"
[[ $(records --operation Sign --outcome granted) == 19 ]] # 2 certificates, 11 signatures and an HMAC by hand, 5 handshakes
checked "each signature is on record"
[[ $(records --operation GenerateKey --outcome granted) == 3 ]]
[[ $(records --operation DeriveKey --outcome granted) == 1 ]]
checked "so are the pairs of the session, and what was derived with one"
