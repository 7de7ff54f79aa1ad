#!/bin/bash
# Requests that no client of ours would send, from a stock gRPC client: see bad_requests.py.
source "$(dirname "$0")/../lib/region.sh"
live_region
python_messages
bailiwick ca caller "$CA" --region eu-central --tenant acme --role custodian --name t2 >/dev/null
stock "$(dirname "$0")/bad_requests.py" "$CA" "$PORT"
