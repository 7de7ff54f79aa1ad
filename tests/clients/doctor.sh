#!/bin/bash
# bailiwick doctor: everything that can be wrong, broken for real one after the other; each time it names the cause and the remedy.
source "$(dirname "$0")/../lib/region.sh"
live_region
start_region us-east
cd "$DIR"

conf=$DIR/broken.conf
good=$BAILIWICK_PKCS11_CONFIG
doctor=(bailiwick doctor --json --module "$MODULE" --provider-config)

# broken SED CAUSE REMEDY: the good configuration, changed so
broken()
{
    sed "$1" "$good" >"$conf"
    chmod 600 "$conf"
    tells 4 "$2" "$3" "${doctor[@]}" "$conf"
}
noted()
{
    sed "$1" "$good" >"$conf"
    chmod 600 "$conf"
    tells 0 "$2" "$3" "${doctor[@]}" "$conf"
}

# ---- nothing is wrong ----
tells 0 'there is no key that this caller may use' "a custodian makes one: 'bailiwick key create'" "${doctor[@]}" "$good"
cli_as custodian key create --spec AES_256 --alias one >/dev/null
tells 0 '1 that this caller may use' '"finding":"fine"' "${doctor[@]}" "$good"
tells 0 'slot ' 'token "bw acme"' "${doctor[@]}" "$good"

# ---- the configuration ----
#      change                                       cause                                            remedy
broken 's/^region .*/region = EU/'                  'region = EU'                                    'must be a region: a-z, 0-9'
broken 's/^tenant .*/tenant = A_B/'                 'tenant = A_B'                                   'must be a tenant: a-z, 0-9'
broken 's/^tenant .*/tenants = acme/'               'there is no setting "tenants"'                  'remove it'
broken '/^tenant /d'                                '"tenant" is missing'                            'add it'
broken '/^\[/d'                                     'stands in no section'                           'begin one with [name] above it'
broken 's/^tenant .*/tenant acme/'                  'this line cannot be read'                       'it must be [name] or name = value'
broken 'd'                                          'there is no slot'                               'begin one with [name]'
broken 's/^ca /deadline_ms = 5\n&/'                 'deadline_ms = 5'                                'must be milliseconds, 100 to 600000'
broken 's/^ca /trace = maybe\n&/'                   'trace = maybe'                                  'must be yes or no'
broken 's/^ca /login_required = maybe\n&/'          'login_required = maybe'                         'must be'
broken 's/^endpoints .*/endpoints = a:1 b:1/'       'endpoints = a:1 b:1'                            'several with commas between'
broken 's/^endpoints .*/endpoints = kms.example/'   'endpoints = kms.example'                        'host:port'
broken 's/^ca .*/ca = ca.pem/'                      'ca = ca.pem'                                    'must be an absolute path'
broken "s,^ca .*,ca = $CA/none.pem,"                'none.pem'                                       'No such file'
broken "s,^ca .*,ca = $CA,"                         "ca = $CA"                                       'is not a file'
sed '' "$good" >"$conf"
chmod 666 "$conf"
tells 4 'others can write this file' 'run chmod go-w on it' "${doctor[@]}" "$conf"
if ((EUID == 0)); then
    chmod 600 "$conf"
    chown nobody "$conf"
    tells 4 'this file belongs to another user' 'only root and the one who runs the application may own it' "${doctor[@]}" "$conf"
fi
rm "$conf"
tells 4 'names a file that is not there' "give it the absolute path of the module's configuration file" "${doctor[@]}" "$conf"

