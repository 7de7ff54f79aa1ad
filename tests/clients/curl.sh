#!/bin/bash
# curl with its client key in the region, against a server that wants a certificate.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"
example openssl.cnf engine.cnf "$MODULE"
key='pkcs11:token=bw%20acme;object=ec;type=private'

OPENSSL_CONF=$DIR/engine.cnf openssl req -new -x509 -engine pkcs11 -keyform engine -key "$key" -subj /CN=client -out client.crt 2>said
openssl req -new -x509 -newkey rsa:2048 -nodes -keyout server.key -subj /CN=localhost -addext subjectAltName=DNS:localhost -out server.crt 2>said
port=$(free_port)
openssl s_server -key server.key -cert server.crt -CAfile client.crt -Verify 1 -verify_return_error -tls1_3 -accept "127.0.0.1:$port" -www >server.log 2>&1 &
server=$!
stop_server()
{
    kill "$server"
}
AT_END+=(stop_server)
until grep -q '^ACCEPT' server.log; do kill -0 $server; done

page=(curl --silent --show-error --cacert server.crt "https://localhost:$port/" --resolve "localhost:$port:127.0.0.1" --max-time 10)
for _ in {1..5}; do
    OPENSSL_CONF=$DIR/engine.cnf "${page[@]}" --engine pkcs11 --key-type ENG --key "$key" --cert client.crt >got
    grep -q 'Client certificate' got
done
[[ $(records --operation Sign --outcome granted) == 6 ]] # the certificate's, and a handshake's five times
checked "curl $(curl --version | sed -n '1s/^curl \([^ ]*\).*/\1/p') gets a page five times with the key in the region"
expect 56 "alert" "${page[@]}"
checked "without it the server refuses"
