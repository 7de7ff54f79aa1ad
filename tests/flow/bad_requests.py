"""bad_requests.py MESSAGES CA PORT: malformed, oversized, unknown and out-of-order requests to every method. Each gets a
typed error that names the field, each is on record, and the daemon stays well. Then batches, and requests sent twice."""
import collections
import concurrent.futures
import os
import sys
import time

import grpc
from google.protobuf.descriptor import FieldDescriptor as Field

from stock import METHODS, SERVICES, Caller, Checks, Refused, common_pb2, crypto_pb2, keys_pb2, numbered, record_pb2, request_type, tenants_pb2

_, ca, port = sys.argv[1:]
check = Checks()


def caller(who):
    return Caller(port, f"{ca}/ca.pem", f"{ca}/eu-central.{who}")


app, custodian, auditor, operator = (caller(who) for who in ("acme.app.t1", "acme.custodian.t1", "acme.auditor.t1", "operator.ops"))
key = custodian.call("CreateKey", spec=common_pb2.AES_256).key.name
wrapping = custodian.call("CreateKey", spec=common_pb2.AES_256).key.name
signing = custodian.call("CreateKey", spec=common_pb2.EC_P256).key.name
doomed = [custodian.call("CreateKey", spec=common_pb2.AES_128).key.name for _ in range(3)]
waiting = custodian.call("CreateKey", spec=common_pb2.AES_256, origin=keys_pb2.IMPORTED).key.name
envelope = app.call("Wrap", key=dict(name=key), plaintext=b"text").envelope
gcm = dict(type=common_pb2.AES_GCM, tag_bits=128, iv=bytes(12))
cipher = app.call("Encrypt", key=dict(name=key), mechanism=gcm, plaintext=b"text").ciphertext
session = dict(key_type=0x1f, length=32, uses=[common_pb2.ENCRYPT])
wrapped = app.call("WrapKey", key=dict(name=wrapping), mechanism=dict(type=common_pb2.AES_KEY_WRAP_PAD), value=bytes(32)).wrapped
signature = app.call("Sign", key=dict(name=signing), mechanism=dict(type=common_pb2.ECDSA), data=bytes(32)).signature
curve_point = app.call("GetKey", name=signing).key.versions[0].public_key[-65:]