# ---- the files ----
old=$DIR/old.pem
openssl req -new -key "$CA/eu-central.acme.app.t1.key" -subj /CN=t1 -out csr.pem
# issue DAYS SAN: $old, a certificate for the application's key
issue()
{
    printf 'subjectAltName=%s\n' "$2" >ext
    openssl x509 -req -in csr.pem -CA "$CA/ca.pem" -CAkey "$CA/ca.key" -days "$1" -extfile ext -out "$old" 2>/dev/null
}
me=spiffe://test.example/region/eu-central/tenant/acme/app/t1
bailiwick ca init ca2 --trust-domain test.example >/dev/null 2>&1
bailiwick ca caller ca2 --region eu-central --tenant acme --role app --name t1 >/dev/null
bailiwick ca caller "$CA" --region us-east --tenant acme --role app --name t1 >/dev/null
printf 'open sesame\n' >passphrase
bailiwick ca caller "$CA" --region eu-central --tenant acme --role app --name locked --passphrase-file passphrase >/dev/null
install -m 604 "$CA/eu-central.acme.app.t1.key" open.key
printf 'not a key\n' >garbage.key
chmod 600 garbage.key

broken "s,^ca .*,ca = $CA/ca.key,"                              'holds no certificate'            '-----BEGIN CERTIFICATE-----'
broken "s,^ca .*,ca = $CA/eu-central.node.n1.pem,"              'is not a CA'                     "name the certificate of the region's CA in 'ca'"
broken "s,^certificate .*,certificate = $CA/ca.key,"            'holds no certificate'            '-----BEGIN CERTIFICATE-----'
issue -1 "URI:$me"
broken "s,^certificate .*,certificate = $old,"                  'expired'                         "get a new one from the region's CA"
issue 5 "URI:$me"
noted  "s,^certificate .*,certificate = $old,"                  'expires in'                      "get a new one from the region's CA"
issue 90 "DNS:app.example"
broken "s,^certificate .*,certificate = $old,"                  'not one SPIFFE id of ours'       'it needs one URI, spiffe://'
issue 90 "URI:$me,URI:${me}x"
broken "s,^certificate .*,certificate = $old,"                  'not one SPIFFE id of ours'       'it needs one URI, spiffe://'
broken "s,^certificate .*,certificate = $CA/eu-central.node.n1.pem,; s,^key .*,key = $CA/eu-central.node.n1.key," \
                                                                'unsuitable certificate purpose'  "get a client certificate from the region's CA"
broken 's/^tenant .*/tenant = umbra/'                           'tenant = umbra, but the certificate says acme' 'correct the setting, or use the certificate that belongs to it'
broken 's/^trust_domain .*/trust_domain = other.example/'       'trust_domain = other.example, but the certificate says test.example' 'correct the setting'
noted  's/acme\.app\.t1/acme.auditor.t1/'                       'the role auditor may use no key' 'give applications certificates with the role app'
broken "s,^key .*,key = $CA/eu-central.acme.auditor.t1.key,"    "is another key than the certificate's" "'certificate' and 'key' must be of one pair"
broken "s,^key .*,key = $DIR/open.key,"                         'others can read or write this private key' 'run chmod g-w,o-rwx on it'
broken "s,^key .*,key = $DIR/garbage.key,"                      'holds no private key'            'it must hold a private key in PEM'
noted  's,acme.app.t1,acme.app.locked,'                         'is encrypted'                    'give the passphrase as the PIN of C_Login'
noted  's,eu-central.acme.app.t1,us-east.acme.app.t1,'          'the certificate is for callers in us-east' 'keys answer it only if their policies allow callers of that region'

