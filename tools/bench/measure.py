"""Lets the drivers take turns, and makes the table, bench.json and bench.svg out of what they tell. Run by tools/bench/run."""

import argparse
import glob
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time

ENV = {name[6:].lower(): value for name, value in os.environ.items() if name.startswith("BENCH_")}
DRIVERS = ENV["build"] + "/tools/bench/"
MODULE = ENV["build"] + "/provider/bailiwick-pkcs11.so"
P11_KIT_CLIENT = glob.glob("/usr/lib/*/pkcs11/p11-kit-client.so")[0]
TOKEN = "bw acme"

# operation, callers. The floor has one caller.
FULL = ([(op, n) for op in ("gcm-32", "rsa-2048", "ecdsa-p256") for n in (1, 4, 16, 64)]
        + [(op, n) for op in ("gcm-4k", "gcm-256k", "envelope-32", "kwp-32", "oaep-2048", "oaep-4096", "pss-2048", "hmac-sha256")
           for n in (1, 16)])
QUICK = [("gcm-32", 1), ("gcm-32", 16), ("gcm-32", 64), ("ecdsa-p256", 1), ("ecdsa-p256", 16), ("rsa-2048", 1), ("rsa-2048", 16)]
FLOOR = ("tls", "tls+sync", "tls+sync+hsm")

# what is measured, its bar, what we aim at; how to compute it from a run's medians is in figures()
BARS = [
    ("gcm-32@16 ours/direct",        ">=", 0.5,  1.0),
    ("gcm-32@64 ours/direct",        ">=", 0.85, 1.2),
    ("ecdsa-p256@16 ours/p11-kit",   ">=", 2.0,  3.0),
    ("rsa-2048@16 ours/p11-kit",     ">=", 1.7,  2.0),
    ("ecdsa-p256@16 ours/direct",    ">=", 0.5,  0.8),
    ("rsa-2048@16 ours/direct",      ">=", 0.85, 0.95),
    ("gcm-32@1 p50 ours/floor",      "<=", 1.3,  1.1),
    ("gcm-32@16 p99/p50",            "<=", 5,    None),
    ("gcm-32@64 records per sync",   ">=", 16,   None),
    ("daemon, idle, MiB",            "<=", 40,   None),
    ("daemon, per key, KiB",         "<=", 1,    None),
    ("daemon, per idle connection, KiB", "<=", 64, None),
    ("module, shared object, MiB",   "<=", 1,    None),
    ("module, load to first result, ms", "<=", 10, None),
    ("module, memory, MiB",          "<=", 8,    None),
    ("module, threads started",      "<=", 0,    None),
]


