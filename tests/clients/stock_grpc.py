#!/usr/bin/python3
"""Stock gRPC (Debian's python3-grpcio) against a running bailiwickd: health, reflection, and what is refused.

usage: stock_grpc.py ADDRESS CA CERTIFICATE KEY

Nothing of ours is generated or imported: requests are a few bytes by hand, as any tool would send them.
"""
import subprocess
import sys

import grpc

ADDRESS, CA, CERTIFICATE, KEY = sys.argv[1:5]
failures = 0


def read(path):
    with open(path, "rb") as file:
        return file.read()


def channel(with_certificate=True):
    pair = (read(KEY), read(CERTIFICATE)) if with_certificate else (None, None)
    return grpc.secure_channel(ADDRESS, grpc.ssl_channel_credentials(read(CA), *pair))


def status_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def check(sentence, holds):
    global failures
    failures += not holds
    print(("ok      " if holds else "FAILED  ") + sentence)


def text(number, value):
    return bytes([number << 3 | 2, len(value)]) + value.encode()


SERVING, SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x03"
node = channel()

health = node.unary_unary("/grpc.health.v1.Health/Check")
check("the node is serving", health(b"", timeout=5) == SERVING)
check("so is one of its services", health(text(1, "bailiwick.v1.Keys"), timeout=5) == SERVING)
check("a service that it has not is not found", status_of(lambda: health(text(1, "no.such"), timeout=5)) == "NOT_FOUND")
check("a request that is none is refused", status_of(lambda: health(b"\xff", timeout=5)) == "INVALID_ARGUMENT")

watch = node.unary_stream("/grpc.health.v1.Health/Watch")
first = watch(b"", timeout=5)
check("who watches hears at once that it serves", next(first) == SERVING)
first.cancel()
unknown = watch(text(1, "no.such"), timeout=5)
check("who watches an unknown service hears that it is unknown", next(unknown) == SERVICE_UNKNOWN)
unknown.cancel()

reflect = node.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
answers = list(reflect(iter([text(7, ""), text(4, "bailiwick.v1.Crypto.Decrypt"), text(4, "bailiwick.v1.RecordEssential.event_id"),
                             text(3, "bailiwick/v1/keys.proto"), text(3, "google/protobuf/any.proto"), text(4, "bailiwick.v1.Nothing")]), timeout=5))
check("reflection answers each request", len(answers) == 6)
check("it lists our services", all(name in answers[0] for name in (b"bailiwick.v1.Crypto", b"bailiwick.v1.Keys", b"grpc.health.v1.Health")))
check("it finds a method's file", b"bailiwick/v1/crypto.proto" in answers[1])
check("it finds a field's file", b"bailiwick/v1/record.proto" in answers[2])
check("it gives a file by name", b"CreateKeyRequest" in answers[3])
check("it gives what our files import", b"type_url" in answers[4])
check("a symbol that is none is not found", b"not found" in answers[5])

check("an unknown method is unimplemented, at once", status_of(lambda: node.unary_unary("/bailiwick.v1.Crypto/Nothing")(b"", timeout=5)) == "UNIMPLEMENTED")
check("a message over the limit is refused",
      status_of(lambda: node.unary_unary("/bailiwick.v1.Region/Describe")(b"x" * 1100000, timeout=5)) == "RESOURCE_EXHAUSTED")
check("a node describes itself", status_of(lambda: node.unary_unary("/bailiwick.v1.Region/Describe")(b"", timeout=5)) == "OK")
check("without a client certificate nothing is served",
      status_of(lambda: channel(False).unary_unary("/bailiwick.v1.Region/Describe")(b"", timeout=5)) == "UNAVAILABLE")


def cipher(version):
    tried = subprocess.run(["openssl", "s_client", "-connect", ADDRESS, version, "-cert", CERTIFICATE, "-key", KEY],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
    return tried.stdout.split("Cipher is ")[1].split()[0]


check("TLS 1.3 is spoken", cipher("-tls1_3").startswith("TLS_"))
check("TLS 1.2 is refused", cipher("-tls1_2") == "(NONE)")
sys.exit(1 if failures else 0)
