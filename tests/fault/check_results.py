"""check_results.py WHAT RESULTS RECORDS PROMISED KEYS STORE AUDIT: what must hold after WHAT ("50 kills") happened to a daemon
under load.

RESULTS   a line for each result a caller received: index in the log, request id
RECORDS   the whole log, as bailiwick audit query tells it
PROMISED  names of keys whose making was acknowledged;  KEYS  those that are there, as bailiwick key list tells it
STORE, AUDIT  folders of databases"""
import json
import pathlib
import sqlite3
import sys

what, results, records, promised, keys, store, audit = sys.argv[1:]


def lines(path):
    return pathlib.Path(path).read_text().splitlines()


def check(sentence, wrong):
    """wrong: what contradicts the sentence."""
    print(("FAILED  " if wrong else "ok      ") + sentence + "".join(f"\n        {each}" for each in wrong[:5]))
    return not wrong


def integrity(folder):
    for path in pathlib.Path(folder).glob("*.db"):
        said = sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone()[0]
        if said != "ok":
            yield f"{path}: {said}"


log = [json.loads(line) for line in lines(records)]
essential = {record["index"]: record["essential"] for record in log}
request_of = {record["index"]: record["who"]["request_id"] for record in log}
received = [(int(index), request) for index, request in map(str.split, lines(results))]
closed = {each["intent_index"] - 1 for each in essential.values() if each["intent_index"] > 0}
there = {json.loads(line)["name"] for line in lines(keys)}

is_granted = lambda index: index in essential and (essential[index]["operation"], essential[index]["outcome"]) == ("Encrypt", "GRANTED")
good = [
    check(f"after {what} each of {len(received)} results that callers received has its GRANTED record",
          [each for each in received if not is_granted(each[0]) or request_of[each[0]] != each[1]]),
    check("no two of them have the same", [] if len({index for index, _ in received}) == len(received) else ["one index twice"]),
    check(f"the {len(log)} records are counted from 0, without a gap or a duplicate",
          [f"{index} where {place} should be" for place, index in enumerate(record["index"] for record in log) if place != index]),
    check("every intent has its outcome", [index for index, each in essential.items() if each["outcome"] == "INTENT" and index not in closed]),
    check(f"each of {len(lines(promised))} keys whose making was acknowledged is there", [name for name in lines(promised) if name not in there]),
    check("the databases are sound", [*integrity(store), *integrity(audit)]),
    check("there was something to lose", [] if len(received) > 100 and len(lines(promised)) > 0 else ["too few results or keys"]),
]
sys.exit(0 if all(good) else 1)