# ---- the network ----
# serve NAME COMMAND...: something else that listens on $said
served=()
serve()
{
    said=$(free_port)
    "${@//PORT/$said}" >serve.log 2>&1 &
    served+=($!)
    until (: <>"/dev/tcp/127.0.0.1/$said") 2>/dev/null; do kill -0 $!; done
}
stop_served()
{
    kill "${served[@]}"
}
AT_END+=(stop_served)
broken "s/^endpoints .*/endpoints = 127.0.0.1:$(free_port)/"     'Connection refused'             'check that bailiwickd runs there and that no firewall is between'
broken 's/^endpoints .*/endpoints = nowhere.invalid:7443/'       'the name cannot be resolved'    "correct 'endpoints', or the name server"
broken "s/^endpoints .*/endpoints = 127.0.0.1:$(<"$DIR/us-east/port")/" 'is region us-east, not the home region eu-central' 'name endpoints of the home region only'
node=(-cert "$CA/eu-central.node.n1.pem" -key "$CA/eu-central.node.n1.key" -quiet)
serve /usr/bin/python3 -m http.server --bind 127.0.0.1 PORT
broken "s/^endpoints .*/endpoints = 127.0.0.1:$said/"            'the TLS handshake failed'       'it must speak TLS 1.3 itself'
serve openssl s_server -accept 127.0.0.1:PORT "${node[@]}" -tls1_2
broken "s/^endpoints .*/endpoints = 127.0.0.1:$said/"            'the TLS handshake failed'       'it must speak TLS 1.3 itself'
serve openssl s_server -accept 127.0.0.1:PORT "${node[@]}"
broken "s/^endpoints .*/endpoints = 127.0.0.1:$said/"            'the server does not speak HTTP/2' "'bailiwick doctor' goes step by step"
serve openssl s_server -accept 127.0.0.1:PORT -cert "$CA/eu-central.acme.app.t1.pem" -key "$CA/eu-central.acme.app.t1.key" -quiet
broken "s/^endpoints .*/endpoints = 127.0.0.1:$said/"            'names itself as no node of ours' "is it a bailiwickd? name one in 'endpoints'"
serve /usr/bin/python3 -c 'import socket, time; s = socket.create_server(("127.0.0.1", PORT)); time.sleep(999)'
broken "s/^endpoints .*/endpoints = 127.0.0.1:$said/"            'the TLS handshake failed'       'it must speak TLS 1.3 itself'
# a full queue drops what comes, as a firewall does that says nothing
mkfifo blackhole
/usr/bin/python3 - >blackhole <<'END' &
import socket, time
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(0)
fillers = [socket.socket() for _ in range(4)]
for filler in fillers:
    filler.setblocking(False)
    filler.connect_ex(listener.getsockname())
print(listener.getsockname()[1], flush=True)
time.sleep(999)
END
served+=($!)
read -r said <blackhole
broken "s/^endpoints .*/endpoints = 127.0.0.1:$said/"            'Connection timed out'           'check that bailiwickd runs there and that no firewall is between'
broken "s,^ca .*,ca = $DIR/ca2/ca.pem,; s,$CA/eu-central.acme,$DIR/ca2/eu-central.acme," 'self-signed certificate in certificate chain' "'ca' and 'trust_domain' must be those of the region"
WRONG_CLOCK=3600
export WRONG_CLOCK
tells 0 "the region's clock is 3" "synchronise this machine's clock" env LD_PRELOAD="$BW_BUILD/tests/wrong_clock.so" "${doctor[@]}" "$good"

# ---- what the region thinks of us ----
bailiwick ca caller "$CA" --region eu-central --tenant umbra --role app --name t1 >/dev/null
broken 's/acme/umbra/'                                           'NO_SUCH_TENANT'                 "an operator makes tenants: 'bailiwick tenant create'"
printf '{"rules": [{"name": "others", "regions": ["us-east"]}]}' | cli_as custodian key policy set one - >/dev/null
tells 0 'there is no key that this caller may use' 'or its policy keeps it from this caller' "${doctor[@]}" "$good"
cli_as custodian tenant seal acme --yes >/dev/null
tells 4 'acme is sealed' "a custodian can activate the tenant: 'bailiwick tenant activate'" "${doctor[@]}" "$good"
cli_as operator tenant activate acme >/dev/null
bailiwick ca caller "$CA" --region eu-central --tenant acme --role app --name gone >/dev/null
cli_as custodian tenant revoke-principal "${me%t1}gone" --yes >/dev/null
broken 's,acme.app.t1,acme.app.gone,'                            'REVOKED'                        'use another certificate'
bailiwick ca caller "$CA" --region eu-central --tenant acme --role app --name listed >/dev/null
bailiwick ca revoke "$CA" "$CA/eu-central.acme.app.listed.pem" >/dev/null
kill -HUP "$(<eu-central/pid)"
broken 's,acme.app.t1,acme.app.listed,'                          'REVOKED'                        'use another certificate'

