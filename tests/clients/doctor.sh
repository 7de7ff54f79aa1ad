#!/bin/bash
# bailiwick doctor: silent where nothing is wrong, and otherwise the first thing that is.
source "$(dirname "$0")/../lib/region.sh"
live_region
start_region us-east

conf=$DIR/broken.conf
good=$BAILIWICK_PKCS11_CONFIG
doctor=(bailiwick doctor --module "$MODULE" --provider-config)

# broken SED TEXT: the good configuration, changed so, makes doctor say that.
broken()
{
    sed "$1" "$good" >"$conf"
    expect 4 "$2" "${doctor[@]}" "$conf"
}

cli_as custodian key create --spec AES_256 >/dev/null
expect 0 '"what":"1 that this caller may use"' "${doctor[@]}" "$good"
expect 0 'slot ' "${doctor[@]}" "$good"

broken 's/^region .*/region = EU/'                               'region = EU'
broken 's/^tenant .*/tenants = acme/'                            'tenants'
broken "s,^ca .*,ca = $CA/none.pem,"                             'none.pem'
broken "s,^ca .*,ca = $CA/ca.key,"                               'holds no certificate'
broken "s,^ca .*,ca = $CA/eu-central.node.n1.pem,"               'is not a CA'
broken 's/^tenant .*/tenant = umbra/'                            'tenant = umbra, but the certificate says acme'
broken 's/^trust_domain .*/trust_domain = other.example/'        'trust_domain = other.example, but the certificate says test.example'
broken "s,^key .*,key = $CA/eu-central.acme.auditor.t1.key,"     "is another key than the certificate's"
broken "s/^endpoints .*/endpoints = 127.0.0.1:$(free_port)/"     'Connection refused'
broken 's/^endpoints .*/endpoints = nowhere.invalid:7443/'       'cannot be resolved'
broken "s/^endpoints .*/endpoints = 127.0.0.1:$(<"$DIR/us-east/port")/" 'is region us-east, not the home region eu-central'
broken "s,^certificate .*,certificate = $CA/eu-central.node.n1.pem,; s,^key .*,key = $CA/eu-central.node.n1.key," 'unsuitable certificate purpose'

chmod 666 "$conf"
expect 4 "$conf" "${doctor[@]}" "$conf"
rm "$conf"
expect 4 'not there' "${doctor[@]}" "$conf"
expect 4 'is no PKCS#11 module' bailiwick doctor --module /lib/x86_64-linux-gnu/libm.so.6 --provider-config "$good"

# an encrypted key, without a terminal to ask: a note, not a fault
printf 'open sesame\n' >"$DIR/passphrase"
bailiwick ca caller "$CA" --region eu-central --tenant acme --role app --name locked --passphrase-file "$DIR/passphrase" >/dev/null
sed 's,acme.app.t1,acme.app.locked,' "$good" >"$conf"
expect 0 'give the passphrase as the PIN of C_Login' "${doctor[@]}" "$conf" </dev/null

# a certificate that ran out: made a day ago for an hour
openssl req -new -key "$CA/eu-central.acme.app.t1.key" -subj /CN=t1 -out "$DIR/csr.pem"
printf 'subjectAltName=URI:spiffe://test.example/region/eu-central/tenant/acme/app/t1\n' >"$DIR/ext"
openssl x509 -req -in "$DIR/csr.pem" -CA "$CA/ca.pem" -CAkey "$CA/ca.key" -days -1 -extfile "$DIR/ext" -out "$DIR/old.pem" 2>/dev/null
broken "s,^certificate .*,certificate = $DIR/old.pem," 'expired'
