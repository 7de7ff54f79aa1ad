#!/bin/bash
# Every trap of TRAPS.md has its tests, and they are there under the names that it says.
set -euo pipefail
cd "$(dirname "$0")/.."
expected=1

while IFS='|' read -r _ number _ _ tests _; do
    number=${number// /}
    ((number == expected)) || { printf 'TRAPS.md: row %s, not %d\n' "$number" "$expected"; exit 1; }
    expected=$((expected + 1))
    read -ra named <<<"${tests//\`/}"
    ((${#named[@]} > 0)) || { printf 'TRAPS.md: trap %d has no test\n' "$number"; exit 1; }
    for test in "${named[@]}"; do
        grep -qF -e "${test#*:}" "${test%%:*}" || { printf 'TRAPS.md: trap %d: no %s\n' "$number" "$test"; exit 1; }
    done
done < <(grep -E '^\| [0-9]+ \|' TRAPS.md)
((expected == 37)) || { printf 'TRAPS.md: %d traps\n' $((expected - 1)); exit 1; }
