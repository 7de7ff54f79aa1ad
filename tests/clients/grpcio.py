"""grpcio.py MESSAGES ENDPOINT CA STEM: what a stock gRPC client must be able to do. MESSAGES is a folder of protoc's Python;
STEM.pem and STEM.key are the caller's certificate and key."""
import pathlib
import sys

import grpc

messages, endpoint, ca, stem = sys.argv[1:]


def load(name):
    """The generated modules live in folders that are called like grpcio's own package, so each is loaded by its path."""
    import importlib.util
    path = pathlib.Path(messages, name.replace(".", "/") + "_pb2.py")
    spec = importlib.util.spec_from_file_location(name.replace(".", "_") + "_pb2", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sys.path.append(messages)
health = load("grpc.health.v1.health")
reflection = load("grpc.reflection.v1alpha.reflection")
from bailiwick.v1 import common_pb2, region_pb2  # noqa: E402
from google.protobuf import descriptor_pb2  # noqa: E402


def channel_with(certificate):
    read = lambda path: pathlib.Path(path).read_bytes()
    credentials = grpc.ssl_channel_credentials(
        root_certificates=read(ca),
        private_key=read(stem + ".key") if certificate else None,
        certificate_chain=read(stem + ".pem") if certificate else None)
    return grpc.secure_channel(endpoint, credentials)


def unary(channel, path, request, reply_type):
    call = channel.unary_unary(path, request_serializer=type(request).SerializeToString, response_deserializer=reply_type.FromString)
    return call(request, timeout=10)


def fails_with(code, function, *args):
    try:
        function(*args)
    except grpc.RpcError as error:
        assert error.code() == code, f"{error.code()} instead of {code}: {error.details()}"
        return error
    raise AssertionError(f"no error instead of {code}")


def check_health(channel):
    check = lambda service: unary(channel, "/grpc.health.v1.Health/Check", health.HealthCheckRequest(service=service), health.HealthCheckResponse)
    assert check("").status == health.HealthCheckResponse.SERVING
    assert check("bailiwick.v1.Crypto").status == health.HealthCheckResponse.SERVING
    fails_with(grpc.StatusCode.NOT_FOUND, check, "no.such.Service")

    watch = channel.unary_stream("/grpc.health.v1.Health/Watch", request_serializer=health.HealthCheckRequest.SerializeToString,
                                 response_deserializer=health.HealthCheckResponse.FromString)
    stream = watch(health.HealthCheckRequest(service=""), timeout=10)
    assert next(stream).status == health.HealthCheckResponse.SERVING
    stream.cancel()


def check_reflection(channel):
    ask = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                request_serializer=reflection.ServerReflectionRequest.SerializeToString,
                                response_deserializer=reflection.ServerReflectionResponse.FromString)
    questions = [reflection.ServerReflectionRequest(list_services=""),
                 reflection.ServerReflectionRequest(file_containing_symbol="bailiwick.v1.Crypto"),
                 reflection.ServerReflectionRequest(file_by_filename="bailiwick/v1/common.proto"),
                 reflection.ServerReflectionRequest(file_containing_symbol="no.such.Symbol")]
    services, crypto, common, missing = list(ask(iter(questions), timeout=10))

    names = {service.name for service in services.list_services_response.service}
    for expected in ("Crypto", "Keys", "Tenants", "Objects", "Audit", "Region"):
        assert f"bailiwick.v1.{expected}" in names, names
    assert "grpc.health.v1.Health" in names, names

    files = [descriptor_pb2.FileDescriptorProto.FromString(text) for text in crypto.file_descriptor_response.file_descriptor_proto]
    methods = {method.name for file in files for service in file.service for method in service.method}
    assert {"Encrypt", "Decrypt", "Wrap", "Unwrap", "Batch"} <= methods, methods

    file = descriptor_pb2.FileDescriptorProto.FromString(common.file_descriptor_response.file_descriptor_proto[0])
    assert file.name == "bailiwick/v1/common.proto", file.name
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0], missing


def check_describe(channel):
    reply = unary(channel, "/bailiwick.v1.Region/Describe", region_pb2.DescribeRequest(), region_pb2.DescribeReply)
    assert reply.region == "eu-central", reply.region
    assert reply.caller == "spiffe://test.example/region/eu-central/tenant/acme/app/t1", reply.caller
    assert common_pb2.AES_256 in reply.specs
    assert common_pb2.AES_GCM in reply.mechanisms


def check_errors(channel):
    """What a client that is not ours sees: a status, and google.rpc details with our reason."""
    error = fails_with(grpc.StatusCode.UNIMPLEMENTED, unary, channel, "/bailiwick.v1.Region/NoSuch", region_pb2.DescribeRequest(), region_pb2.DescribeReply)
    assert error.details(), "an error without a message"
    malformed = channel.unary_unary("/bailiwick.v1.Region/Describe", request_serializer=lambda text: text, response_deserializer=lambda text: text)
    error = fails_with(grpc.StatusCode.INVALID_ARGUMENT, malformed, b"\xff\xff\xff\xff")
    details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    assert b"BAD_ARGUMENT" in details, details


def check_anonymous():
    with channel_with(False) as channel:
        try:
            check_describe(channel)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error.code()
            return
    raise AssertionError("a caller without a certificate was served")


with channel_with(True) as home:
    check_health(home)
    check_reflection(home)
    check_describe(home)
    check_errors(home)
check_anonymous()
print("grpcio", grpc.__version__, "is content")
