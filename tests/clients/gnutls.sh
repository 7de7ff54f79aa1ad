#!/bin/bash
# GnuTLS: a server and a client that both have their keys in the region.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"
token='pkcs11:token=bw%20acme'

printf 'cn = localhost\ndns_name = localhost\nsigning_key\ntls_www_server\ntls_www_client\nexpiration_days = 2\n' >template
for key in rsa ec; do
    certtool --provider "$MODULE" --generate-self-signed --template template --load-privkey "$token;object=$key;type=private" \
        --load-pubkey "$key.pem" --outfile "$key.crt" 2>said
    openssl verify -CAfile "$key.crt" "$key.crt" >/dev/null
    cli_as custodian object put "$key.crt" --key "$key" >/dev/null
done
checked "certtool signs certificates with the RSA and the EC key"

# serves KEY CLIENT-KEY: five handshakes of a server and a client with these keys
serves()
{
    local port server

    port=$(free_port)
    gnutls-serv --provider "$MODULE" --port "$port" --echo --x509keyfile "$token;object=$1;type=private" --x509certfile "$1.crt" \
        --x509cafile "$2.crt" --require-client-cert --verify-client-cert >server.log 2>&1 &
    server=$!
    until grep -q 'Echo Server listening' server.log; do kill -0 $server; done
    for _ in {1..5}; do
        gnutls-cli --provider "$MODULE" --x509cafile "$1.crt" --x509keyfile "$token;object=$2;type=private" --x509certfile "$token;object=$2;type=cert" \
            -p "$port" localhost <<<'said by the client' >client.log 2>&1
        grep -q 'The certificate is trusted' client.log
        grep -q '(TLS1.3' client.log
        grep -q '^said by the client' client.log
    done
    kill $server
    wait $server || true
}

serves rsa ec
checked "five TLS 1.3 handshakes: the server has the RSA key, the client the EC key and its certificate"
serves ec rsa
checked "five the other way round"
