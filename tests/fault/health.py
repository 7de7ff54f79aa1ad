"""health.py MESSAGES CA PORT: what grpc.health.v1.Health says of the daemon."""
import sys

from stock import Caller

_, ca, port = sys.argv[1:]
print(Caller(port, f"{ca}/ca.pem", f"{ca}/eu-central.operator.ops").health())
