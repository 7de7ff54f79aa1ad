"""Where the time goes: shares of CPU by thread and stage, and the costliest functions, of the daemon and of the module."""

import re
import signal
import subprocess
import time

import report
import sides

SLICE_MS = 2000

# what a symbol's library, or our own file, says about it; the first that fits
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


def run(plan, region):
    driver = region.module_driver()
    for operation, callers in plan:
        driver.slice(operation, callers, 200)
        for name, pid in (("daemon", region.pid), ("module", driver.process.pid)):
            data = f"{sides.ENV['dir']}/perf.{name}"
            perf = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "4000", "-o", data, "-p", str(pid)], stderr=subprocess.DEVNULL)
            time.sleep(0.3)
            before = sides.cpu_ns(pid)
            result = driver.slice(operation, callers, SLICE_MS)
            spent_us = (sides.cpu_ns(pid) - before) / 1e3 if name == "daemon" else result["cpu_us"]
            each = spent_us / result["operations"]
            perf.send_signal(signal.SIGINT)
            perf.wait()
            print(f"\n## {operation}@{callers}, {name}: {report.number(each)} us of CPU an operation\n")
            stages = {}
            for share, thread, library in perf_rows(data, "comm,dso"):
                stages[thread, stage_of(library)] = stages.get((thread, stage_of(library)), 0) + share
            print("| thread | stage | us | % |\n| --- | --- | --: | --: |")
            for (thread, stage), share in sorted(stages.items(), key=lambda item: -item[1]):
                if share >= 1:
                    print(f"| {thread} | {stage} | {report.number(each * share / 100)} | {share:.1f} |")
            print("\n| function | library | thread | us | % |\n| --- | --- | --- | --: | --: |")
            for share, library, thread, symbol, *_ in perf_rows(data, "dso,comm,symbol")[:50]:
                print(f"| {symbol} | {library} | {thread} | {report.number(each * share / 100)} | {share:.1f} |")
    driver.end()
