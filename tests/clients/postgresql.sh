#!/bin/bash
# PostgreSQL: users log in over TLS with a key in the region, by libpq's engine syntax of sslkey. The server's own key it cannot
# have there: PostgreSQL's ssl_key_file is a file.
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
