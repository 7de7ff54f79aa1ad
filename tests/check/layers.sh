#!/bin/bash
# Who may include whom, and that every header stands alone. Prints each breach; fails when there is one.
#
#   layers.sh COMPILER GENERATED     GENERATED: folder of the messages' headers
set -euo pipefail

cd "$(dirname "$0")/../.."
compiler=$1 generated=$2
breaches=0

# only PATTERN ALLOWED FILE...: in these files that pattern may stand in the allowed ones alone (a regular expression of paths)
only()
{
    local pattern=$1 allowed=$2 file
    shift 2

    while read -r file; do
        [[ $file =~ ^($allowed)$ ]] && continue
        printf '%s: must not have %s\n' "$file" "$pattern"
        breaches=$((breaches + 1))
    done < <(grep -lE "$pattern" "$@" || true)
}

all=(include/bailiwick/* proto/*.[ch] server/*.[ch] provider/*.[ch] tools/*.[ch])

only '#include <grpc/'            'server/(listen|reflection|stream|unary)\.c|server/transport\.h' "${all[@]}"
only '#include <sqlite3\.h>'      'server/sql\.h'                                    "${all[@]}"
only '#include <nghttp2/'         'proto/(connection|stream|pool)\.[ch]'                           "${all[@]}"
only '#include <jansson\.h>'      '(server|tools)/.*'                                              "${all[@]}"
only 'pb-c\.h|protobuf-c\.h'      'proto/.*|server/.*|tools/.*|provider/rpc\.c'                    "${all[@]}"
only '#include [<"](protobuf|google|grpc|sqlite|nghttp2|openssl)' 'nothing'                        include/bailiwick/*
only '"(enter|module|slot|rpc|operation|functions)\.(h|def)"' 'provider/.*'                        "${all[@]}"
only '"(daemon|registry|store|hsm|listen|authorise)\.h"'      'server/.*'                          "${all[@]}"
only '"rpc\.h"'                   'nothing'                                                        provider/c_*.c

for header in include/bailiwick/*.h proto/*.h server/*.h provider/*.h tools/*.h; do
    folder=${header%/*}
    if ! "$compiler" -std=gnu17 -D_GNU_SOURCE -fsyntax-only -I"$folder" -Iinclude -Iproto -isystem "$generated" -isystem /usr/include/p11-kit-1 \
        -include "$header" -x c /dev/null 2>/dev/null; then
        printf '%s: does not compile by itself\n' "$header"
        breaches=$((breaches + 1))
    fi
done
((breaches == 0))
