#!/bin/bash
# NSS: a database with our module (modutil), its keys and certificates (certutil), CMS signed and decrypted with them (cmsutil).
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"
mkdir nss
printf 'database password\n' >password
certutil -N -d sql:nss -f password
example nss.txt snippet "$MODULE"
{ printf "\n"; cat snippet; } >>nss/pkcs11.txt
modutil -dbdir sql:nss -list bailiwick >said
grep -q 'Token Name: bw acme' said
checked "modutil shows the module of pkcs11.txt and its token"

mkdir by-hand
certutil -N -d sql:by-hand -f password
modutil -dbdir sql:by-hand -add ours -libfile "$MODULE" -force >said
grep -q 'Module "ours" added to database' said
certutil -K -d sql:by-hand -f password -h 'bw acme' >keys
[[ $(grep -c '^<' keys) == 2 ]]
modutil -dbdir sql:by-hand -delete ours -force >said
grep -q 'Module "ours" deleted' said
checked "modutil adds the module by hand, its keys are there, and deletes it again"

example openssl.cnf engine.cnf "$MODULE"
OPENSSL_CONF=$DIR/engine.cnf openssl req -new -x509 -engine pkcs11 -keyform engine -key 'pkcs11:object=rsa;type=private' -sha256 \
    -subj /CN=acme/emailAddress=acme@test.example -addext keyUsage=digitalSignature,keyEncipherment,keyCertSign \
    -addext subjectAltName=email:acme@test.example -out rsa.crt 2>said
cli_as custodian object put rsa.crt --key rsa >/dev/null

certutil -K -d sql:nss -f password -h 'bw acme' >keys
[[ $(grep -c '^<' keys) == 2 ]]
grep -q '^< *[0-9]*> rsa ' keys
grep -q '^< *[0-9]*> ec ' keys
certutil -L -d sql:nss -f password -h 'bw acme' >certificates
grep -q '^bw acme:rsa .*u,u,u' certificates
checked "certutil lists the private keys, and the certificate as a user's"

# an application that may write nothing to the token keeps trust in its own database
certutil -M -d sql:nss -f password -n 'bw acme:rsa' -t CT,C,C
certutil -L -d sql:nss -f password -h all >certificates
grep -q '^bw acme:rsa .*CTu,Cu,Cu' certificates
certutil -V -d sql:nss -f password -n 'bw acme:rsa' -u L >said
grep -q 'certificate is valid' said
checked "certutil trusts the token's certificate"
head -c 3000 /dev/urandom | base64 >plain
cmsutil -S -d sql:nss -f password -N 'bw acme:rsa' -T -i plain -o signature
openssl cms -verify -binary -inform DER -in signature -content plain -CAfile rsa.crt -purpose any -out opened 2>said
cmp plain opened
checked "cmsutil signs; OpenSSL verifies"
openssl cms -encrypt -binary -aes-256-cbc -in plain -outform DER -out enveloped rsa.crt
cmsutil -D -d sql:nss -f password -i enveloped -o opened
cmp plain opened
checked "cmsutil decrypts what OpenSSL encrypted"

certutil -R -d sql:nss -f password -h 'bw acme' -k "$(sed -n 's/^< *[0-9]*> ec *\([0-9a-f]*\) .*/\1/p' keys)" -s CN=www.test.example -Z SHA256 -o csr 2>said
openssl req -inform DER -in csr -verify -noout 2>said
checked "certutil makes a request for a certificate with the EC key"

# trust NICKNAME FLAGS: what two databases show of the token, one that wrote it and one that never did.
trust()
{
    local database

    for database in nss fresh; do
        certutil -L -d "sql:$database" -f password -h 'bw acme' >certificates
        grep -q "^bw acme:$1 *$2 *$" certificates
    done
}

apps_own_keys
mkdir fresh
certutil -N -d sql:fresh -f password
{ printf "\n"; cat snippet; } >>fresh/pkcs11.txt
openssl req -new -x509 -newkey rsa:2048 -noenc -keyout ca.key -subj '/CN=a CA' -out ca.crt 2>said
certutil -A -d sql:nss -f password -h 'bw acme' -n ca -t CT,C,C -i ca.crt
trust ca CT,C,C
certutil -V -d sql:fresh -f password -n 'bw acme:ca' -u L >said
grep -q 'certificate is valid' said
checked "certutil stores a CA and what it is trusted for on the token; another database finds both there"

certutil -M -d sql:fresh -f password -n 'bw acme:ca' -t p,,
trust ca p,,
certutil -M -d sql:fresh -f password -n 'bw acme:ca' -t C,,
trust ca C,,
cli_as auditor object list --json >listed
[[ $(grep -c TRUST listed) == 1 ]]
checked "certutil distrusts it and trusts it again; the token has one trust object for it"

bailiwick ca caller "$CA" --region eu-central --tenant acme --role app --name t2 >/dev/null
provider_conf other.conf eu-central "$PORT" "$CA" eu-central.acme.app.t2 acme
BAILIWICK_PKCS11_CONFIG=$DIR/other.conf certutil -L -d sql:fresh -f password -h 'bw acme' >certificates
grep -q '^bw acme:ca *,, *$' certificates
checked "another application of the tenant finds the CA, and is not told to trust it"

provider_conf custodian.conf eu-central "$PORT" "$CA" eu-central.acme.custodian.t1 acme
BAILIWICK_PKCS11_CONFIG=$DIR/custodian.conf certutil -M -d sql:fresh -f password -n 'bw acme:ca' -t p,p,p
trust ca p,p,p
certutil -M -d sql:nss -f password -n 'bw acme:ca' -t CT,C,C
trust ca p,p,p
expect 255 'marked as not trusted' certutil -V -d sql:nss -f password -n 'bw acme:ca' -u L
BAILIWICK_PKCS11_CONFIG=$DIR/other.conf certutil -L -d sql:fresh -f password -h 'bw acme' >certificates
grep -q '^bw acme:ca *p,p,p *$' certificates
checked "a custodian's distrust goes before an application's trust, for all of the tenant's"

id=$(cli_as auditor object list --json | sed -n '/TRUST/{/"owner"/!s/.*"id":"\([0-9a-f]*\)".*/\1/p}')
cli_as custodian object delete "$id" --yes >/dev/null
region_stop "$DIR/eu-central"
region_start "$DIR/eu-central"
trust ca C,,
certutil -D -d sql:nss -f password -n 'bw acme:ca'
cli_as auditor object list --json >listed
[[ $(grep -c TRUST listed) == 0 ]]
checked "it outlives the daemon, and goes with its certificate"
