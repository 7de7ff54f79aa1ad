#!/bin/bash
# PostgreSQL: users log in over TLS with a key in the region, by libpq's engine syntax of sslkey. The server's own key PostgreSQL
# cannot have there: ssl_key_file is read as a file, whatever OpenSSL is configured to do. stunnel in front of it can.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"
chmod 711 "$DIR"
example openssl.cnf engine.cnf "$MODULE"
key='pkcs11:token=bw%20acme;object=rsa;type=private'
bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1)
port=$(free_port)
as_server=()
[[ $EUID != 0 ]] || as_server=(setpriv --reuid=postgres --regid=postgres --clear-groups) # it refuses to run as root

OPENSSL_CONF=$DIR/engine.cnf openssl req -new -x509 -engine pkcs11 -keyform engine -key "$key" -subj /CN=app -out app.crt 2>said
mkdir server
openssl req -new -x509 -newkey rsa:2048 -nodes -keyout server/server.key -subj /CN=localhost -addext subjectAltName=DNS:localhost -out server.crt 2>said
cp server.crt app.crt server
chmod 600 server/server.key
[[ $EUID != 0 ]] || chown -R postgres: server
cd server
"${as_server[@]}" "$bin/initdb" -D data -U owner -A trust >"$DIR/said" 2>&1
"${as_server[@]}" tee -a data/postgresql.conf >/dev/null <<END
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$DIR/server'
fsync = off
ssl = on
ssl_cert_file = '$DIR/server/server.crt'
ssl_key_file = '$DIR/server/server.key'
ssl_ca_file = '$DIR/server/app.crt'
END
printf 'local all owner trust\nhostssl all app 127.0.0.1/32 cert\n' | "${as_server[@]}" tee data/pg_hba.conf >/dev/null
stop_server()
{
    (cd "$DIR/server" && "${as_server[@]}" "$bin/pg_ctl" -D data -m immediate stop >/dev/null)
}
AT_END+=(stop_server)
"${as_server[@]}" "$bin/pg_ctl" -D data -w -l log start >"$DIR/said"
cd ..
"$bin/psql" -h "$DIR/server" -p "$port" -U owner -q -c 'CREATE ROLE app LOGIN' postgres

connection="host=localhost hostaddr=127.0.0.1 port=$port user=app dbname=postgres sslmode=verify-full sslrootcert=server.crt sslcert=app.crt"
question="SELECT current_user || ' ' || version || ' ' || client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
for _ in {1..5}; do
    [[ $(OPENSSL_CONF=$DIR/engine.cnf "$bin/psql" -At "$connection sslkey='pkcs11:$key'" -c "$question") == "app TLSv1.3 /CN=app" ]]
done
[[ $(records --operation Sign --outcome granted) == 6 ]] # the certificate's, and a login's five times
checked "PostgreSQL $("$bin/psql" --version | sed 's/[^0-9]*\([0-9.]*\).*/\1/'): five logins with the key in the region"
openssl genrsa -out other.key 2048 2>said
expect 2 "" "$bin/psql" -At "$connection sslkey=other.key" -c "$question"
checked "another key is refused"

# ---- the server's key ----

# PostgreSQL itself: the name of a key, with an openssl.cnf for it, does not start it
restart_with()
{
    "${as_server[@]}" sed -i "s|^ssl_key_file .*|ssl_key_file = '$1'|" data/postgresql.conf
    "${as_server[@]}" env OPENSSL_CONF="$DIR/engine.cnf" BAILIWICK_PKCS11_CONFIG="$BAILIWICK_PKCS11_CONFIG" "$bin/pg_ctl" -D data -w -l log restart >"$DIR/said" 2>&1
}
cd server
! restart_with "$key" || die "PostgreSQL takes a key's URL; then say so"
grep -q 'could not load private key file\|could not access private key file' log
checked "PostgreSQL itself reads its own key from a file only: $(sed -n 's/.*\(could not [a-z]* private key file.*\)/\1/p' log | head -n 1)"
restart_with "$DIR/server/server.key"
cd ..

tls_port=$(free_port)
OPENSSL_CONF=$DIR/engine.cnf openssl req -new -x509 -engine pkcs11 -keyform engine -key "$key" -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -out tls.crt 2>said
example stunnel-postgresql.conf stunnel.conf "$MODULE"
sed -i "s,^accept .*,accept  = 127.0.0.1:$tls_port,; s,^connect .*,connect = 127.0.0.1:$port,; s,^cert .*,cert    = $DIR/tls.crt,; s,^key .*,key     = $key," stunnel.conf
printf 'host all app 127.0.0.1/32 trust\n' | "${as_server[@]}" tee -a server/data/pg_hba.conf >/dev/null # stunnel comes without TLS
(cd server && "${as_server[@]}" "$bin/pg_ctl" -D data reload >"$DIR/said")
stunnel stunnel.conf >stunnel.log 2>&1 &
stunnel=$!
stop_stunnel()
{
    kill "$stunnel"
}
AT_END+=(stop_stunnel)
grep -qm1 'Configuration successful' < <(tail -n +1 -f --pid="$stunnel" stunnel.log) || die "stunnel: $(<stunnel.log)"
before=$(records --operation Sign --outcome granted)
for _ in {1..5}; do
    [[ $("$bin/psql" -At "host=localhost hostaddr=127.0.0.1 port=$tls_port user=app dbname=postgres sslmode=verify-full sslrootcert=tls.crt" -c 'SELECT current_user') == app ]]
done
[[ $(($(records --operation Sign --outcome granted) - before)) == 5 ]]
checked "behind stunnel its TLS key is in the region: five connections with verify-full, five signatures"