# Of each method a request that is good, and who may send it: what is wrong below is what was made wrong.
GOOD = {
    "Encrypt": (app, dict(key=dict(name=key), mechanism=gcm, plaintext=b"text")),
    "Decrypt": (app, dict(key=dict(name=key), mechanism=gcm, ciphertext=cipher)),
    "Sign": (app, dict(key=dict(name=signing), mechanism=dict(type=common_pb2.ECDSA), data=bytes(32))),
    "Verify": (app, dict(key=dict(name=signing), mechanism=dict(type=common_pb2.ECDSA), data=bytes(32), signature=signature)),
    "WrapKey": (app, dict(key=dict(name=wrapping), mechanism=dict(type=common_pb2.AES_KEY_WRAP_PAD), value=bytes(32))),
    "UnwrapKey": (app, dict(key=dict(name=wrapping), mechanism=dict(type=common_pb2.AES_KEY_WRAP_PAD), wrapped=wrapped, template=session)),
    "GenerateKey": (app, dict(mechanism=dict(type=common_pb2.AES_KEY_GEN), template=session)),
    "DeriveKey": (app, dict(key=dict(name=signing), mechanism=dict(type=common_pb2.ECDH1_DERIVE, peer=curve_point), template=session)),
    "ImportSessionKey": (app, dict(value=bytes(32), template=session)),
    "Wrap": (app, dict(key=dict(name=key), plaintext=b"text")),
    "Unwrap": (app, dict(envelope=envelope)),
    "Rewrap": (app, dict(envelope=envelope)),
    "GenerateDataKey": (app, dict(key=dict(name=key))),
    "Random": (app, dict(length=16)),
    "Batch": (app, dict(operations=[dict(random=dict(length=16))])),
    "CreateKey": (custodian, dict(spec=common_pb2.AES_128)),
    "GetKey": (app, dict(name=key)),
    "ListKeys": (app, dict()),
    "UpdateKey": (custodian, dict(name=key, fields=["description"], description="text")),
    "RotateKey": (custodian, dict(name=doomed[0])),
    "EnableKey": (custodian, dict(name=doomed[0])),
    "DisableKey": (custodian, dict(name=doomed[0])),
    "ScheduleDeletion": (custodian, dict(name=doomed[0], days=7)),
    "CancelDeletion": (custodian, dict(name=doomed[0])),
    "SetKeyPolicy": (custodian, dict(name=key, policy='{"rules": [{"name": "all"}]}')),
    "TestKeyPolicy": (auditor, dict(name=key, policy='{"rules": []}')),
    "PurgeKey": (custodian, dict(name=doomed[0])),
    "CreateGrant": (custodian, dict(name=key, terms='{"principals": ["app/t1"]}', expires_us=int((time.time() + 3600) * 1e6))),
    "ListGrants": (custodian, dict(name=key)),
    "RevokeGrant": (custodian, dict(name=key, id="00" * 16)),
    "GetImportParameters": (custodian, dict(name=waiting)),
    "ImportKeyMaterial": (custodian, dict(name=waiting, import_token=bytes(48), mechanism=dict(type=common_pb2.RSA_PKCS_OAEP, hash=common_pb2.SHA1,
                                                                                              mgf=common_pb2.SHA1), wrapped=bytes(512))),
    "CreateTenant": (operator, dict(name="newcomer", activation=tenants_pb2.OPERATOR_HELD)),
    "GetTenant": (app, dict()),
    "ListTenants": (operator, dict()),
    "SealTenant": (operator, dict(name="newcomer")),
    "ActivateTenant": (operator, dict(name="newcomer")),
    "SetTenantPolicy": (custodian, dict(policy="{}")),
    "RevokePrincipal": (custodian, dict(principal="spiffe://test.example/region/eu-central/tenant/acme/app/nobody")),
    "ListRevoked": (custodian, dict()),
    "ListProposals": (custodian, dict()),
    "GetProposal": (auditor, dict(id=bytes(16))),
    "ApproveProposal": (custodian, dict(id=bytes(16))),
    "RejectProposal": (custodian, dict(id=bytes(16))),
    "PutObject": (custodian, dict(object=dict(value=b"data", label="data"))),
    "ListObjects": (app, dict()),
    "DeleteObject": (custodian, dict(id=bytes(16))),
    "Query": (auditor, dict()),
    "GetCheckpoint": (auditor, dict(size=1)),
    "GetRecord": (auditor, dict()),
    "GetTile": (auditor, dict(width=1)),
    "GetEntries": (auditor, dict(count=1)),
    "Follow": (auditor, dict(limit=1)),
    "Describe": (app, dict()),
}
assert set(GOOD) == set(METHODS), set(GOOD) ^ set(METHODS)

refused = []  # (method, caller, refusal)


def refuse(method, packed, reasons, field=None):
    """That the request is refused for one of the reasons, at that field; what is wrong, else None."""
    who = GOOD[method][0]
    try:
        who.call(method, packed)
        return f"{method}, {field or ''}: not refused: {packed[-40:]!r}, {len(packed)} bytes"
    except Refused as refusal:
        refused.append((method, who, refusal))
        if refusal.reason not in reasons or (field is not None and refusal.field != field and not refusal.field.startswith(field + ".")):
            return f"{method}, {field or ''}: {refusal}"
        return None


def check_all(sentence, outcomes):
    outcomes = list(outcomes)
    wrong = [each for each in outcomes if each]
    check(f"{sentence} ({len(outcomes)} requests)", outcomes and not wrong, "\n        ".join(wrong[:40]))


# ---- the wire, by hand ----

def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def number_field(number, value):
    return varint(number << 3) + varint(value)


def bytes_field(number, value):
    return varint(number << 3 | 2) + varint(len(value)) + value


def good(method):
    return request_type(method)(**GOOD[method][1]).SerializeToString()


# ---- what is no message of the type, or has what the type has not ----

ARGUMENT = {"BAD_ARGUMENT"}
check_all("bytes that are no message", (refuse(method, junk, ARGUMENT) for method in METHODS for junk in
                                        (b"\xff\xff\xff\xff", good(method) + b"\x0a\x7fshort", b"\x0b" * 500, number_field(1, 1))))
check_all("a field that nobody knows", (refuse(method, good(method) + bytes_field(5000, b"new"), ARGUMENT, "(unknown)" if method != "Batch" else "operations")
                                        for method in METHODS))

# ---- every field of every message, with what it cannot be ----

