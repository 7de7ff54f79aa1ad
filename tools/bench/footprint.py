"""What the daemon and the module take: memory, cold starts, a thousand idle connections."""

import json
import os
import statistics
import subprocess

import sides

MODULE_STARTS = 7
SECONDS = 25  # about


def module(region):
    """Medians of fresh processes: dlopen, connect, log in, find a key, first result."""
    module_path = region.build + "/provider/bailiwick-pkcs11.so"
    runs = []
    for _ in range(MODULE_STARTS):
        out = subprocess.run([sides.driver_path("bench_module"), module_path, sides.TOKEN, "", "cold", "gcm-32"], capture_output=True, text=True, check=True,
                             env={**os.environ, "BAILIWICK_PKCS11_CONFIG": region.file("pkcs11.conf")}).stdout
        runs.append(json.loads(out))
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    stripped = sides.ENV["dir"] + "/stripped.so"
    subprocess.run(["strip", "-o", stripped, module_path], check=True)
    return {"module, shared object, MiB": os.path.getsize(stripped) / 2**20,
            "module, load to first result, ms": (median["open_us"] + median["prepare_us"] + median["first_us"]) / 1e3,
            "module, memory, MiB": median["rss_kib"] / 1024, "module, threads started": median["threads"]}


def connections(region, count):
    """Each has made one call. The first few are not counted: they bring along what is shared. Beside a thousand that are idle
    a call should cost what it costs alone."""
    warm = region.echo_driver(16)
    alone = [warm.slice("echo", 1, 300) for _ in range(3)]
    before = sides.rss_kib(region.pid)
    crowd = region.echo_driver(count)
    beside = [crowd.slice("echo", 1, 300) for _ in range(3)]
    size = (sides.rss_kib(region.pid) - before) / count
    spent = sides.cpu_ns(region.pid)
    subprocess.run(["sleep", "2"], check=True)  # what idle connections cost is measured over time
    idle = (sides.cpu_ns(region.pid) - spent) / 2e9
    crowd.end()
    warm.end()
    p50 = [statistics.median(run["p50_us"] for run in runs) for runs in (alone, beside)]
    return {"daemon, per idle connection, KiB": size, f"daemon, {count} idle connections, % of a processor": 100 * idle,
            f"echo beside {count} idle connections / alone, p50": p50[1] / p50[0]}


def run(region, quick):
    figures = {"daemon, idle, MiB": sides.rss_kib(region.pid) / 1024}
    return {**figures, **module(region), **connections(region, 100 if quick else 1000)}