class Driver:
    """One side: a process that runs a slice when told to."""

    def __init__(self, name, command, **env):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **env})

    def slice(self, operation, callers, ms):
        self.process.stdin.write(f"{operation} {callers} {ms}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"bench: the driver of {self.name} died in {operation}")
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


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


def counters():
    """The daemon's, from the line that SIGUSR1 has it write."""
    log = ENV["dir"] + "/region/log"
    with open(log, errors="replace") as file:
        file.seek(0, os.SEEK_END)
        os.kill(int(ENV["daemon"]), signal.SIGUSR1)
        text = ""
        for _ in range(500):
            text += file.read()
            found = re.search(r" counters records=(\d+) commits=(\d+)", text)
            if found:
                return int(found.group(1)), int(found.group(2))
            time.sleep(0.01)
    sys.exit("bench: the daemon tells no counters")


def wire_bytes():
    """Bytes inside TCP that the daemon's connections carried, both ways."""
    out = subprocess.run(["ss", "-tinH", f"sport = :{ENV['port']}"], capture_output=True, text=True, check=True).stdout
    return sum(int(n) for n in re.findall(r"bytes_(?:sent|received):(\d+)", out))


def hsm_driver(name, module, **env):
    return Driver(name, [DRIVERS + "bench_module", module, "bench", ENV["pin"]], **env)


def our_driver():
    return Driver("ours", [DRIVERS + "bench_module", MODULE, TOKEN, ""], BAILIWICK_PKCS11_CONFIG=ENV["dir"] + "/pkcs11.conf")


def floor_driver():
    node, app = ENV["ca"] + "/eu-central.node.n1", ENV["ca"] + "/eu-central.acme.app.b1"
    return Driver("floor", [DRIVERS + "bench_floor", ENV["softhsm"], "bench", ENV["pin"], ENV["dir"] + "/floor.db", ENV["ca"] + "/ca.pem",
                            node + ".pem", node + ".key", app + ".pem", app + ".key"])


def measure_slice(driver, operation, callers, ms):
    daemon = int(ENV["daemon"])
    if driver.name == "ours":
        records, commits = counters()
        sent = wire_bytes()
    server = {"ours": daemon, "echo": daemon, "p11-kit": ENV["p11_kit_children"]}.get(driver.name)
    before = sum(cpu_ns(pid) for pid in server()) if callable(server) else cpu_ns(server) if server else 0
    result = driver.slice(operation, callers, ms)
    if "error" in result:
        return None
    if result["failed"]:
        sys.exit(f"bench: {driver.name}: {result['failed']} of {operation}@{callers} failed")
    after = sum(cpu_ns(pid) for pid in server()) if callable(server) else cpu_ns(server) if server else 0
    done = result["operations"]
    figures = {"rate": done / result["seconds"], "p50": result["p50_us"], "p99": result["p99_us"], "p999": result["p999_us"],
               "client_cpu": result["cpu_us"] / done, "server_cpu": (after - before) / 1e3 / done}
    if driver.name == "ours":
        records_now, commits_now = counters()
        figures["per_sync"] = (records_now - records) / max(1, commits_now - commits)
        figures["bytes"] = (wire_bytes() - sent) / done
    return figures


def run_rounds(plan, rounds, ms):
    """{(operation, callers): {side: [figures of each round]}}"""
    sides = [hsm_driver("direct", ENV["softhsm"]), hsm_driver("p11-kit", P11_KIT_CLIENT, P11_KIT_SERVER_ADDRESS=f"unix:path={ENV['dir']}/p11-kit.sock"),
             our_driver()]
    echo = Driver("echo", [DRIVERS + "bench_echo", ENV["dir"] + "/pkcs11.conf"])
    floor = floor_driver()
    cells = {}
    unable = set()
    for number in range(rounds):
        for operation, callers in plan:
            turn = [(side, operation) for side in sides]
            if callers == 1 and operation == "gcm-32":
                turn += [(floor, stage) for stage in FLOOR]
            if operation == "gcm-32":
                turn += [(echo, "echo")]
            turn = turn[number % len(turn):] + turn[:number % len(turn)]
            for side, what in turn:
                if (side.name, what) in unable:
                    continue
                figures = measure_slice(side, what, callers, ms)
                if figures is None:
                    unable.add((side.name, what))
                    continue
                name = side.name if side is not floor else what
                cells.setdefault((operation, callers), {}).setdefault(name, []).append(figures)
            print(f"\rround {number + 1} of {rounds}: {operation}@{callers}        ", end="", file=sys.stderr, flush=True)
    print("\r" + " " * 50 + "\r", end="", file=sys.stderr)
    for side in sides + [echo, floor]:
        side.end()
    return cells


def measure_module():
    """Medians of fresh processes: dlopen, connect, log in, find a key, first result."""
    runs = []
    for _ in range(7):
        out = subprocess.run([DRIVERS + "bench_module", MODULE, TOKEN, "", "cold", "gcm-32"], capture_output=True, text=True, check=True,
                             env={**os.environ, "BAILIWICK_PKCS11_CONFIG": ENV["dir"] + "/pkcs11.conf"}).stdout
        runs.append(json.loads(out))
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    stripped = ENV["dir"] + "/stripped.so"
    subprocess.run(["strip", "-o", stripped, MODULE], check=True)
    return {"module, shared object, MiB": os.path.getsize(stripped) / 2**20,
            "module, load to first result, ms": (median["open_us"] + median["prepare_us"] + median["first_us"]) / 1e3,
            "module, memory, MiB": median["rss_kib"] / 1024, "module, threads started": median["threads"], "cold": median}


def hsm_rss_kib():
    """What SoftHSM alone takes for the daemon's tokens: its own memory for keys is not the daemon's doing."""
    region = ENV["dir"] + "/region"
    with open(region + "/pins/tenant-acme.pin") as file:
        pin = file.read().strip()
    driver = Driver("hsm", [DRIVERS + "bench_module", ENV["softhsm"], "bw:eu-central:acme", pin], SOFTHSM2_CONF=region + "/softhsm2.conf")
    driver.slice("none", 1, 1)  # answered when it is open
    size = rss_kib(driver.process.pid)
    driver.end()
    return size


def measure_memory(keys, connections):
    """Idle: as the daemon stands before it has served anything but its own setup. Per key: without what SoftHSM keeps for it."""
    daemon = int(ENV["daemon"])
    figures = {"daemon, idle, MiB": rss_kib(daemon) / 1024}
    echo = Driver("echo", [DRIVERS + "bench_echo", ENV["dir"] + "/pkcs11.conf", "16"])  # what the first connections bring along
    echo.slice("echo", 1, 100)
    before = rss_kib(daemon)
    idle = Driver("echo", [DRIVERS + "bench_echo", ENV["dir"] + "/pkcs11.conf", str(connections)])
    idle.slice("echo", 1, 100)
    figures["daemon, per idle connection, KiB"] = (rss_kib(daemon) - before) / connections
    idle.end()
    echo.end()
    before, hsm_before = rss_kib(daemon), hsm_rss_kib()
    for _ in range(keys):
        subprocess.run([ENV["build"] + "/tools/bailiwick", "--config", ENV["dir"] + "/custodian.conf", "key", "create", "--spec", "AES_256",
                        "--label", "many"], check=True, stdout=subprocess.DEVNULL)
    grown, hsm_grown = rss_kib(daemon) - before, hsm_rss_kib() - hsm_before
    figures["daemon, per key, KiB"] = max(0, grown - hsm_grown) / keys
    figures["daemon and SoftHSM, per key, KiB"] = grown / keys
    return figures


def median(cell, side, figure):
    values = [figures[figure] for figures in cell.get(side, []) if figure in figures]
    return statistics.median(values) if values else None


def ratio(cell, figure, above, below):
    """Of slices of the same round: median, least, most."""
    values = [a[figure] / b[figure] for a, b in zip(cell.get(above, []), cell.get(below, []))]
    return (statistics.median(values), min(values), max(values)) if values else None


def bar_values(cells, others):
    values = {name: (value, value, value) for name, value in others.items() if isinstance(value, (int, float))}
    for name, *_ in BARS:
        operation, _, rest = name.partition("@")
        if not rest:
            continue
        callers, what = rest.split(" ", 1)
        cell = cells.get((operation, int(callers)), {})
        if what == "p50 ours/floor":
            values[name] = ratio(cell, "p50", "ours", "tls+sync+hsm")
        elif what == "p99/p50":
            spread = [figures["p99"] / figures["p50"] for figures in cell.get("ours", [])]
            values[name] = (statistics.median(spread), min(spread), max(spread)) if spread else None
        elif what == "records per sync":
            per_sync = [figures["per_sync"] for figures in cell.get("ours", [])]
            values[name] = (statistics.median(per_sync), min(per_sync), max(per_sync)) if per_sync else None
        else:
            values[name] = ratio(cell, "rate", *what.split("/"))
    return values


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def print_tables(cells, values):
    print("| operation @ callers | direct /s | p11-kit /s | ours /s | ours/direct | ours/p11-kit | ours p50, p99, p99.9 us | direct p50 us "
          "| CPU us/op: module, daemon | bytes/op | records/sync |")
    print("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
    for (operation, callers), cell in cells.items():
        shares = [ratio(cell, "rate", "ours", other) for other in ("direct", "p11-kit")]
        print(f"| {operation} @ {callers} | " + " | ".join(number(median(cell, side, "rate")) for side in ("direct", "p11-kit", "ours"))
              + " | " + " | ".join(f"{share[0]:.2f} [{share[1]:.2f}-{share[2]:.2f}]" if share else "-" for share in shares)
              + " | " + ", ".join(number(median(cell, "ours", f)) for f in ("p50", "p99", "p999")) + f" | {number(median(cell, 'direct', 'p50'))}"
              + f" | {number(median(cell, 'ours', 'client_cpu'))}, {number(median(cell, 'ours', 'server_cpu'))}"
              + f" | {number(median(cell, 'ours', 'bytes'))} | {number(median(cell, 'ours', 'per_sync'))} |")
    print("\n| beside | /s | p50 us | p99 us | CPU us: caller, daemon |")
    print("| --- | --: | --: | --: | --: |")
    for (operation, callers), cell in cells.items():
        for side in [*FLOOR, "echo"]:
            if side in cell:
                print(f"| {side} @ {callers} | {number(median(cell, side, 'rate'))} | {number(median(cell, side, 'p50'))} | {number(median(cell, side, 'p99'))}"
                      f" | {number(median(cell, side, 'client_cpu'))}, {number(median(cell, side, 'server_cpu'))} |")
    print("\n| bar | wanted | aim | measured [least-most] | |")
    print("| --- | --: | --: | --: | --- |")
    for name, sign, bar, aim in BARS:
        value = values.get(name)
        if value is None:
            continue
        met = value[0] >= bar if sign == ">=" else value[0] <= bar
        spread = f" [{number(value[1])}-{number(value[2])}]" if value[1] != value[2] else ""
        print(f"| {name} | {sign} {bar} | {aim or ''} | {number(value[0])}{spread} | {'met' if met else 'missed'} |")


def write_svg(path, cells):
    """Operations a second as a share of SoftHSM in the process, for each cell; a bar each for p11-kit and for us."""
    rows = [(key, cell) for key, cell in cells.items() if "direct" in cell and "ours" in cell]
    left, right, high = 170, 560, 34
    top = max([1.2] + [ratio(cell, "rate", side, "direct")[0] for _, cell in rows for side in ("ours", "p11-kit") if side in cell])
    scale = (right - left) / top
    height = 60 + high * len(rows)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{height}" font-family="sans-serif" font-size="12">',
           f'<rect width="720" height="{height}" fill="white"/>',
           '<text x="10" y="20" font-size="14">Throughput beside SoftHSM in the process (= 1); ours with mutual TLS and a durable audit record each</text>']
    for index, ((operation, callers), cell) in enumerate(rows):
        y = 40 + index * high
        out.append(f'<text x="10" y="{y + 16}">{operation}, {callers} caller{"s" if callers > 1 else ""}</text>')
        for side, colour, offset in (("ours", "#1f6fb4", 0), ("p11-kit", "#c0c0c0", 13)):
            share = ratio(cell, "rate", side, "direct")
            if share is None:
                continue
            out.append(f'<rect x="{left}" y="{y + offset}" width="{share[0] * scale:.1f}" height="11" fill="{colour}"/>')
            out.append(f'<text x="{left + share[0] * scale + 4:.1f}" y="{y + offset + 10}" font-size="10">'
                       f'{side} {share[0]:.2f} ({number(median(cell, side, "rate"))}/s)</text>')
    x = left + scale
    out += [f'<line x1="{x:.1f}" y1="32" x2="{x:.1f}" y2="{height - 16}" stroke="black" stroke-dasharray="3 3"/>', "</svg>"]
    with open(path, "w") as file:
        file.write("\n".join(out) + "\n")


# where the time goes: what a symbol's library, or our own file, says about it; the first that fits
STAGES = [
    ("TLS and hashes", r"libssl|libcrypto"),
    ("gRPC",           r"libgrpc|libgpr|libabsl|libaddress_sorting|libupb|libre2"),
    ("HTTP/2",         r"libnghttp2"),
    ("SQLite",         r"libsqlite3"),
    ("HSM",            r"libsofthsm2|libstdc"),
    ("messages",       r"libprotobuf-c"),
    ("C library",      r"libc\.so|libc-|libm|vdso|ld-linux"),
    ("kernel",         r"kernel|unknown"),
    ("our own code",   r"bailiwick"),
    ("the driver",     r"bench_"),
]


def stage_of(library):
    return next((name for name, pattern in STAGES if re.search(pattern, library)), library)


def perf_rows(data, fields):
    out = subprocess.run(["perf", "report", "-i", data, "--no-children", "--sort", fields, "-F", "overhead," + fields, "-t", "|", "--stdio", "--percent-limit", "0.2"],
                         capture_output=True, text=True).stdout
    rows = []
    for line in out.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if not line.startswith("#") and len(parts) > 1 and re.match(r"[\d.]+%?$", parts[0]):
            rows.append((float(parts[0].rstrip('%')), *parts[1:]))
    return sorted(rows, reverse=True)


def profile(plan, ms):
    """Of the daemon and of the module's process: shares of CPU by thread and stage, and the costliest functions."""
    driver = our_driver()
    for operation, callers in plan:
        driver.slice(operation, callers, 200)
        for name, pid in (("daemon", int(ENV["daemon"])), ("module", driver.process.pid)):
            data = f"{ENV['dir']}/perf.{name}"
            perf = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "4000", "-o", data, "-p", str(pid)], stderr=subprocess.DEVNULL)
            time.sleep(0.3)
            before = cpu_ns(pid)
            result = driver.slice(operation, callers, ms)
            spent_us = (cpu_ns(pid) - before) / 1e3 if name == "daemon" else result["cpu_us"]
            each = spent_us / result["operations"]
            perf.send_signal(signal.SIGINT)
            perf.wait()
            print(f"\n## {operation}@{callers}, {name}: {number(each)} us of CPU an operation\n")
            stages = {}
            for share, thread, library in perf_rows(data, "comm,dso"):
                stages[thread, stage_of(library)] = stages.get((thread, stage_of(library)), 0) + share
            print("| thread | stage | us | % |\n| --- | --- | --: | --: |")
            for (thread, stage), share in sorted(stages.items(), key=lambda item: -item[1]):
                if share >= 1:
                    print(f"| {thread} | {stage} | {number(each * share / 100)} | {share:.1f} |")
            print("\n| function | library | thread | us | % |\n| --- | --- | --- | --: | --: |")
            for share, library, thread, symbol, *_ in perf_rows(data, "dso,comm,symbol")[:50]:
                print(f"| {symbol} | {library} | {thread} | {number(each * share / 100)} | {share:.1f} |")
    driver.end()


