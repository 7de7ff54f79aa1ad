#!/bin/bash
# Go with github.com/miekg/pkcs11, Debian's package: no module proxy is asked.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys

export GOPATH=/usr/share/gocode GO111MODULE=off GOFLAGS=-p=2 GOCACHE=${GOCACHE:-$BW_BUILD/go-cache}
go build -o "$DIR/app" "$BW_SOURCE/tests/clients/go/main.go"
"$DIR/app" "$MODULE"
[[ $(records --operation Sign --outcome granted --limit 1000) == 640 ]]
checked "each signature is on record"
