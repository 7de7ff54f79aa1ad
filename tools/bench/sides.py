"""The sides that tools/bench/run compares: their drivers, the regions behind ours, and what the system says of both."""

import atexit
import glob
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ENV = {name[6:].lower(): value for name, value in os.environ.items() if name.startswith("BENCH_")}
TOKEN = "bw acme"


def driver_path(name):
    return f"{ENV['build']}/tools/bench/{name}"


# ---- what the system says ----

def cpu_ns(pid):
    """What all threads of a process have run, without the kernel's tick."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        try:
            with open(path) as file:
                total += int(file.read().split()[0])
        except OSError:
            pass  # a thread that ended
    return total


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


def children(pid):
    return [int(n) for path in glob.glob(f"/proc/{pid}/task/*/children") for n in open(path).read().split()]


# ---- drivers ----

class Driver:
    """A process that runs a slice when told to."""

    def __init__(self, command, **env):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **env})
        atexit.register(self.end)

    def begin(self, operation, callers, ms):
        self.process.stdin.write(f"{operation} {callers} {ms}\n")
        self.process.stdin.flush()

    def result(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"bench: {' '.join(self.process.args[:2])} died")
        return json.loads(line)

    def slice(self, operation, callers, ms):
        self.begin(operation, callers, ms)
        return self.result()

    def end(self):
        if not self.process.stdin.closed:
            self.process.stdin.close()
            self.process.wait()


class Side:
    """A column of the table. make: a driver of it; servers: the processes whose CPU it also costs, asked for each time."""

    def __init__(self, name, make, servers=lambda: [], region=None):
        self.name, self.make, self.servers, self.region = name, make, servers, region
        self.drivers = []

    def slice(self, operation, callers, ms):
        """callers: "16" is threads of one process, "16p" processes of one thread each. Of processes: their median latencies."""
        processes = int(callers[:-1]) if callers.endswith("p") else 1
        while len(self.drivers) < processes:
            self.drivers.append(self.make())
            self.drivers[-1].slice("none", 1, 1)  # one after the other: SoftHSM does not find a token that another process logs into
        crowd = self.drivers[:processes]
        for driver in crowd:
            driver.begin(operation, 1 if processes > 1 else int(callers), ms)
        results = [driver.result() for driver in crowd]
        if any("error" in result for result in results):
            return {"error": "unable"}
        merged = {key: sum(result[key] for result in results) for key in ("operations", "cpu_us", "failed")}
        merged["seconds"] = max(result["seconds"] for result in results)
        return {**merged, **{key: statistics.median(result[key] for result in results) for key in ("p50_us", "p99_us", "p999_us")}}

    def end(self):
        for driver in self.drivers:
            driver.end()


# ---- regions ----

class Region:
    """A region in a folder, from a build; its daemon is our child."""

    def __init__(self, folder, build=None):
        self.folder, self.build = folder, build or ENV["build"]
        self.path = f"{self.build}/tools:{self.build}/server:{os.environ['PATH']}"
        self.daemon = None
        atexit.register(self.stop)

    def make(self, keys=("aes",)):
        if subprocess.run([HERE + "/make-region", self.folder, *keys], check=False, env={**os.environ, "PATH": self.path}).returncode:
            sys.exit(f"bench: no region in {self.folder}")
        return self

    def start(self):
        """Returns how long it took until it served, in seconds."""
        began = time.monotonic()
        with open(self.folder + "/log", "w") as log:
            self.daemon = subprocess.Popen([self.build + "/server/bailiwickd", "--config", self.folder + "/bailiwickd.conf"], stdout=log, stderr=log,
                                           stdin=subprocess.DEVNULL, env={**os.environ, "SOFTHSM2_CONF": self.folder + "/softhsm2.conf"})
        with open(self.folder + "/log", errors="replace") as log:
            said = ""
            while " started " not in said:
                said += log.read()
                if self.daemon.poll() is not None:
                    sys.exit("bench: the daemon does not start:\n" + said[-2000:])
                time.sleep(0.001)
        return time.monotonic() - began

    def stop(self):
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait()
            self.daemon = None

    @property
    def pid(self):
        return self.daemon.pid

    def file(self, name):
        return f"{self.folder}/{name}"

    def counters(self):
        """Records, commits and calls, from the line that SIGUSR1 has the daemon write."""
        with open(self.file("log"), errors="replace") as log:
            log.seek(0, os.SEEK_END)
            os.kill(self.pid, signal.SIGUSR1)
            said = ""
            for _ in range(1000):
                said += log.read()
                found = re.search(r" counters records=(\d+) commits=(\d+) calls=(\d+)", said)
                if found:
                    return tuple(int(n) for n in found.groups())
                time.sleep(0.005)
        sys.exit("bench: the daemon tells no counters")

    def wire_bytes(self):
        """Bytes inside TCP that the daemon's connections carried, both ways."""
        with open(self.file("port")) as file:
            port = file.read().strip()
        out = subprocess.run(["ss", "-tinH", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
        return sum(int(n) for n in re.findall(r"bytes_(?:sent|received):(\d+)", out))

    def cli(self, role, *arguments):
        """What the command says, and how long it took as a process, in seconds."""
        began = time.monotonic()
        done = subprocess.run([self.build + "/tools/bailiwick", "--config", self.file(role + ".conf"), *arguments], capture_output=True, text=True)
        return done, time.monotonic() - began

    def module_driver(self):
        return Driver([driver_path("bench_module"), self.build + "/provider/bailiwick-pkcs11.so", TOKEN, ""],
                      BAILIWICK_PKCS11_CONFIG=self.file("pkcs11.conf"))

    def echo_driver(self, idle=0):
        return Driver([driver_path("bench_echo"), self.file("pkcs11.conf"), str(idle)])

    def pin(self):
        with open(self.file("pins/tenant-acme.pin")) as file:
            return file.read().strip()

    def hsm_driver(self, *mode):
        """SoftHSM in a process of its own, with the tenant's token open."""
        command = [driver_path("bench_module"), ENV["softhsm"], "bw:eu-central:acme", self.pin(), *mode]
        if mode:
            return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "SOFTHSM2_CONF": self.file("softhsm2.conf")}).stdout
        return Driver(command, SOFTHSM2_CONF=self.file("softhsm2.conf"))

    def hsm_rss_kib(self):
        """What SoftHSM alone takes for the daemon's token: its own memory for keys is not the daemon's doing."""
        driver = self.hsm_driver()
        driver.slice("none", 1, 1)  # answered when it is open
        size = rss_kib(driver.process.pid)
        driver.end()
        return size


# ---- the sides ----

def ours(region, name="ours"):
    return Side(name, region.module_driver, lambda: [region.pid], region)


def echo(region):
    return Side("echo", region.echo_driver, lambda: [region.pid])


def direct():
    return Side("direct", lambda: Driver([driver_path("bench_module"), ENV["softhsm"], "bench", ENV["pin"]]))


def p11_kit():
    server = int(ENV["p11_kit"])
    client = glob.glob("/usr/lib/*/pkcs11/p11-kit-client.so")[0]
    return Side("p11-kit", lambda: Driver([driver_path("bench_module"), client, "bench", ENV["pin"]],
                                          P11_KIT_SERVER_ADDRESS=f"unix:path={ENV['dir']}/p11-kit.sock"), lambda: [server, *children(server)])


def floor(region):
    node, app = region.file("ca/eu-central.node.n1"), region.file("ca/eu-central.acme.app.b1")
    return Side("floor", lambda: Driver([driver_path("bench_floor"), ENV["softhsm"], "bench", ENV["pin"], ENV["dir"] + "/floor.db", region.file("ca/ca.pem"),
                                         node + ".pem", node + ".key", app + ".pem", app + ".key"]))
