#!/usr/bin/python3
"""bailiwickd as a process: starts only when everything names its region, reloads, drains, and notices a dead listener.

usage: test_daemon.py BAILIWICKD
"""
import os
import pathlib
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

BAILIWICKD = sys.argv[1]
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
failures = 0


def check(sentence, holds, told=""):
    global failures
    failures += not holds
    print(("ok      " if holds else "FAILED  ") + sentence + ("" if holds else "\n" + told), flush=True)


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Region:
    """A folder with a CA, a node's certificate, a SoftHSM and a configuration."""

    def __init__(self, root, name):
        self.name, self.dir = name, pathlib.Path(root, name)
        self.dir.mkdir()
        (self.dir / "tokens").mkdir()
        (self.dir / "softhsm2.conf").write_text(f"directories.tokendir = {self.dir}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
        # In builds with a sanitizer: SoftHSM leaks, and is unloaded before anybody counts. test_hsm looks after hsm_crypt.c.
        (self.dir / "lsan").write_text("leak:hsm_crypt.c\n")
        self.env = dict(os.environ, SOFTHSM2_CONF=self.path("softhsm2.conf"), LSAN_OPTIONS="print_suppressions=0:suppressions=" + self.path("lsan"),
                        ASAN_OPTIONS="fast_unwind_on_malloc=0")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=ca",
                "-keyout", self.path("ca.key"), "-out", self.path("ca.pem"))
        self.certify("node", f"spiffe://example.org/region/{name}/node/n1")
        self.certify("caller", f"spiffe://example.org/region/{name}/operator/ops")
        self.configure()

    def path(self, name):
        return str(self.dir / name)

    def certify(self, name, uri):
        (self.dir / "ext").write_text(f"subjectAltName=URI:{uri},DNS:localhost,IP:127.0.0.1\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name,
                "-keyout", self.path(name + ".key"), "-out", self.path(name + ".csr"))
        openssl("x509", "-req", "-in", self.path(name + ".csr"), "-CA", self.path("ca.pem"), "-CAkey", self.path("ca.key"),
                "-CAcreateserial", "-days", "1", "-extfile", self.path("ext"), "-out", self.path(name + ".pem"))
        os.chmod(self.path(name + ".key"), 0o600)

    def configure(self, **changed):
        at = dict(region=self.name, certificate="node", store="store", audit="audit", extra="") | changed
        (self.dir / "conf").write_text(
            f"[region]\nname = {at['region']}\nnode = n1\ntrust_domain = example.org\n[listen]\naddress = 127.0.0.1:0\n"
            f"[tls]\ncertificate = {self.path(at['certificate'] + '.pem')}\nkey = {self.path(at['certificate'] + '.key')}\nca = {self.path('ca.pem')}\n"
            f"[hsm]\nmodule = {SOFTHSM}\npin_dir = {self.path('pins')}\n"
            f"[store]\ndir = {self.path(at['store'])}\n[audit]\ndir = {self.path(at['audit'])}\n[limits]\nlame_duck_ms = 100\ngrace_ms = 3000\n{at['extra']}")

    def run(self, *options):
        """To its end; its exit status and all it said."""
        ended = subprocess.run([BAILIWICKD, *options, "--config", self.path("conf")], env=self.env, capture_output=True, text=True, timeout=60)
        return ended.returncode, ended.stdout + ended.stderr


class Daemon:
    """A running one, and its log line by line."""

    def __init__(self, region, descriptors=None):
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))) if descriptors else None
        self.process = subprocess.Popen([BAILIWICKD, "--config", region.path("conf")], env=region.env, stderr=subprocess.PIPE, text=True,
                                        preexec_fn=limit)
        self.region, self.port = region, int(self.wait_for("started").split("port=")[1].split()[0])

    def wait_for(self, word):
        for line in self.process.stderr:
            if word in line:
                return line
        raise AssertionError("the daemon ended before it said: " + word)

    def handshake(self, *options):
        """What openssl tells of one, with the caller's certificate."""
        return subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-cert", self.region.path("caller.pem"),
                               "-key", self.region.path("caller.key"), *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10).stdout

    def serial(self):
        """Of the certificate that a new connection is shown."""
        return subprocess.run(["openssl", "x509", "-noout", "-serial"], input=self.handshake(), capture_output=True, text=True).stdout

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


def initialises_once(home):
    code, said = home.run("--init-region")
    check("a new region is initialised", code == 0, said)
    modes = [oct((home.dir / "pins" / name).stat().st_mode & 0o777) for name in ("region.pin", "region-so.pin")]
    check("its PIN files are for nobody else", modes == ["0o600", "0o600"], str(modes))
    code, said = home.run("--init-region")
    check("a second time is refused and says why", code == 1 and "is there already" in said, said)


