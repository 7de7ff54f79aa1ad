#!/bin/bash
# OpenSSL 3.0 through its PKCS#11 engine: signatures, decryption, CMS, certificates, and TLS 1.3 with keys of ours at both ends.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"
example openssl.cnf engine.cnf "$MODULE"
rsa='pkcs11:token=bw%20acme;object=rsa;type=private'
ec='pkcs11:token=bw%20acme;object=ec;type=private'

# engine COMMAND ARGUMENT...: openssl with the engine; what it says on stderr shows only when it fails
engine()
{
    OPENSSL_CONF=$DIR/engine.cnf openssl "$@" 2>"$DIR/said" || { cat "$DIR/said" >&2; return 1; }
}

head -c 5000 /dev/urandom >plain
engine dgst -engine pkcs11 -keyform engine -sign "$rsa" -sha256 -out signature plain
openssl dgst -verify rsa.pem -sha256 -signature signature plain >/dev/null
engine dgst -engine pkcs11 -keyform engine -sign "$rsa" -sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1 -out signature plain
openssl dgst -verify rsa.pem -sha384 -sigopt rsa_padding_mode:pss -signature signature plain >/dev/null
engine dgst -engine pkcs11 -keyform engine -sign "$ec" -sha256 -out signature plain
openssl dgst -verify ec.pem -sha256 -signature signature plain >/dev/null
checked "signatures by RSA, RSA-PSS and ECDSA"

head -c 100 plain >secret
openssl pkeyutl -encrypt -pubin -inkey rsa.pem -in secret -out cipher
engine pkeyutl -decrypt -engine pkcs11 -keyform engine -inkey "$rsa" -in cipher | cmp - secret
openssl pkeyutl -encrypt -pubin -inkey rsa.pem -in secret -out cipher -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256
engine pkeyutl -decrypt -engine pkcs11 -keyform engine -inkey "$rsa" -in cipher -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 | cmp - secret
checked "decryption by RSA-PKCS and RSA-OAEP"

# a CA of the RSA key, and a certificate of the EC key under it
engine req -new -x509 -engine pkcs11 -keyform engine -key "$rsa" -sha256 -subj /CN=root -addext basicConstraints=critical,CA:true -out root.pem
engine req -new -engine pkcs11 -keyform engine -key "$ec" -subj /CN=localhost -addext subjectAltName=DNS:localhost -out ec.csr
engine x509 -req -engine pkcs11 -CAkeyform engine -in ec.csr -CA root.pem -CAkey "$rsa" -copy_extensions copy -set_serial 2 -out ec.crt
openssl verify -CAfile root.pem ec.crt >/dev/null
checked "a CA with its key in the region, and a certificate from it"

engine cms -sign -nodetach -engine pkcs11 -keyform engine -inkey "$rsa" -signer root.pem -binary -in plain -outform DER -out cms
openssl cms -verify -binary -inform DER -in cms -CAfile root.pem -purpose any -out opened 2>/dev/null
cmp plain opened
openssl cms -encrypt -binary -aes-256-cbc -in plain -outform DER -out cms root.pem
engine cms -decrypt -engine pkcs11 -keyform engine -inkey "$rsa" -recip root.pem -inform DER -in cms -out opened
cmp plain opened
checked "CMS signed, and CMS decrypted"

port=$(free_port)
OPENSSL_CONF=$DIR/engine.cnf openssl s_server -engine pkcs11 -keyform engine -key "$ec" -cert ec.crt -CAfile root.pem -Verify 1 -tls1_3 \
    -accept "127.0.0.1:$port" -www >server.log 2>&1 &
server=$!
until grep -q '^ACCEPT' server.log; do kill -0 $server; done
for _ in {1..20}; do
    engine s_client -engine pkcs11 -keyform engine -key "$rsa" -cert root.pem -CAfile root.pem -verify_return_error -verify_hostname localhost \
        -connect "127.0.0.1:$port" <<<'GET / HTTP/1.0' >client.log
    grep -q 'New, TLSv1.3' client.log
    grep -q 'Verify return code: 0 (ok)' client.log
done
kill $server
wait $server || true
checked "20 TLS 1.3 handshakes, the server's EC key and the client's RSA key in the region"
