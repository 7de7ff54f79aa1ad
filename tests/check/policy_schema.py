"""policy_schema.py COMPILE_POLICY SOURCE: the schemas that customers check their policies against say what the compilers say.
Their members, operations, mechanisms and actions are those of the compilers' tables, and of every text below, and of every
example that we ship or print, both think the same."""
import json
import re
import subprocess
import sys

import jsonschema

program, source = sys.argv[1:]
failed = []


def schema(name):
    with open(f"{source}/tools/schema/{name}-policy.json", encoding="utf-8") as file:
        document = json.load(file)
    jsonschema.Draft202012Validator.check_schema(document)
    return document


SCHEMAS = {kind: schema(kind) for kind in ("key", "tenant")}
RULE = SCHEMAS["key"]["$defs"]["rule"]["properties"]
DUAL = SCHEMAS["tenant"]["properties"]["dual_control"]["properties"]

# ---- tables ----

tables = {}
for line in subprocess.run([program, "--tables"], check=True, capture_output=True, text=True).stdout.splitlines():
    table, name = line.split(" ", 1)
    tables.setdefault(table, set()).add(name)

for table, names in {
    "key": set(RULE),
    "operation": set(RULE["operations"]["items"]["enum"]),
    "mechanism": set(RULE["mechanisms"]["items"]["enum"]) - {"envelope"},
    "tenant": set(SCHEMAS["tenant"]["properties"]),
    "dual": set(DUAL),
    "action": set(DUAL["actions"]["items"]["enum"]),
}.items():
    if names != tables[table]:
        failed.append(f"the schema has other names than the compiler's table of {table}: {sorted(names ^ tables[table])}")

# ---- texts ----


def rule(**members):
    return "key", {"rules": [dict(name="r", **members)]}


MANY = [f"app/{i}" for i in range(65)]
GOOD = [
    ("key", {"rules": []}), rule(), ("key", {"rules": [{"name": f"r{i}"} for i in range(64)]}), rule(principals=["*"]), rule(principals=["app/"]),
    rule(principals=MANY[:64]), rule(principals=["app/" + "x" * 252]), rule(regions=["eu-central", "c"]), rule(regions=["a" * 16]),
    rule(operations=["encrypt"]), rule(mechanisms=["envelope", "CKM_AES_ECB"]), rule(context={}), rule(context={"a": "b"}),
    rule(context={str(i): "x" for i in range(32)}), rule(purposes=["x" * 256]), rule(not_before="2026-01-31T23:59:59Z"),
    rule(not_before="1970-01-01T00:00:01Z"), rule(not_after="9999-12-31T00:00:00Z"), rule(release=True), rule(release=False),
    ("key", {"rules": [{"name": "grant"}]}), ("key", {"rules": [{"name": "x" * 256}]}),
    ("tenant", {}), ("tenant", {"apps_own_keys": True}), ("tenant", {"dual_control": {}}), ("tenant", {"dual_control": {"actions": []}}),
    ("tenant", {"dual_control": {"actions": ["purge", "release"], "approvals": 8, "expires_hours": 720}}),
    ("tenant", {"dual_control": {"approvals": 2, "expires_hours": 1}}),
]
BAD = [
    ("key", {}), ("key", []), ("key", "x"), ("key", {"rules": {}}), ("key", {"rules": [], "$schema": "x"}), ("key", {"rules": [[]]}),
    ("key", {"rules": [{}]}), ("key", {"rules": [{"name": ""}]}), ("key", {"rules": [{"name": 1}]}), ("key", {"rules": [{"name": "grant/1"}]}),
    ("key", {"rules": [{"name": "x" * 257}]}), ("key", {"rules": [{"name": f"r{i}"} for i in range(65)]}), rule(operation=["encrypt"]),
    rule(principals=[]), rule(principals="app/x"), rule(principals=MANY), rule(principals=["custodian/ann"]), rule(principals=["app/[ab]"]),
    rule(principals=["**"]), rule(principals=["app/" + "x" * 253]), rule(regions=["EU"]), rule(regions=["eu-"]), rule(regions=["a" * 17]),
    rule(regions=[""]), rule(operations=["destroy"]), rule(operations=[]), rule(mechanisms=["AES_GCM"]), rule(mechanisms=[1]), rule(context=[]),
    rule(context={"a": ""}), rule(context={"a": 1}), rule(context={str(i): "x" for i in range(33)}), rule(purposes=[""]), rule(purposes=["x" * 257]),
    rule(not_before="2026-01-31"), rule(not_before="2026-01-31T00:00:00"), rule(not_before="2026-01-31 00:00:00Z"), rule(not_before="2026-13-01T00:00:00Z"),
    rule(not_before="2026-1-1T0:0:0Z"), rule(not_before="2026-01-01T00:00:60Z"), rule(not_before="2026-01-01T24:00:00Z"), rule(not_before=1),
    rule(not_after="1969-12-31T00:00:00Z"), rule(not_after=" 2026-01-01T00:00:00Z"), rule(not_after="2026-01-01T00:00:00Z "), rule(release="true"),
    rule(release=None),
    ("tenant", []), ("tenant", {"apps_own_keys": 1}), ("tenant", {"apps": True}), ("tenant", {"dual_control": True}),
    ("tenant", {"dual_control": {"action": []}}), ("tenant", {"dual_control": {"actions": ["perge"]}}), ("tenant", {"dual_control": {"actions": "purge"}}),
    ("tenant", {"dual_control": {"approvals": 1}}), ("tenant", {"dual_control": {"approvals": 9}}), ("tenant", {"dual_control": {"approvals": "2"}}),
    ("tenant", {"dual_control": {"expires_hours": 0}}), ("tenant", {"dual_control": {"expires_hours": 721}}),
]


def examples():
    """What we ship, and what PROTOCOL.md prints."""
    for kind in SCHEMAS:
        with open(f"{source}/tools/packaging/examples/{kind}-policy.json", encoding="utf-8") as file:
            yield kind, json.load(file)
    with open(f"{source}/proto/PROTOCOL.md", encoding="utf-8") as file:
        prose = file.read()
    printed = re.findall(r"```json\n(.*?)```", prose, re.S) + re.findall(r"`(\{\".*?\})`", prose)
    for text in printed:
        document = json.loads(text)
        yield "key" if "rules" in document else "tenant", document


shipped = list(examples())
texts = GOOD + shipped + BAD
lines = "".join(f"{kind} {json.dumps(document)}\n" for kind, document in texts)
said = subprocess.run([program], check=True, input=lines, capture_output=True, text=True).stdout.splitlines()
for number, ((kind, document), answer) in enumerate(zip(texts, said, strict=True)):
    wanted = number < len(GOOD) + len(shipped)
    valid = jsonschema.Draft202012Validator(SCHEMAS[kind]).is_valid(document)
    if valid != wanted or (answer == "yes") != wanted:
        failed.append(f"{json.dumps(document)[:120]}: the schema says {'yes' if valid else 'no'}, the compiler {answer}")
if len(shipped) < 6:
    failed.append(f"only {len(shipped)} examples were found")

print("\n".join(failed) or f"{len(texts)} policies, {len(shipped)} of them examples: schema and compiler agree")
sys.exit(1 if failed else 0)
