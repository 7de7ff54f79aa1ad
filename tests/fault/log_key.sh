#!/bin/bash
# The HSM signs nothing for the log, in three ways: keys work on, every record is there, checkpoints are late and say so, and
# when it signs again the log goes on from the checkpoint before.
source "$(dirname "$0")/../lib/region.sh"
export BW_HSM=$BW_BUILD/tests/liblosable_hsm.so BW_HSM_MUTE=$DIR/mute
live_region
cli_as custodian key create --spec AES_256 --alias orders >/dev/null
cli_as auditor audit checkpoint --last "$DIR/last" >/dev/null

for how in error session wrong; do
    line=$(log_end eu-central)
    printf '%s\n' "$how" >"$BW_HSM_MUTE"
    before=$(records --operation Wrap)
    for _ in {1..20}; do
        cli_as app wrap --key orders <<<"text" >"$DIR/envelope"
    done
    await_log eu-central "$line" '"checkpoints are not signed"' >/dev/null
    cli_as app unwrap <"$DIR/envelope" | grep -qx text
    [[ $(records --operation Wrap) == "$((before + 20))" ]] || die "$how: records are missing"
    expect 3 "the deadline passed" cli_as auditor audit checkpoint --last "$DIR/last"
    [[ $(cli_as operator describe) == *'"region":"eu-central"'* ]]
    line=$(log_end eu-central)
    rm "$BW_HSM_MUTE"
    await_log eu-central "$line" '"checkpoints are signed again"' >/dev/null
    old=$(sed -n 2p "$DIR/last")
    cli_as auditor audit checkpoint --last "$DIR/last" >/dev/null
    (($(sed -n 2p "$DIR/last") >= old + 21)) || die "$how: the checkpoint does not cover what was written meanwhile"
    checked "signatures that end in '$how' make checkpoints late, and nothing else"
done
cli_as auditor audit export --dir "$DIR/export" >/dev/null
bailiwick audit verify "$DIR/export" --key "$DIR/export/key" >/dev/null
