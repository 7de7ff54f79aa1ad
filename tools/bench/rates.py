"""Throughput, latency, CPU and bytes of each operation: sides take turns, a slice each, round after round."""

import statistics
import sys

import sides

SLICE_MS = 1000
FLOOR = ("tls", "tls+sync", "tls+sync+hsm")
HEADLINES = ("gcm-32", "ecdsa-p256", "rsa-2048")
OTHERS = ("gcm-4k", "gcm-256k", "envelope-32", "kwp-32", "oaep-2048", "oaep-4096", "pss-2048", "hmac-sha256")
OPERATIONS = HEADLINES + OTHERS
OTHER_KEYS = {"ecdsa-p256": "ec", "rsa-2048": "rsa2048", "pss-2048": "rsa2048", "oaep-2048": "rsa2048", "oaep-4096": "rsa4096", "hmac-sha256": "hmac"}
CALLERS = ("1", "4", "16", "64", "16p")
FULL = [(op, n) for op in HEADLINES for n in CALLERS] + [(op, n) for op in OTHERS for n in ("1", "16")]
QUICK = [("gcm-32", "1"), ("gcm-32", "16"), ("gcm-32", "64"), ("ecdsa-p256", "1"), ("ecdsa-p256", "16"), ("rsa-2048", "1"), ("rsa-2048", "16")]


def keys(plan):
    """What a region must have for it, as make-region calls them. "aes" is always there."""
    return {"aes", *(OTHER_KEYS[operation] for operation, _ in plan if operation in OTHER_KEYS)}


def seconds(plan, rounds, against):
    """What it takes, about: a slice, and what is read before and after it."""
    slices = sum(2 if against else 3 + (operation == "gcm-32") * (1 + 3 * (callers == "1")) for operation, callers in plan)
    return rounds * slices * (SLICE_MS / 1000 + 0.15)


def measure(side, operation, callers):
    """None: this side does not do it."""
    region = side.region
    if not side.drivers and "error" in side.slice(operation, callers, 1):
        return None
    before = (region.counters(), region.wire_bytes()) if region else None
    spent = sum(sides.cpu_ns(pid) for pid in side.servers())
    result = side.slice(operation, callers, SLICE_MS)
    if "error" in result:
        return None
    if result["failed"]:
        sys.exit(f"bench: {side.name}: {result['failed']} of {operation}@{callers} failed")
    spent = sum(sides.cpu_ns(pid) for pid in side.servers()) - spent
    done = result["operations"]
    figures = {"rate": done / result["seconds"], "p50": result["p50_us"], "p99": result["p99_us"], "p999": result["p999_us"],
               "client_cpu": result["cpu_us"] / done, "server_cpu": spent / 1e3 / done}
    if region:
        (records, commits, calls), sent = before
        records_now, commits_now, calls_now = region.counters()
        figures |= {"per_sync": (records_now - records) / max(1, commits_now - commits), "bytes": (region.wire_bytes() - sent) / done,
                    "calls": (calls_now - calls) / done}
    return figures


def turn(cell_sides, cell, operation, callers, unable):
    for side, what in cell_sides:
        if (side.name, what) in unable:
            continue
        figures = measure(side, what, callers)
        if figures is None:
            unable.add((side.name, what))
        else:
            cell.setdefault(what if side.name == "floor" else side.name, []).append(figures)


def tell(words):
    """On one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r{words:60}\r", end="", file=sys.stderr, flush=True)


def run(plan, rounds, compared, region=None):
    """{(operation, callers): {side: [figures of each round]}}. region: echo and floor stand beside gcm-32."""
    cells, unable = {}, set()
    beside = [sides.echo(region)] if region else []
    floor = sides.floor(region) if region and ("gcm-32", "1") in plan else None
    for number in range(rounds):
        for operation, callers in plan:
            here = [(side, operation) for side in compared]
            if operation == "gcm-32" and not callers.endswith("p"):
                here += [(side, "echo") for side in beside]
                here += [(floor, stage) for stage in FLOOR if floor and callers == "1"]
            shift = number % len(here)
            turn(here[shift:] + here[:shift], cells.setdefault((operation, callers), {}), operation, callers, unable)
            tell(f"round {number + 1} of {rounds}: {operation}@{callers}")
    tell("")
    for side in filter(None, [*compared, *beside, floor]):
        side.end()
    return cells


def median(cell, side, figure):
    values = [figures[figure] for figures in cell.get(side, []) if figure in figures]
    return statistics.median(values) if values else None


def spread(values):
    """Median, least, most."""
    values = list(values)
    return (statistics.median(values), min(values), max(values)) if values else None


def ratio(cell, figure, above, below):
    """Of slices of the same round."""
    return spread(a[figure] / b[figure] for a, b in zip(cell.get(above, []), cell.get(below, [])))