ANY_REASON = ARGUMENT | {"TOO_LARGE", "MECHANISM_INVALID", "MECHANISM_PARAM", "TEMPLATE_INVALID", "ENVELOPE_INVALID", "NO_SUCH_KEY", "KEY_SIZE"}
LARGE = b"x" * 900_000
# Numbers that may be anything, and generations that are compared, not checked.
FREE = {"generation", "from_index", "keep_context", "without_plaintext", "newest_first", "region", "usable", "extractable", "created_us", "class", "id", "owner"}


def wrong_values(field):
    """Of one field, on the wire: values that it cannot have."""
    if field.type == Field.TYPE_STRING:
        yield from (bytes_field(field.number, value) for value in (b"\x01", b"\xff\xfe", b"a\0b", b"x" * 70_000, LARGE))
    elif field.type == Field.TYPE_BYTES:
        yield bytes_field(field.number, LARGE)
    elif field.type == Field.TYPE_ENUM:
        yield number_field(field.number, 9999)
    elif field.type == Field.TYPE_UINT32:
        yield number_field(field.number, 0xffffffff)
    elif field.type == Field.TYPE_INT64:
        yield number_field(field.number, 1 << 63)
    if field.label == Field.LABEL_REPEATED and field.type != Field.TYPE_MESSAGE:
        yield (number_field(field.number, 1) if field.type == Field.TYPE_ENUM else bytes_field(field.number, b"x")) * 2000


def wrong_fields(message):
    """Path and bytes to append, of every field down to the last."""
    for field in message.fields:
        if field.name in FREE:
            continue
        for value in wrong_values(field):
            yield field.name, value
        if field.type == Field.TYPE_MESSAGE:
            yield field.name, bytes_field(field.number, bytes_field(5000, b"new"))
            if field.label == Field.LABEL_REPEATED:
                yield field.name, bytes_field(field.number, b"") * 2000
            elif field.message_type.name != "BatchOperation":
                for _, value in wrong_fields(field.message_type):
                    yield field.name, bytes_field(field.number, value)


check_all("every field, with what it cannot be, is named", (refuse(method, good(method) + value, ANY_REASON, field) for method in METHODS
                                                            for field, value in wrong_fields(SERVICES[method][1].input_type)))
check_all("a request id that is none", (refuse(method, good(method) + bytes_field(1, bytes(length)), ARGUMENT, "request_id")
                                        for method in METHODS if method != "Batch" for length in (1, 15, 17, 4096)))


def without(method, field):
    message = request_type(method)(**GOOD[method][1])
    message.ClearField(field)
    return message.SerializeToString()


NEEDED = [("Encrypt", "key"), ("Decrypt", "key"), ("Sign", "key"), ("Verify", "key"), ("Verify", "signature"), ("WrapKey", "key"), ("UnwrapKey", "key"),
          ("UnwrapKey", "wrapped"), ("UnwrapKey", "template"), ("GenerateKey", "template"), ("DeriveKey", "key"), ("DeriveKey", "template"), ("Wrap", "key"),
          ("Unwrap", "envelope"), ("Rewrap", "envelope"), ("GenerateDataKey", "key"), ("Random", "length"), ("Batch", "operations"), ("CreateKey", "spec"),
          ("GetKey", "name"), ("UpdateKey", "name"), ("UpdateKey", "fields"), ("RotateKey", "name"), ("EnableKey", "name"), ("DisableKey", "name"),
          ("ScheduleDeletion", "name"), ("CancelDeletion", "name"), ("SetKeyPolicy", "name"), ("SetKeyPolicy", "policy"), ("TestKeyPolicy", "name"), ("TestKeyPolicy", "policy"), ("CreateGrant", "name"), ("CreateGrant", "terms"), ("CreateGrant", "expires_us"),
          ("ListGrants", "name"), ("RevokeGrant", "name"), ("RevokeGrant", "id"), ("GetImportParameters", "name"),
          ("ImportKeyMaterial", "name"), ("ImportKeyMaterial", "import_token"), ("ImportKeyMaterial", "wrapped"), ("CreateTenant", "name"),
          ("CreateTenant", "activation"), ("RevokePrincipal", "principal"), ("PutObject", "object"), ("DeleteObject", "id"), ("SetTenantPolicy", "policy"), ("PurgeKey", "name"),
          ("GetProposal", "id"), ("ApproveProposal", "id"), ("RejectProposal", "id")]
