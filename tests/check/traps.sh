#!/bin/bash
# Every trap of TRAPS.md has its tests, and they are there under the names that it says.
set -euo pipefail
cd "$(dirname "$0")/.."
expected=1
# shellcheck disable=SC2016 # Markdown's own
quoted='`([^`]*)`(.*)'

while IFS='|' read -r _ number _ _ tests _; do
    number=${number// /}
    ((number == expected)) || { printf 'TRAPS.md: row %s, not %d\n' "$number" "$expected"; exit 1; }
    expected=$((expected + 1))
    [[ $tests =~ $quoted ]] || { printf 'TRAPS.md: trap %d has no test\n' "$number"; exit 1; }
    while [[ $tests =~ $quoted ]]; do
        test=${BASH_REMATCH[1]} tests=${BASH_REMATCH[2]}
        grep -qF -e "${test#*:}" "${test%%:*}" || { printf 'TRAPS.md: trap %d: no %s\n' "$number" "$test"; exit 1; }
    done
done < <(grep -E '^\| [0-9]+ \|' TRAPS.md)
((expected == 38)) || { printf 'TRAPS.md: %d traps\n' $((expected - 1)); exit 1; }
