"""revoked.py MESSAGES CA PORT REGION: a certificate that goes into the CRL, while its owner is connected."""
import os
import pathlib
import signal
import subprocess
import sys

from stock import Caller, Checks

_, ca, port, region = sys.argv[1:]
stem = f"{ca}/eu-central.acme.app.lost"
check = Checks()
lost = Caller(port, f"{ca}/ca.pem", stem)
check("a certificate is good until it is revoked", lost.call("Describe").region == "eu-central")

subprocess.run(["bailiwick", "ca", "revoke", ca, stem + ".pem"], check=True, stdout=subprocess.DEVNULL)
pid = int(pathlib.Path(region, "pid").read_text())
said = pathlib.Path(region, "log").stat().st_size
with subprocess.Popen(["tail", "-c", f"+{said + 1}", "-f", f"{region}/log"], stdout=subprocess.PIPE, text=True) as log:
    os.kill(pid, signal.SIGHUP)
    line = next(line for line in log.stdout if "reloaded" in line)
    log.terminate()
check("SIGHUP reads the CRL", "notice reloaded" in line, line)
refused = lost.refusal("Describe")
check("then its owner is refused on the connection that he has", refused.reason == "REVOKED", refused)
check.exit()
