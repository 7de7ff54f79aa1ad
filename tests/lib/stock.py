"""A stock gRPC client's view of a region, for tests: protoc's messages, channels with certificates, and what a refusal says.

The first argument of a script that imports this is the folder of protoc's Python."""
import importlib.util
import pathlib
import re
import sys

import grpc

MESSAGES = pathlib.Path(sys.argv[1])
sys.path.append(str(MESSAGES))
from bailiwick.v1 import audit_pb2, common_pb2, crypto_pb2, keys_pb2, objects_pb2, proposals_pb2, record_pb2, region_pb2, tenants_pb2  # noqa: E402,F401


def load(name):
    """Modules in folders that are called like grpcio's own package are loaded by their path."""
    path = MESSAGES / (name.replace(".", "/") + "_pb2.py")
    spec = importlib.util.spec_from_file_location(name.replace(".", "_") + "_pb2", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


status_pb2 = load("google.rpc.status")

SERVICES = {method.name: (file.package + "." + service.name, method)
            for file, service in ((module.DESCRIPTOR, service) for module in (crypto_pb2, keys_pb2, tenants_pb2, proposals_pb2, objects_pb2, audit_pb2, region_pb2)
                                  for service in module.DESCRIPTOR.services_by_name.values())
            for method in service.methods}
METHODS = list(SERVICES)


def request_type(method):
    return SERVICES[method][1].input_type._concrete_class


def reply_type(method):
    return SERVICES[method][1].output_type._concrete_class


def numbered(table, macro, column):
    """Number to name, of the rows of one of our tables; the name stands in that column."""
    text = (pathlib.Path(__file__).parents[2] / table).read_text()
    rows = [[cell.strip() for cell in row.split(",")] for row in re.findall(f"^{macro}\\((.*)", text, re.M)]
    return {int(row[0]): row[column] for row in rows}


class Refused(Exception):
    """A call that failed: gRPC's code and text, and ours out of google.rpc's details."""

    def __init__(self, error):
        self.code, self.text = error.code(), error.details()
        self.packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
        self.reason = self.field = self.described = self.home_region = self.request_id = ""
        for detail in status_pb2.Status.FromString(self.packed).details:
            kind = detail.type_url.rpartition(".")[2]
            if kind == "ErrorInfo":
                info = status_pb2.ErrorInfo.FromString(detail.value)
                assert info.domain == "bailiwick", info
                self.reason, self.home_region = info.reason, info.metadata.get("home_region", "")
            elif kind == "BadRequest":
                violation, = status_pb2.BadRequest.FromString(detail.value).field_violations
                self.field, self.described = violation.field, violation.description
            elif kind == "RequestInfo":
                self.request_id = status_pb2.RequestInfo.FromString(detail.value).request_id
        super().__init__(f"{self.code} {self.text!r} reason={self.reason} field={self.field} {self.described!r}")

    def without_id(self):
        """All that was said, byte for byte, but for the request id."""
        return self.code, self.text, self.packed.replace(self.request_id.encode(), b"<id>")


class Caller:
    """One certificate's connection to one endpoint. None: without a certificate."""

    def __init__(self, port, ca, stem):
        read = lambda path: pathlib.Path(path).read_bytes()
        credentials = grpc.ssl_channel_credentials(read(ca), read(stem + ".key") if stem else None, read(stem + ".pem") if stem else None)
        self.channel = grpc.secure_channel(f"127.0.0.1:{port}", credentials, options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)])

    def send(self, path, request, timeout=20):
        """Bytes to bytes."""
        try:
            return self.channel.unary_unary(path)(request, timeout=timeout)
        except grpc.RpcError as error:
            raise Refused(error) from None

    def call(self, method, request=None, **fields):
        """Message to message; the message from its fields when it is not given."""
        request = request if request is not None else request_type(method)(**fields)
        packed = request if isinstance(request, bytes) else request.SerializeToString()
        return reply_type(method).FromString(self.send(f"/{SERVICES[method][0]}/{method}", packed))

    def refusal(self, method, request=None, **fields):
        """The call must fail; how."""
        try:
            reply = self.call(method, request, **fields)
        except Refused as refused:
            return refused
        raise AssertionError(f"{method} was not refused: {reply}")

    def health(self, service=""):
        messages = load("grpc.health.v1.health")
        reply = messages.HealthCheckResponse.FromString(self.send("/grpc.health.v1.Health/Check", messages.HealthCheckRequest(service=service).SerializeToString()))
        return messages.HealthCheckResponse.ServingStatus.Name(reply.status)


class Checks:
    """Sentences, each with what holds; exit() ends the program as they went."""

    def __init__(self):
        self.failed = 0

    def __call__(self, sentence, holds, told=""):
        self.failed += not holds
        print(("ok      " if holds else "FAILED  ") + sentence + ("" if holds else f"\n        {told}"), flush=True)

    def exit(self):
        sys.exit(1 if self.failed else 0)
