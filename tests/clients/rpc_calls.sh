#!/bin/bash
# How many RPCs each function makes: as its table says, as the module says, and as the daemon's log has it. Then the same
# program under Valgrind: no error, no leak, and nothing to suppress.
source "$(dirname "$0")/../lib/region.sh"
live_region
three_keys
apps_own_keys
cd "$DIR"
program=$BW_BUILD/tests/rpc_calls
log=$(log_end eu-central)
sed '$a trace = yes' "$BAILIWICK_PKCS11_CONFIG" >traced.conf
chmod 600 traced.conf
BAILIWICK_PKCS11_CONFIG=$DIR/traced.conf "$program" "$MODULE" 2>trace || die "$(tail -n 1 trace)"

# "# C_Encrypt: Encrypt" is followed by the module's lines about the RPCs that it made
awk '
    function judge() { if (name != "" && made != expected) { printf "%s: made \"%s\", not \"%s\"\n", name, made, expected; wrong = 1 } }
    /^# /                   { judge(); name = $2; sub(/:$/, "", name); expected = $0; sub(/^# [^:]*: /, "", expected); made = ""; steps++; next }
    / request=[0-9a-f]* /   { made = made (made == "" ? "" : " ") $2 }
    END                     { judge(); exit wrong || steps < 200 }
' trace >wrong || die "$(<wrong)"
checked "$(grep -c '^# ' trace) calls: each made the RPCs that its table promises"

unseen=$(comm -23 <(sed -n 's/^BW_FUNCTION([^,]*,[^,]*, *\(C_[A-Za-z]*\).*/\1/p' "$BW_SOURCE/provider/functions.def" | sort -u) \
                   <(sed -n 's/^# \(C_[A-Za-z]*\):.*/\1/p' trace | sort -u))
[[ -z $unseen ]] || die "not in the table: $unseen"
checked "every function is in the table"

region_stop "$DIR/eu-central" # its log is whole then
sed -n 's/.* request=\([0-9a-f]*\) .*/\1/p' trace | sort >told
tail -n "+$log" eu-central/log | sed -n 's,.* info request request=\([0-9a-f]*\) .*principal=[^ ]*/app/t1 .*,\1,p' | sort >served
cmp -s told served || die "the daemon served others: $(diff told served)"
checked "the daemon's log has just these $(wc -l <served) requests"

region_start "$DIR/eu-central"
valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,possible --errors-for-leak-kinds=definite,possible \
    "$program" "$MODULE" 2>said || die "$(grep -v '^# ' said | head -n 60)"
checked "Valgrind finds nothing in them"
