"""Measures what the command line asks for and writes what came of it. Run by tools/bench/run, whose head tells the options."""

import argparse
import json
import os
import platform
import re
import sys
import time

sys.dont_write_bytecode = True

import footprint  # noqa: E402
import growth     # noqa: E402
import rates      # noqa: E402
import report     # noqa: E402
import sides      # noqa: E402
import stages     # noqa: E402

SOURCE = os.path.realpath(sides.HERE + "/../..")
PROFILED = [("gcm-32", "1"), ("gcm-32", "16")]
GROUPS = ("rates", "footprint", "growth", *growth.PARTS)
MARKS = ("<!-- tools/bench/run --readme writes from here -->", "<!-- to here -->")
NOT_SHOWN = """The figures are of one machine on which callers, daemon, SoftHSM and disk share {processors} processors: ratios travel, absolute
figures do not. There is no network between caller and daemon but the loopback. SoftHSM is software; an HSM that takes longer
makes what Bailiwick adds a smaller part. A disk that syncs more slowly costs the lone caller most, many callers little, as they
share a sync. p11-kit carries neither AES-GCM nor AES-KEY-WRAP-PAD, and only Bailiwick has the envelope.
Latencies of processes are those of the median process."""


def plan_of(only, full):
    """(cells, groups). Dies on what there is not."""
    cells, groups = [], []
    for item in only.split(",") if only else ["rates", "footprint", "growth"] if full else ["rates", "footprint"]:
        operation, _, callers = item.partition("@")
        if item in GROUPS:
            groups += list(growth.PARTS) if item == "growth" else [item]
        elif operation not in rates.OPERATIONS:
            sys.exit(f"bench: no operation or group '{operation}'; there are {', '.join(GROUPS + rates.OPERATIONS)}")
        elif callers and not re.fullmatch(r"[1-9][0-9]{0,2}p?", callers):
            sys.exit(f"bench: '{callers}' is no count of callers, such as 16, or of processes, such as 16p")
        else:
            cells += [(operation, callers)] if callers else [(operation, n) for n in rates.CALLERS]
    if "rates" in groups:
        cells += rates.FULL if full else rates.QUICK
    return cells, groups


def arguments():
    parser = argparse.ArgumentParser(prog="tools/bench/run")
    for flag in ("--quick", "--profile", "--readme", "--check"):
        parser.add_argument(flag, action="store_true", help=argparse.SUPPRESS if flag == "--check" else None)
    parser.add_argument("--only")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--out", default=".")
    parser.add_argument("--against", metavar="BUILD")
    args = parser.parse_args()
    args.cells, args.groups = plan_of(args.only, not args.quick)
    if args.rounds is not None and args.rounds < 1:
        parser.error("--rounds: at least 1")
    if args.against and not os.access(args.against + "/server/bailiwickd", os.X_OK):
        parser.error(f"--against: {args.against} is no build folder: it has no server/bailiwickd")
    if (args.against or args.profile) and not args.only:
        args.cells, args.groups = rates.QUICK if args.against else PROFILED, []
    if (args.against or args.profile) and args.groups:
        parser.error("--against and --profile take operations, not groups")
    if args.profile and any(callers.endswith("p") for _, callers in args.cells):
        parser.error("--profile takes threads, not processes: name their number, such as gcm-32@16")
    if args.readme and (args.quick or args.against or args.profile or not {"rates", "footprint"} <= set(args.groups)):
        parser.error("--readme is for whole groups, rates and footprint among them")
    args.rounds = args.rounds or (3 if args.quick else 4)
    try:
        os.makedirs(args.out, exist_ok=True)
    except OSError as error:
        parser.error(f"--out: {error}")
    return args


def tell_time(args):
    seconds = 25 + rates.seconds(args.cells, args.rounds, args.against)
    seconds += footprint.SECONDS * ("footprint" in args.groups)
    seconds += sum(growth.SECONDS[part] / (10 if args.quick else 1) for part in growth.PARTS if part in args.groups)
    print(f"this takes about {max(1, round(seconds / 60))} minutes", flush=True)


def put_into_readme(text, picture):
    with open(SOURCE + "/tools/bench/results.svg", "w") as file:
        file.write(picture)
    with open(SOURCE + "/README.md") as file:
        readme = file.read()
    before, rest = readme.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    with open(SOURCE + "/README.md", "w") as file:
        file.write(f"{before}{MARKS[0]}\n{text}{MARKS[1]}{after}")


def save(args, cells, values, taken, grown):
    when = time.strftime("%Y-%m-%d", time.gmtime())
    text = report.markdown(cells, values, grown)
    picture = report.svg(cells)
    for name, content in (("bench.md", text), ("bench.svg", picture)):
        with open(f"{args.out}/{name}", "w") as file:
            file.write(content)
    with open(args.out + "/bench.json", "w") as file:
        json.dump({"machine": platform.platform(), "processors": os.cpu_count(), "rounds": args.rounds, "when": when, "command": sys.argv[1:],
                   "cells": {f"{operation}@{callers}": cell for (operation, callers), cell in cells.items()}, "bars": values, "footprint": taken,
                   "growth": grown}, file, indent=1)
    if args.readme:
        what = " ".join(["tools/bench/run", *sys.argv[1:]])
        put_into_readme(f"\n![Throughput beside SoftHSM in the process](tools/bench/results.svg)\n\n`{what}`, {when}, {os.cpu_count()} processors; medians of "
                        f"{args.rounds} rounds [least-most].\n\n{text}\n{NOT_SHOWN.format(processors=os.cpu_count())}\n\n", picture)


def main():
    args = arguments()
    if args.check:
        return
    tell_time(args)
    region = sides.Region(sides.ENV["dir"] + "/region").make(rates.keys(args.cells))
    region.start()
    if args.profile:
        stages.run(args.cells, region)
        return
    if args.against:
        before = sides.Region(sides.ENV["dir"] + "/before", os.path.realpath(args.against)).make(rates.keys(args.cells))
        before.start()
        cells = rates.run(args.cells, args.rounds, [sides.ours(region), sides.ours(before, "before")])
        print("\n".join(report.against_table(cells)))
        return
    taken = footprint.run(region, args.quick) if "footprint" in args.groups else {} # first, while the daemon has done nothing else
    cells = rates.run(args.cells, args.rounds, [sides.direct(), sides.p11_kit(), sides.ours(region)], region) if args.cells else {}
    region.stop()
    grown = {part: run(args.quick) for part, run in growth.PARTS.items() if part in args.groups}
    values = report.bar_values(cells, taken, grown)
    print(report.markdown(cells, values, grown))
    save(args, cells, values, taken, grown)


main()