# a tenant that is active, and whose token the node could not open when it started
region_stop "$DIR/eu-central"
mv "$DIR/eu-central/pins/tenant-acme.pin" pin
region_start "$DIR/eu-central"
port=$(<"$DIR/eu-central/port")
for conf in "$BAILIWICK_PKCS11_CONFIG" "$DIR"/eu-central.*.conf; do
    sed -i "s/^endpoints .*/endpoints = 127.0.0.1:$port/" "$conf"
done
conf=$DIR/broken.conf
tells 4 'acme is active, but its token in the HSM is not open' "finds in the daemon's log why" "${doctor[@]}" "$good"
grep -q "a tenant's token does not open" "$DIR/eu-central/log"
mv pin "$DIR/eu-central/pins/tenant-acme.pin"
cli_as operator tenant activate acme >/dev/null
tells 0 'acme is active' '"finding":"fine"' "${doctor[@]}" "$good"

# each node is asked by itself: here two names of one
noted  "s/^endpoints .*/endpoints = 127.0.0.1:$port, localhost:$port/" 'it takes us for'             '"finding":"fine"'
(($(grep -c 'it takes us for' said) == 2)) || die "not each endpoint was asked: $(<said)"

# ---- the module ----
tells 4 'is no PKCS#11 module' 'name bailiwick-pkcs11.so with --module' bailiwick doctor --json --module /lib/x86_64-linux-gnu/libm.so.6 --provider-config "$good"
tells 4 'cannot open shared object file' 'install it, or name it with --module' bailiwick doctor --json --module "$DIR/none.so" --provider-config "$good"
SOFTHSM2_CONF=$DIR/eu-central/softhsm2.conf tells 4 'C_Initialize fails with 0x7' "is it bailiwick's, of this version?" bailiwick doctor --json --module /usr/lib/softhsm/libsofthsm2.so --provider-config "$good"

# ---- one reason: every one that an application can meet, by name and by number ----
while read -r number name; do
    tells 0 "$name ($number, CKR 0x" '"to_do":"' bailiwick doctor --json --reason "$name"
    tells 0 "$name ($number, CKR 0x" '"to_do":"' bailiwick doctor --json --reason "$number"
done < <(sed -n 's/^BW_CODE( *\([0-9]*\), \([A-Z_]*\),.*/\1 \2/p' "$BW_SOURCE/include/bailiwick/results.def" | awk '$1 > 0 && $1 < 120')
((TOLD > 150)) || die "results.def was not read"
tells 2 'there is no such reason' 'NO_SUCH' bailiwick doctor --reason NO_SUCH
tells 2 'there is no such reason' '99' bailiwick doctor --reason 99

# p11-kit's files: one user's, as no other is ours to break
mkdir -p home/.config/pkcs11/modules
printf 'module: %s\n' "$DIR/gone/bailiwick-pkcs11.so" >home/.config/pkcs11/modules/bailiwick.module
HOME=$DIR/home tells 4 "names $DIR/gone/bailiwick-pkcs11.so: No such file" "correct 'module:' in that file, or install the module there" "${doctor[@]}" "$good"
printf 'module: %s\n' "$MODULE" >home/.config/pkcs11/modules/bailiwick.module
HOME=$DIR/home tells 0 "names $MODULE" '"finding":"fine"' "${doctor[@]}" "$good"

# for people: the same, under a mark
tells 0 'ok     endpoints' 'is region eu-central' bailiwick doctor --table --module "$MODULE" --provider-config "$good"
checked "$TOLD findings, each with its remedy"
