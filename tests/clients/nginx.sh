#!/bin/bash
# nginx, daemonised, two workers, its TLS key in the region: handshakes before and after a reload, none lost, and a daemon's
# restart between two of them.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"
example openssl.cnf engine.cnf "$MODULE"
export OPENSSL_CONF=$DIR/engine.cnf
openssl req -new -x509 -engine pkcs11 -keyform engine -key 'pkcs11:object=rsa;type=private' -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -out www.pem 2>said
port=$(free_port)

# the example's server, in this folder and on a port of ours
{
    printf 'error_log %s/error.log info;\npid %s/nginx.pid;\nworker_processes 2;\nuser %s;\n' "$DIR" "$DIR" "$(id -un)"
    printf 'env BAILIWICK_PKCS11_CONFIG;\nevents {}\n'
    sed "s,listen  .*,listen 127.0.0.1:$port ssl; ssl_session_cache off; ssl_session_tickets off; access_log off; return 200 hello;,
         s,/etc/ssl/certs/www.pem,$DIR/www.pem,; s,object=tls,object=rsa," "$BW_SOURCE/tools/packaging/examples/nginx.conf"
} >nginx.conf

stop()
{
    local pid

    [[ ! -s $DIR/nginx.pid ]] || { pid=$(<"$DIR/nginx.pid"); kill -QUIT "$pid"; tail -f --pid="$pid" /dev/null; }
}
AT_END+=(stop)

# handshakes COUNT: full ones, verified; prints how many were answered
handshakes()
{
    env -u OPENSSL_CONF /usr/bin/python3 - "$1" "$port" <<'END'
import socket, ssl, sys
context, answered = ssl.create_default_context(cafile="www.pem"), 0
for _ in range(int(sys.argv[1])):
    with socket.create_connection(("localhost", int(sys.argv[2])), 10) as tcp, context.wrap_socket(tcp, server_hostname="localhost") as tls:
        tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answered += tls.version() == "TLSv1.3" and b"hello" in tls.makefile("rb").read()
print(answered)
END
}

nginx -p "$DIR" -c "$DIR/nginx.conf" 2>said
[[ $(handshakes 1) == 1 ]]
checked "nginx $(nginx -v 2>&1 | sed 's,.*/,,') serves"
before=$(records --operation Sign)
[[ $(handshakes 500) == 500 ]]
[[ $(($(records --operation Sign) - before)) == 500 ]]
checked "500 handshakes, each a signature on record"

workers=$(pgrep -P "$(<nginx.pid)" | sort)
[[ $(wc -w <<<"$workers") == 2 ]]
nginx -p "$DIR" -c "$DIR/nginx.conf" -s reload 2>said
[[ $(handshakes 250) == 250 ]]
region_stop "$DIR/eu-central"
region_start "$DIR/eu-central"
[[ $(handshakes 250) == 250 ]]
for pid in $workers; do tail -f --pid="$pid" /dev/null; done
checked "500 more through a reload and a restart of the daemon; the old workers are gone"
[[ $(find "/proc/$(pgrep -P "$(<nginx.pid)" | head -1)/task" -mindepth 1 -maxdepth 1 | wc -l) == 1 ]]
checked "the workers have one thread, as without us"
expect 1 "" grep -E '\[(alert|crit|emerg|error)\]' error.log