check_all("a field that is missing", (refuse(method, without(method, field), ARGUMENT, field) for method, field in NEEDED))
check_all("a mechanism that is missing", (refuse(method, without(method, "mechanism"), {"MECHANISM_INVALID"}, "mechanism")
                                          for method in ("Encrypt", "Decrypt", "Sign", "Verify", "WrapKey", "UnwrapKey", "GenerateKey", "DeriveKey", "ImportKeyMaterial")))

# ---- more than a message may hold: the C core reads no further ----

for method in METHODS:
    try:
        GOOD[method][0].call(method, bytes_field(4, bytes(1 << 21)))
        check(f"{method}: a message of two mebibytes is refused", False)
    except Refused as refusal:
        if refusal.code != grpc.StatusCode.RESOURCE_EXHAUSTED:
            check(f"{method}: a message of two mebibytes is refused", False, refusal)
check("messages of two mebibytes are read by nobody", app.call("Describe").region == "eu-central")

# ---- in the wrong order, to the wrong place, or not as a unary call ----

for state in (dict(name=doomed[1]),):
    refusal = custodian.refusal("CancelDeletion", **state)
    check("a deletion that nobody asked for cannot be cancelled", refusal.reason == "KEY_STATE", refusal)
    custodian.call("ScheduleDeletion", **state, days=20)
    for method, reason, more in (("ScheduleDeletion", "KEY_STATE", dict(days=7)), ("RotateKey", "KEY_STATE", {}), ("EnableKey", "KEY_STATE", {})):
        refusal = custodian.refusal(method, **state, **more)
        check(f"{method} of a key that waits for its deletion", refusal.reason in (reason, "BAD_ARGUMENT"), refusal)
    refusal = app.refusal("Wrap", key=state, plaintext=b"text")
    check("and it does nothing more", refusal.reason == "KEY_STATE", refusal)
refusal = operator.refusal("ActivateTenant", name="nobody")
check("nobody's tenant is activated", refusal.reason == "NO_SUCH_TENANT", refusal)