def names_what_differs(home, away):
    home.certify("stranger", "spiffe://example.org/region/us-east/node/n1")
    home.configure(certificate="stranger")
    for options in ((), ("--check-config",)):
        code, said = home.run(*options)
        check("a certificate of another region is named" + " by --check-config" * bool(options),
              code == 1 and "certificate differs: region eu-central is configured" in said and "names region us-east" in said, said)
    home.configure()

    away.run("--init-region")
    home.configure(store="../us-east/store")
    code, said = home.run()
    check("a store of another region is named", code == 1 and "the store differs" in said, said)
    home.configure(audit="../us-east/audit")
    code, said = home.run()
    check("an audit log of another region is named", code == 1 and "the audit log differs" in said, said)
    home.configure()

    shutil.copytree(away.dir / "tokens", home.dir / "tokens", dirs_exist_ok=True)
    code, said = home.run()
    check("another region's token in the HSM is named", code == 1 and "the HSM differs" in said and "token=bw:us-east" in said, said)
    for folder in os.listdir(away.dir / "tokens"):
        shutil.rmtree(home.dir / "tokens" / folder)

    os.chmod(home.dir / "pins" / "region.pin", 0o644)
    code, said = home.run()
    check("a PIN file that others may read is refused", code == 1 and "others may read a PIN file" in said, said)
    os.chmod(home.dir / "pins" / "region.pin", 0o600)


def speaks_only_the_newest_tls(home):
    daemon = Daemon(home)
    check("TLS 1.3 is spoken", "Cipher is TLS_" in daemon.handshake("-tls1_3"))
    check("TLS 1.2 is refused", "Cipher is (NONE)" in daemon.handshake("-tls1_2"))
    daemon.stop()


def reloads(home):
    daemon = Daemon(home)
    before = daemon.serial()
    home.certify("node", "spiffe://example.org/region/eu-central/node/n1")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("reloaded")
    after = daemon.serial()
    check("SIGHUP brings the new certificate", before != after and "serial=" in after, before + after)

    key = (home.dir / "node.key").read_text()
    (home.dir / "node.key").write_text((home.dir / "caller.key").read_text())
    daemon.process.send_signal(signal.SIGHUP)
    line = daemon.wait_for("not reloaded")
    check("a key that does not fit is not taken, and named", "is not the key of" in line, line)
    check("what was there stays in use", daemon.serial() == after)
    (home.dir / "node.key").write_text(key)
    check("SIGTERM ends it well", daemon.stop() == 0)


def stops_in_spite_of_idle_callers(home):
    """A PKCS#11 module between two calls reads nothing: not the GOAWAY, nor the ping that the C core sends after it."""
    daemon = Daemon(home)
    context = ssl._create_unverified_context()
    context.load_cert_chain(home.path("caller.pem"), home.path("caller.key"))
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", daemon.port)) as tcp, context.wrap_socket(tcp) as idle:
        idle.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        idle.recv(9)
        began = time.monotonic()
        check("an idle caller does not hold up the end", daemon.stop() == 0 and time.monotonic() - began < 5)


def tells_its_service_manager(home):
    """What systemd with Type=notify hears (sd_notify(3))."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(home.path("notify"))
        manager.settimeout(20)
        home.env = {**home.env, "NOTIFY_SOCKET": home.path("notify")}
        daemon = Daemon(home)
        check("a service manager hears that it is ready", b"READY=1" in manager.recv(4096))
        daemon.process.send_signal(signal.SIGHUP)
        check("and that it reloads", manager.recv(4096).startswith(b"RELOADING=1") and b"READY=1" in manager.recv(4096))
        daemon.process.send_signal(signal.SIGTERM)
        check("and that it stops", manager.recv(4096) == b"STOPPING=1" and daemon.process.wait(timeout=20) == 0)
        del home.env["NOTIFY_SOCKET"]


def notices_a_dead_listener(home):
    daemon = Daemon(home, descriptors=64)
    idle = []
    for _ in range(80):  # more than it has descriptors for: the C core's accept fails, and is never called again
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", daemon.port))
        idle.append(connection)
    time.sleep(0.5)
    for connection in idle:
        connection.close()
    line = daemon.wait_for("accepts no more connections")
    check("a listener that is out of descriptors for ever is noticed", "service manager" in line, line)
    check("and the daemon ends with a failure, to be started anew", daemon.process.wait(timeout=20) == 1)


with tempfile.TemporaryDirectory() as root:
    eu, us = Region(root, "eu-central"), Region(root, "us-east")
    initialises_once(eu)
    names_what_differs(eu, us)
    speaks_only_the_newest_tls(eu)
    reloads(eu)
    stops_in_spite_of_idle_callers(eu)
    tells_its_service_manager(eu)
    notices_a_dead_listener(eu)
sys.exit(1 if failures else 0)
