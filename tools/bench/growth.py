"""How it grows: keys of one tenant, tenants, records of a log."""

import atexit
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import tempfile

import rates
import sides

KEYS    = {False: (10, 100, 1000, 10000, 50000), True: (10, 100, 1000)}  # True: quick
TENANTS = {False: (1, 50, 200), True: (1, 10)}
RECORDS = {False: 10_000_000, True: 100_000}
SECONDS = {"keys": 120, "tenants": 45, "log": 200}  # about, not quick


def memory_region(name):
    """Its token's files are in memory: SoftHSM, which writes each of them some 35 times, makes keys there ten times as fast."""
    region = sides.Region(f"{sides.ENV['dir']}/{name}")
    os.makedirs(region.folder)
    tokens = tempfile.mkdtemp(prefix="bw-bench-", dir="/dev/shm")
    atexit.register(shutil.rmtree, tokens, True)
    os.symlink(tokens, region.folder + "/tokens")
    return region.make()


# ---- keys ----

def add_keys(region, first, count):
    """Into the token through SoftHSM, and into the store as copies of the key "aes" but for what tells them apart."""
    ids = region.hsm_driver("fill", str(count)).split()
    store = sqlite3.connect(region.file("store/store.db"))
    columns = [row[1] for row in store.execute("PRAGMA table_info(key)")]
    copied = ", ".join({"id": "?1", "label": "?2", "cka_id": "?1"}.get(name, name) for name in columns)
    version = [row[1] for row in store.execute("PRAGMA table_info(key_version)")]
    versions = ", ".join({"key": "?1"}.get(name, name) for name in version)
    (model,) = store.execute("SELECT id FROM key WHERE label = 'aes'").fetchone()
    for number, key in enumerate(ids):
        one = bytes.fromhex(key)
        store.execute(f"INSERT INTO key SELECT {copied} FROM key WHERE id = ?3", (one, f"any-{first + number}", model))
        store.execute(f"INSERT INTO key_version SELECT {versions} FROM key_version WHERE key = ?2", (one, model))
    store.commit()
    store.close()


def keys_row(region, count, empty):
    """empty: the memory of daemon and SoftHSM with the first keys alone."""
    started = statistics.median(restart(region) for _ in range(3))
    size, hsm = sides.rss_kib(region.pid), region.hsm_rss_kib()
    listed, list_s = region.cli("custodian", "key", "list")
    assert len(listed.stdout.splitlines()) > count, listed.stderr
    driver = region.module_driver()
    find, use = driver.slice("find-any", 1, 500), driver.slice("use-any", 1, 1000)
    assert not find["failed"] and not use["failed"]
    driver.end()
    row = {"keys": count, "start_ms": started * 1e3, "list_ms": list_s * 1e3, "find_us": find["p50_us"], "use_us": use["p50_us"], "use_p99_us": use["p99_us"],
           "rss_kib": size, "hsm_kib": hsm}
    if empty:
        row |= {"daemon_kib_each": max(0, size - empty["rss_kib"] - hsm + empty["hsm_kib"]) / (count - empty["keys"]),
                "hsm_kib_each": (hsm - empty["hsm_kib"]) / (count - empty["keys"])}
    return row


def restart(region):
    region.stop()
    return region.start()


def keys(quick):
    region = memory_region("keys")
    rows, have = [], 0
    for count in KEYS[quick]:
        region.stop()
        add_keys(region, have, count - have)
        have = count
        rows.append(keys_row(region, count, rows[0] if rows else None))
    region.stop()
    return rows


# ---- tenants ----

def tenants(quick):
    region = memory_region("tenants")
    region.start()
    rows, have = [], 1  # acme
    for count in TENANTS[quick]:
        for number in range(have, count):
            done, _ = region.cli("operator", "tenant", "create", f"tenant-{number}")
            assert done.returncode == 0, done.stderr
        have = count
        started = statistics.median(restart(region) for _ in range(3))
        (_, listed), (_, shown) = region.cli("operator", "tenant", "list"), region.cli("operator", "tenant", "show", "acme")
        rows.append({"tenants": count, "start_ms": started * 1e3, "list_ms": listed * 1e3, "show_ms": shown * 1e3, "rss_kib": sides.rss_kib(region.pid)})
    region.stop()
    return rows


# ---- the log ----

def log(quick):
    """Two regions, turn by turn: one with a log of so many records, one with none."""
    full, none = (sides.Region(f"{sides.ENV['dir']}/{name}").make() for name in ("log-full", "log-none"))
    loaded = subprocess.run([sides.driver_path("bench_load"), full.file("audit"), "acme", str(RECORDS[quick])], check=True, capture_output=True, text=True)
    none.start()
    started = full.start()
    cells = rates.run([("gcm-32", "16"), ("gcm-32", "64")], 3 if quick else 8, [sides.ours(full, "full"), sides.ours(none, "none")])
    result = {"records": RECORDS[quick], **json.loads(loaded.stdout), "start_ms": started * 1e3,
              "cells": {f"{operation}@{callers}": cell for (operation, callers), cell in cells.items()}}
    full.stop()
    none.stop()
    shutil.rmtree(full.folder)
    return result


PARTS = {"keys": keys, "tenants": tenants, "log": log}
