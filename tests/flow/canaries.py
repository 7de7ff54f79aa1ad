"""canaries.py MESSAGES CA PORT CANARIES: sends values that can be recognised through every method, in good and in bad requests,
and writes each, with all that the replies held of secrets, to the file CANARIES, a line each. Prints every error."""
import sys

from stock import METHODS, Caller, Refused, common_pb2, request_type, tenants_pb2

_, ca, port, path = sys.argv[1:]
canaries = set()


def canary(name, length=0):
    """Text of at least that length."""
    text = f"canary-{name}-" + "x" * length
    canaries.add(text)
    return text.encode()


def caller(who):
    return Caller(port, f"{ca}/ca.pem", f"{ca}/eu-central.{who}")


app, custodian, auditor, operator = (caller(who) for who in ("acme.app.t1", "acme.custodian.t1", "acme.auditor.t1", "operator.ops"))


def send(who, method, **fields):
    """The reply, or None when it was refused."""
    try:
        return who.call(method, **fields)
    except Refused as refused:
        print(method, refused, refused.packed)
        return None


key, wrapping = (custodian.call("CreateKey", spec=common_pb2.AES_256).key.name for _ in range(2))
rsa = custodian.call("CreateKey", spec=common_pb2.RSA_2048).key.name
mac = custodian.call("CreateKey", spec=common_pb2.HMAC_256).key.name
gcm = dict(type=common_pb2.AES_GCM, tag_bits=128, iv=bytes(12), aad=canary("additional-data"))
oaep = dict(type=common_pb2.RSA_PKCS_OAEP, hash=common_pb2.SHA256, mgf=common_pb2.SHA256, label=canary("oaep-label"))
padded = dict(type=common_pb2.AES_CBC_PAD, iv=bytes(16))
kwp = dict(type=common_pb2.AES_KEY_WRAP_PAD)
session = dict(key_type=0x1f, length=32, uses=[common_pb2.ENCRYPT], extractable=True)
other = key[:-4] + "0000"

for name, mechanism in ((key, gcm), (key, padded), (rsa, oaep)):
    plain = canary("plaintext")
    made = send(app, "Encrypt", key=dict(name=name), mechanism=mechanism, plaintext=plain)
    send(app, "Decrypt", key=dict(name=name), mechanism=mechanism, ciphertext=made.ciphertext)
    send(app, "Decrypt", key=dict(name=name), mechanism=mechanism, ciphertext=canary("ciphertext", 40))
    send(app, "Encrypt", key=dict(name=other), mechanism=mechanism, plaintext=plain)
    send(app, "Encrypt", key=dict(name=wrapping), mechanism=oaep, plaintext=plain)
send(app, "Sign", key=dict(name=mac), mechanism=dict(type=common_pb2.SHA256_HMAC), data=canary("signed"))
send(app, "Verify", key=dict(name=mac), mechanism=dict(type=common_pb2.SHA256_HMAC), data=canary("signed"), signature=canary("signature", 14))
wrapped = send(app, "WrapKey", key=dict(name=wrapping), mechanism=kwp, value=canary("session-key", 12)).wrapped
send(app, "UnwrapKey", key=dict(name=wrapping), mechanism=kwp, wrapped=wrapped, template=dict(session, length=0))
send(app, "UnwrapKey", key=dict(name=wrapping), mechanism=kwp, wrapped=canary("wrapped", 17), template=session)
send(app, "GenerateKey", mechanism=dict(type=common_pb2.AES_KEY_GEN), template=session)
context = [dict(name="where", value=canary("context-value").decode())]
envelope = send(app, "Wrap", key=dict(name=key), plaintext=canary("enveloped"), context=context).envelope
for asked in (context, [dict(name="where", value=canary("context-wrong").decode())], context * 2):
    send(app, "Unwrap", envelope=envelope, context=asked)
    send(app, "Rewrap", envelope=envelope, context=asked, new_context=[dict(name="where", value=canary("context-new").decode())])
    send(app, "GenerateDataKey", key=dict(name=key), context=asked)
    send(app, "Batch", operations=[dict(wrap=dict(key=dict(name=key), plaintext=canary("batched"), context=asked)),
                                   dict(unwrap=dict(envelope=envelope, context=asked)), dict(decrypt=dict(key=dict(name=key), mechanism=gcm, ciphertext=canary("batched-bad")))])
send(app, "Unwrap", envelope=canary("no-envelope"), context=context)
send(operator, "CreateTenant", name="held", activation=tenants_pb2.CUSTOMER_HELD, pin=canary("pin-of-tenant"))
send(operator, "ActivateTenant", name="held", pin=canary("pin-wrong"))
send(operator, "SealTenant", name="held")
send(operator, "ActivateTenant", name="held", pin=canary("pin-of-tenant"))
send(custodian, "ActivateTenant", pin=canary("pin-of-nobody"))

# bytes that are no message, full of it, and names that are none
for method in METHODS:
    for who in (app, custodian, operator):
        junk = canary("junk")
        for packed in (junk, b"\x0a" + bytes([len(junk)]) + junk, b"\xfa\x7f" + bytes([len(junk)]) + junk):
            try:
                who.call(method, packed)
            except Refused as refused:
                print(method, refused, refused.packed)
for method in ("Encrypt", "Decrypt", "Sign", "Wrap", "GenerateDataKey"):
    send(app, method, key=dict(name=canary("no-key-name").decode()))
    send(app, method, key=dict(sealed=canary("no-sealed-key", 64)), **({} if "mechanism" not in request_type(method).DESCRIPTOR.fields_by_name else dict(mechanism=dict(gcm))))

drawn = send(app, "Random", length=32).random.hex()
data_key = send(app, "GenerateDataKey", key=dict(name=key)).plaintext.hex()
with open(path, "w") as file:
    print(*sorted(canaries), drawn, data_key, sep="\n", file=file)
