"""follow.py MESSAGES PORT CA REGION KEY: a stock gRPC client that follows the log."""
import os
import pathlib
import signal
import sys
import time

import grpc
from stock import Caller, Checks, Refused, audit_pb2, crypto_pb2

_, _, port, ca, region, key = sys.argv
caller = lambda role, name="t1": Caller(port, f"{ca}/ca.pem", f"{ca}/eu-central.acme.{role}.{name}")
app, custodian, auditor = caller("app"), caller("custodian"), caller("auditor")
check = Checks()


def follow(who=auditor, timeout=60, **fields):
    """The stream, an iterator of FollowReply."""
    return who.channel.unary_stream("/bailiwick.v1.Audit/Follow", request_serializer=audit_pb2.FollowRequest.SerializeToString,
                                    response_deserializer=audit_pb2.FollowReply.FromString)(audit_pb2.FollowRequest(**fields), timeout=timeout)


def how_it_ends(stream):
    try:
        for _ in stream:
            pass
    except grpc.RpcError as error:
        return Refused(error)
    return None


def take(stream, until):
    """Indexes of the records up to that many, and next_index after each message."""
    indexes = []
    for message in stream:
        indexes += [record.index for record in message.records]
        if len(indexes) >= until:
            stream.cancel()
            return indexes, message.next_index
    return indexes, None


def wrap(count=1):
    one = dict(wrap=dict(key=dict(name=key), plaintext=b"text"))
    for _ in range(count // 256):
        assert all(result.WhichOneof("result") == "wrap" for result in app.call("Batch", operations=[one] * 256).results)
    for _ in range(count % 256):
        app.call("Wrap", key=dict(name=key), plaintext=b"text")


wrap(40)
size = auditor.call("Query", limit=1).log_size
indexes, next_index = take(follow(), size)
check("a stream from the beginning has every record once, in order", indexes == list(range(size)) and next_index == size, indexes)

wrong = []
for begin in range(size):
    first, after = take(follow(from_index=begin, limit=1), 1)
    rest, end = take(follow(from_index=after, limit=7), size - after) if after < size else ([], size)
    if first + rest != list(range(begin, size)) or end != size:
        wrong.append((begin, first, rest, end))
check(f"who asks again at any of {size} boundaries misses nothing and gets nothing twice", not wrong, wrong)

stream = follow(from_index=size)
first = next(stream)
check("at the end there is a first message all the same, with the log's checkpoint", not first.records and first.checkpoint.size >= 1, first)
wrap()
begun = time.monotonic()
news = next(message for message in stream if message.records)
check("a new record comes by itself, within a second", [record.index for record in news.records] == [size] and time.monotonic() - begun < 1, news)
newer = next(message.checkpoint for message in stream if message.checkpoint.size > first.checkpoint.size)
check("and then a checkpoint that goes on from the one told before", newer.from_size == first.checkpoint.size and len(newer.consistency) > 0 and newer.size > size, newer)
stream.cancel()

stream = follow(from_index=size + 1, heartbeat_s=1)
beats = [next(stream) for _ in range(3)]
check("an idle log is heard of each second, when asked", all(beat.checkpoint.note and beat.next_index == size + 1 for beat in beats), beats)
stream.cancel()

only = take(follow(key=key, operations=["Wrap"]), 41)[0]
check("a filter is Query's", only == [record.index for record in auditor.call("Query", key=key, operations=["Wrap"], limit=1000).records], only)

for fields, what in ((dict(from_index=10**6), "a position"), (dict(checkpoint_size=10**6), "a checkpoint"), (dict(from_index=2**64 - 1), "the last position there can be")):
    refusal = how_it_ends(follow(**fields))
    check(f"{what} beyond the log's end is data loss", (refusal.code, refusal.reason) == (grpc.StatusCode.DATA_LOSS, "LOG_POSITION"), refusal)
refusal = how_it_ends(follow(app))
check("an application may not", refusal.reason == "NOT_PERMITTED", refusal)
refusal = how_it_ends(follow(region=True))
check("nor is the region's log an auditor's", refusal.reason == "NOT_PERMITTED", refusal)
denied = auditor.call("Query", operations=["Follow"], limit=100).records
check("and that is on record", [record.essential.reason for record in denied].count(4) == 2, denied)

# ---- who does not read ----

def resident():
    return int(next(line for line in pathlib.Path("/proc", pathlib.Path(region, "pid").read_text().strip(), "status").read_text().splitlines()
                    if line.startswith("VmRSS")).split()[1])


wrap(256)
before = resident()
sleepers = [follow(caller("auditor")) for _ in range(8)]
for sleeper in sleepers:
    next(sleeper)
wrap(256 * 24)
size = auditor.call("Query", limit=1).log_size
indexes, _ = take(follow(limit=256), size)
check("who does not read keeps nobody else from reading", indexes == list(range(size)), len(indexes))
check(f"and costs no memory: {resident() - before} KiB for {len(sleepers)} of them", resident() - before < 48 * 1024, resident() - before)
held = [record.index for message in [next(sleepers[0]) for _ in range(20)] for record in message.records]
check("and gets the rest when he does", held == list(range(held[0], held[0] + len(held))), held)

streams = [follow(caller("auditor"), from_index=size) for _ in range(40)]
refusals = []
for stream in streams:
    try:
        next(stream)
    except grpc.RpcError as error:
        refusals.append(Refused(error).reason)
check("a log has so many streams and no more", set(refusals) == {"OVERLOADED"} and len(refusals) >= 8, refusals)
for stream in streams + sleepers:
    stream.cancel()

# ---- who may not any more ----

leaver = caller("auditor", "leaver")
deadline = time.monotonic() + 20
while True: # until the places of those who left are free
    stream = follow(leaver, from_index=size, heartbeat_s=60)
    try:
        next(stream)
        break
    except grpc.RpcError as error:
        assert Refused(error).reason == "OVERLOADED" and time.monotonic() < deadline, error
custodian.call("RevokePrincipal", principal="spiffe://test.example/region/eu-central/tenant/acme/auditor/leaver")
begun = time.monotonic()
refusal = how_it_ends(stream)
check("revoking an auditor ends his stream at once", refusal.reason == "REVOKED" and time.monotonic() - begun < 1.5, (refusal, time.monotonic() - begun))

# ---- the end ----

stream, sleeper = follow(from_index=size, heartbeat_s=60), follow(limit=256)
next(stream)
begun = time.monotonic()
os.kill(int(pathlib.Path(region, "pid").read_text()), signal.SIGTERM)
refusal = how_it_ends(stream)
check("a daemon that stops ends streams with a word", (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN"), refusal)
while os.path.exists(f"/proc/{pathlib.Path(region, 'pid').read_text().strip()}/exe"):
    if time.monotonic() - begun > 20:
        break
    time.sleep(0.05)
check("and does not wait for who does not read", time.monotonic() - begun < 8, time.monotonic() - begun)
check.exit()
