"""borders.py MESSAGES CA PORT US_PORT KEY: another tenant's key and moved envelopes. KEY is acme's, in eu-central."""
import statistics
import sys
import time

from stock import Caller, Checks, common_pb2, crypto_pb2

_, ca, port, us_port, key = sys.argv[1:]
check = Checks()


def caller(region, tenant, role, at=port):
    return Caller(at, f"{ca}/ca.pem", f"{ca}/{region}.{tenant}.{role}.t1")


acme, custodian, umbra = caller("eu-central", "acme", "app"), caller("eu-central", "acme", "custodian"), caller("eu-central", "umbra", "app")
umbra_custodian = caller("eu-central", "umbra", "custodian")
gcm = crypto_pb2.EncryptRequest().mechanism.__class__(type=common_pb2.AES_GCM, tag_bits=128, iv=bytes(12))
ref = lambda name: common_pb2.KeyRef(name=name)
none_of_acme = "bw:eu-central:acme:key/" + "5e" * 16
none_of_umbra = "bw:eu-central:umbra:key/" + "5e" * 16

# ---- another tenant's key is as if it were not there ----

envelope = acme.call("Wrap", key=ref(key), plaintext=b"text").envelope
key_id = bytes.fromhex(key[-32:])
attempts = {  # what umbra tries, as a function of the key's name
    "Encrypt": lambda name: dict(key=ref(name), mechanism=gcm, plaintext=b"x"),
    "Decrypt": lambda name: dict(key=ref(name), mechanism=gcm, ciphertext=b"x" * 20),
    "Sign":    lambda name: dict(key=ref(name), mechanism=common_pb2.Mechanism(type=common_pb2.SHA256_HMAC), data=b"x"),
    "Wrap":    lambda name: dict(key=ref(name), plaintext=b"x"),
    "Unwrap":  lambda name: dict(envelope=envelope.replace(key_id, bytes.fromhex(name[-32:]))),
    "GetKey":  lambda name: dict(name=name),
    "GenerateDataKey": lambda name: dict(key=ref(name)),
}
changes = {
    "RotateKey":  lambda name: dict(name=name),
    "DisableKey": lambda name: dict(name=name),
    "EnableKey":  lambda name: dict(name=name),
    "ScheduleDeletion": lambda name: dict(name=name),
    "SetKeyPolicy": lambda name: dict(name=name, policy='{"rules": []}'),
    "UpdateKey":  lambda name: dict(name=name, fields=["label"], label="mine"),
}
for who, table in ((umbra, attempts), (umbra_custodian, changes)):
    for method, fields in table.items():
        real, none, own = (who.refusal(method, **fields(name)) for name in (key, none_of_acme, none_of_umbra))
        check(f"{method}: another tenant's key answers as one that never was", real.without_id() == none.without_id() and real.reason == "NO_SUCH_KEY",
              f"{real}\n        {none}")
        if method != "Unwrap":
            check(f"{method}: and as one of the caller's own that never was", real.without_id() == own.without_id(), f"{real}\n        {own}")

batch = crypto_pb2.BatchRequest(operations=[crypto_pb2.BatchOperation(encrypt=dict(key=ref(name), mechanism=gcm, plaintext=b"x")) for name in (key, none_of_acme)])
real, none = umbra.call("Batch", batch).results
check("Batch: and so it does inside a batch", real == none and real.error.reason == "NO_SUCH_KEY", real)

sealed = acme.call("GenerateKey", mechanism=common_pb2.Mechanism(type=common_pb2.AES_KEY_GEN),
                   template=crypto_pb2.SessionKeyTemplate(key_type=0x1f, length=32, uses=[common_pb2.ENCRYPT])).key.sealed
refused = umbra.refusal("Encrypt", key=common_pb2.KeyRef(sealed=sealed), mechanism=gcm, plaintext=b"x")
check("another tenant's session key opens for nobody else", refused.reason == "SEALED_KEY_INVALID", refused)

times = {key: [], none_of_acme: []}
for _ in range(300):
    for name, took in times.items():
        begun = time.perf_counter()
        umbra.refusal("Encrypt", **attempts["Encrypt"](name))
        took.append((time.perf_counter() - begun) * 1e6)
print("        microseconds to refuse, median and quartiles: another's key {}, none {}".format(
    *(" ".join(f"{at:.0f}" for at in statistics.quantiles(took, n=4)) for took in times.values())))

# ---- an envelope carries its region ----

home_app, away_app = acme, caller("us-east", "acme", "app", us_port)
refused = away_app.refusal("Unwrap", envelope=envelope)
check("an envelope moved to us-east is refused by name, with its home", (refused.reason, refused.home_region) == ("WRONG_REGION", "eu-central"), refused)
refused = away_app.refusal("Encrypt", key=ref(key), mechanism=gcm, plaintext=b"x")
check("and so is a key's name", (refused.reason, refused.home_region) == ("WRONG_REGION", "eu-central"), refused)


def header(region, tenant, nonce):
    """PROTOCOL.md, "Envelope", of version 1 of the key."""
    short = lambda value: bytes([len(value)]) + value
    rest = bytes([1, 0]) + short(region) + short(tenant) + key_id + (1).to_bytes(4, "big") + short(nonce)
    return b"BWK1" + (len(rest) + 6).to_bytes(2, "big") + rest


def envelope_with(authenticated, shown):
    """By hand, with the master key: what its tag covers, and what its header says."""
    mechanism = common_pb2.Mechanism(type=common_pb2.AES_GCM, tag_bits=128, iv=nonce, aad=authenticated + bytes(2))
    return shown + home_app.call("Encrypt", key=ref(key), mechanism=mechanism, plaintext=b"by hand").ciphertext


nonce = bytes(range(12))
home, away = header(b"eu-central", b"acme", nonce), header(b"us-east", b"acme", nonce)
check("an envelope is what PROTOCOL.md says: one made by hand opens", home_app.call("Unwrap", envelope=envelope_with(home, home)).plaintext == b"by hand")
refused = home_app.refusal("Unwrap", envelope=envelope_with(away, home))
check("one whose region was changed to home's does not: the tag covers the region", refused.reason == "ENVELOPE_INVALID", refused)
wrong = []
for at in range(envelope.index(b"eu-central"), envelope.index(b"eu-central") + 10):
    for bit in range(8):
        moved = bytearray(envelope)
        moved[at] ^= 1 << bit
        refused = home_app.refusal("Unwrap", envelope=bytes(moved))
        if refused.reason not in ("WRONG_REGION", "ENVELOPE_INVALID"):
            wrong.append(refused)
check("no bit of the region can be changed unnoticed", not wrong, wrong)
check.exit()
