#!/bin/bash
# A stock gRPC client, Debian's python3-grpcio, against a live region: health, reflection, and a call of ours.
source "$(dirname "$0")/../lib/region.sh"
live_region

proto=$BW_SOURCE/proto
mkdir "$DIR/messages"
(cd "$proto" && protoc -I. -I/usr/include --python_out="$DIR/messages" bailiwick/v1/*.proto grpc/health/v1/*.proto grpc/reflection/v1alpha/*.proto)
/usr/bin/python3 "$BW_SOURCE/tests/clients/grpcio.py" "$DIR/messages" "127.0.0.1:$PORT" "$CA/ca.pem" "$CA/eu-central.acme.app.t1"
