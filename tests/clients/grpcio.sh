#!/bin/bash
# A stock gRPC client, Debian's python3-grpcio, against a live region: health, reflection, and a call of ours.
source "$(dirname "$0")/../lib/region.sh"
live_region
python_messages
/usr/bin/python3 "$BW_SOURCE/tests/clients/grpcio.py" "$DIR/messages" "127.0.0.1:$PORT" "$CA/ca.pem" "$CA/eu-central.acme.app.t1"