for path in ("/bailiwick.v1.Crypto/Melt", "/bailiwick.v9.Crypto/Encrypt", "/", "/x", "/bailiwick.v1.Crypto/", "/" + "a" * 4000):
    try:
        app.send(path, b"")
        check(f"{path[:40]} is no method", False)
    except Refused as refusal:
        check(f"{path[:40]} is no method", (refusal.code, refusal.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED"), refusal)
        refused.append(("unknown", app, refusal))

for count in (0, 2):
    try:
        app.channel.stream_unary("/bailiwick.v1.Crypto/Random")(iter([good("Random")] * count), timeout=5)
        said = "answered"
    except grpc.RpcError as error:
        said = error.code().name
    check(f"a call with {count} requests ends", said != "DEADLINE_EXCEEDED", said)

# ---- batches ----

good_one, bad_one = dict(random=dict(length=16)), dict(random=dict(length=0))
operations = [good_one, bad_one, dict(wrap=dict(key=dict(name=key), plaintext=b"text")), dict(unwrap=dict(envelope=b"no envelope")),
              dict(encrypt=dict(key=dict(name=key[:-1] + ("0" if key[-1] != "0" else "1")), mechanism=gcm, plaintext=b"x")),
              dict(unwrap=dict(envelope=envelope.replace(b"eu-central", b"eu-centrak"))), good_one]
results = app.call("Batch", operations=operations).results
told = [(result.WhichOneof("result"), result.error.reason, result.error.field, result.error.home_region) for result in results]
check("a batch of good and bad gives each its own", told == [
    ("random", "", "", ""), ("error", "BAD_ARGUMENT", "length", ""), ("wrap", "", "", ""), ("error", "ENVELOPE_INVALID", "envelope", ""),
    ("error", "NO_SUCH_KEY", "", ""), ("error", "WRONG_REGION", "", "eu-centrak"), ("random", "", "", "")], told)
check("each with its own record", results[0].random.receipt.index != results[-1].random.receipt.index and results[0].random.random != results[-1].random.random)
check("and what was wrapped in it opens", app.call("Unwrap", envelope=results[2].wrap.envelope).plaintext == b"text")
check("256 operations are a batch", len(app.call("Batch", operations=[good_one] * 256).results) == 256)
# What is slow runs on workers side by side, each in memory of its own, while what is fast runs where it arrived.
kinds = [dict(sign=dict(key=dict(name=signing), mechanism=dict(type=common_pb2.ECDSA), data=bytes(31) + bytes([i]))) if i % 3 == 0 else
         dict(encrypt=dict(key=dict(name=key), mechanism=gcm, plaintext=bytes([i]))) if i % 3 == 1 else bad_one for i in range(96)]
results = app.call("Batch", operations=kinds).results
check("each result stands where its operation stood, whoever was faster",
      [result.WhichOneof("result") for result in results] == ["sign", "encrypt", "error"] * 32)
check("and is of its own operation", all(
    app.call("Verify", key=dict(name=signing), mechanism=dict(type=common_pb2.ECDSA), data=bytes(31) + bytes([i]), signature=results[i].sign.signature) is not None
    and app.call("Decrypt", key=dict(name=key), mechanism=gcm, ciphertext=results[i + 1].encrypt.ciphertext).plaintext == bytes([i + 1])
    for i in range(0, 96, 3)))
check("with a place of its own in the log", len({part.receipt.index for i in range(0, 96, 3) for part in (results[i].sign, results[i + 1].encrypt)}) == 64)
check_all("257 are not, nor is none", [refuse("Batch", crypto_pb2.BatchRequest(operations=[good_one] * 257).SerializeToString(), {"TOO_LARGE"}, "operations"),
                                       refuse("Batch", bytes_field(1, bytes_field(99, b"new")), ARGUMENT, "operations")])

# ---- sent twice ----

again = keys_pb2.CreateKeyRequest(request_id=os.urandom(16), spec=common_pb2.AES_256, label="made once")
first, second = custodian.call("CreateKey", again), custodian.call("CreateKey", again)
check("a change sent twice gets the first reply", first.key == second.key and first.receipt.request_id == second.receipt.request_id == again.request_id, second)
check("and is done once", len(app.call("ListKeys", label="made once").keys) == 1)
other = keys_pb2.CreateKeyRequest(request_id=again.request_id, spec=common_pb2.AES_256, label="made again")
for sentence, who, method, request in (
        ("another request under its id", custodian, "CreateKey", other),
        ("another method under its id", custodian, "RotateKey", keys_pb2.RotateKeyRequest(request_id=again.request_id, name=key)),
        ("another caller under its id", caller("acme.custodian.t2"), "CreateKey", again)):
    refusal = who.refusal(method, request)
    check(f"{sentence} is refused", (refusal.reason, refusal.field) == ("REQUEST_REUSED", "request_id"), refusal)

rotation = keys_pb2.RotateKeyRequest(request_id=os.urandom(16), name=doomed[2])
callers = [caller("acme.custodian.t1") for _ in range(8)]
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    def rotate(who):
        try:
            return who.call("RotateKey", rotation).key.primary_version
        except Refused as refusal:
            return str(refusal)
    versions = list(pool.map(rotate, callers))
now = app.call("GetKey", name=doomed[2]).key.primary_version
check("a change sent eight times at once is done once, and eight callers hear so", now == 2 and set(versions) == {2}, (now, versions))

use = dict(GOOD["Random"][1], request_id=os.urandom(16))
one, two = (app.call("Random", **use) for _ in range(2))
check("a use sent twice is done twice, on record under one id", one.receipt.index < two.receipt.index and one.receipt.request_id == two.receipt.request_id)

# ---- on record ----


def records(who, **query):
    """All pages."""
    query, more = dict(query, limit=1000), True
    while more:
        reply = who.call("Query", **query)
        yield from reply.records
        query["from_index"], more = reply.next_index, reply.more


denials = collections.Counter((record.who.request_id.hex(), record.essential.outcome) for record in records(auditor))
acme = [(method, refusal) for method, who, refusal in refused if who is not operator]
missing = [f"{method}: {refusal}" for method, refusal in acme if (refusal.request_id, record_pb2.DENIED) not in denials]
check(f"each of {len(acme)} refusals is on record in acme's log", not missing, "\n        ".join(missing[:10]))

operation, reason = numbered("proto/methods.def", "BW_METHOD", 2), numbered("include/bailiwick/results.def", "BW_CODE", 1)
# Of the operator's, in the region's log, repetitions within a second share a record.
operators = {(method, refusal.reason) for method, who, refusal in refused if who is operator}
recorded = {(operation.get(record.essential.operation), reason[record.essential.reason]) for record in records(operator, region=True)}
check(f"each of {len(operators)} kinds of refusals of the operator is in the region's log", operators <= recorded, operators - recorded)

# ---- and the daemon is well ----

check("the daemon says that it serves", app.health() == "SERVING")
check("and does", app.call("Unwrap", envelope=envelope).plaintext == b"text")
check.exit()
