#!/bin/bash
# OpenSSH: public keys by ssh-keygen -D, an agent that signs, and logins to a local sshd, with RSA and ECDSA, without and with
# the agent.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
cd "$DIR"
chmod 755 "$DIR"
user=$(id -un)
port=$(free_port)

ssh-keygen -D "$MODULE" >authorized_keys 2>said
[[ $(grep -c '^ssh-rsa ' authorized_keys) == 1 && $(grep -c '^ecdsa-sha2-nistp256 ' authorized_keys) == 1 ]]
cmp <(grep '^ssh-rsa ' authorized_keys | ssh-keygen -e -m PKCS8 -f /dev/stdin) rsa.pem
checked "ssh-keygen -D prints the RSA and the ECDSA key"

ssh-keygen -q -t ed25519 -N '' -f host_key
cat >sshd_config <<END
ListenAddress 127.0.0.1
Port $port
HostKey $DIR/host_key
PidFile $DIR/sshd.pid
AuthorizedKeysFile $DIR/authorized_keys
AuthenticationMethods publickey
PermitRootLogin yes
StrictModes no
UsePAM no
LogLevel ERROR
END
[[ $EUID != 0 ]] || mkdir -p /run/sshd
/usr/sbin/sshd -f "$DIR/sshd_config" -E sshd.log
stop_sshd()
{
    kill "$(<"$DIR/sshd.pid")"
}
AT_END+=(stop_sshd)
printf '[127.0.0.1]:%s %s\n' "$port" "$(<host_key.pub)" >known_hosts

# ssh.conf: the example, for this server
{
    example ssh_config /dev/stdout "$MODULE" | sed "s/^Host .*/Host region/"
    printf '    HostName 127.0.0.1\n    Port %s\n    User %s\n    UserKnownHostsFile %s/known_hosts\n    BatchMode yes\n' "$port" "$user" "$DIR"
} >ssh.conf

# login OPTION...: prints what the server's shell says
login()
{
    env -u SSH_AUTH_SOCK ssh -F ssh.conf "$@" region id -un 2>said || { cat said sshd.log >&2; return 1; }
}

[[ $(login) == "$user" ]]
checked "a login with the module named in ssh_config"
[[ $(login -o PubkeyAcceptedAlgorithms=ecdsa-sha2-nistp256) == "$user" ]]
[[ $(login -o PubkeyAcceptedAlgorithms=rsa-sha2-512) == "$user" ]]
checked "with the ECDSA key alone, and with the RSA key alone"

eval "$(ssh-agent -P "$MODULE")" >/dev/null
stop_agent()
{
    kill "$SSH_AGENT_PID"
}
AT_END+=(stop_agent)
SSH_ASKPASS=/bin/true SSH_ASKPASS_REQUIRE=force ssh-add -s "$MODULE" 2>said
[[ $(ssh-add -l | wc -l) == 2 ]]
ssh-add -T <(grep '^ssh-rsa ' authorized_keys) 2>said
checked "ssh-agent holds both, and signs with them"
by_agent=(ssh -F ssh.conf -o PKCS11Provider=none -o IdentityAgent="$SSH_AUTH_SOCK" region true)
"${by_agent[@]}"
region_stop "$DIR/eu-central"
region_start "$DIR/eu-central"
"${by_agent[@]}"
checked "logins with the agent, before and after a restart of the daemon"
[[ $(records --operation Sign --outcome granted) -ge 6 ]]
ssh-add -e "$MODULE" 2>said
expect 1 "no identities" ssh-add -l
checked "the agent lets go of it"