def plan_of(only):
    plan = []
    for item in only.split(","):
        operation, _, callers = item.partition("@")
        plan += [(operation, int(callers))] if callers else [(operation, n) for n in (1, 16, 64)]
    return plan


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--out", default=".")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    pid = int(ENV["p11_kit"])
    ENV["p11_kit_children"] = lambda: [pid, *(int(n) for path in glob.glob(f"/proc/{pid}/task/*/children") for n in open(path).read().split())]
    if args.profile:
        profile(plan_of(args.only) if args.only else [("gcm-32", 1), ("gcm-32", 16)], 2000)
        return
    rounds = args.rounds or (3 if args.quick else 5)
    others = {} if args.only else {**measure_memory(20 if args.quick else 200, 100 if args.quick else 1000), **measure_module()}
    cells = run_rounds(plan_of(args.only) if args.only else QUICK if args.quick else FULL, rounds, 1000 if args.quick else 2000)
    values = bar_values(cells, others)
    print_tables(cells, values)
    if "cold" in others:
        print("\ncold start of the module, us:", json.dumps(others["cold"]))
        print("daemon and SoftHSM, per key, KiB:", number(others["daemon and SoftHSM, per key, KiB"]))
    with open(args.out + "/bench.json", "w") as file:
        json.dump({"machine": platform.platform(), "processors": os.cpu_count(), "rounds": rounds, "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                   "cells": {f"{operation}@{callers}": cell for (operation, callers), cell in cells.items()}, "bars": values, "others": others}, file, indent=1)
    write_svg(args.out + "/bench.svg", cells)


main()
