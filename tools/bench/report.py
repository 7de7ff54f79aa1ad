"""What was measured, as tables and as a plot."""

import rates
from rates import median, ratio, spread

# what is measured, its bar, what we aim at
BARS = [
    ("gcm-32@16 ours/direct",             ">=", 0.5,  1.0),
    ("gcm-32@64 ours/direct",             ">=", 0.85, 1.2),
    ("ecdsa-p256@16 ours/p11-kit",        ">=", 2.0,  3.0),
    ("rsa-2048@16 ours/p11-kit",          ">=", 1.7,  2.0),
    ("ecdsa-p256@16 ours/direct",         ">=", 0.5,  0.8),
    ("rsa-2048@16 ours/direct",           ">=", 0.85, 0.95),
    ("gcm-32@1 p50 ours/floor",           "<=", 1.3,  1.1),
    ("gcm-32@16 p99/p50",                 "<=", 5,    None),
    ("gcm-32@64 records per sync",        ">=", 16,   None),
    ("daemon, idle, MiB",                 "<=", 40,   None),
    ("daemon, per key, KiB",              "<=", 1,    None),
    ("daemon, per idle connection, KiB",  "<=", 64,   None),
    ("module, shared object, MiB",        "<=", 1,    None),
    ("module, load to first result, ms",  "<=", 10,   None),
    ("module, memory, MiB",               "<=", 8,    None),
    ("module, threads started",           "<=", 0,    None),
    ("throughput, full log / none",       ">=", 0.95, None),
]


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def with_spread(values):
    return "-" if values is None else f"{number(values[0])} [{number(values[1])}-{number(values[2])}]" if values[1] != values[2] else number(values[0])


def table(head, rows):
    """head: names, a right-aligned one with ':' behind it."""
    yield "| " + " | ".join(name.rstrip(":") for name in head) + " |"
    yield "| " + " | ".join("--:" if name.endswith(":") else "---" for name in head) + " |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


# ---- rates ----

def callers_text(callers):
    return callers[:-1] + " processes" if callers.endswith("p") else callers


def rates_table(cells):
    rows = []
    for (operation, callers), cell in cells.items():
        one = lambda side, figure: number(median(cell, side, figure))
        rows.append([f"{operation} @ {callers_text(callers)}", *(one(side, "rate") for side in ("direct", "p11-kit", "ours")),
                     *(with_spread(ratio(cell, "rate", "ours", other)) for other in ("direct", "p11-kit")),
                     ", ".join(one("ours", figure) for figure in ("p50", "p99", "p999")), one("direct", "p50"),
                     one("ours", "client_cpu") + ", " + one("ours", "server_cpu"), one("direct", "client_cpu"),
                     one("ours", "bytes"), one("ours", "calls"), one("ours", "per_sync")])
    return table(["operation @ callers", "direct /s:", "p11-kit /s:", "ours /s:", "ours/direct:", "ours/p11-kit:", "ours p50, p99, p99.9 us:", "direct p50 us:",
                  "CPU us/op: module, daemon:", "direct CPU us/op:", "bytes/op:", "RPCs/op:", "records/sync:"], rows)


def beside_table(cells):
    rows = [[f"{side} @ {callers}", *(number(median(cell, side, figure)) for figure in ("rate", "p50", "p99")),
             number(median(cell, side, "client_cpu")) + ", " + number(median(cell, side, "server_cpu"))]
            for (_, callers), cell in cells.items() for side in [*rates.FLOOR, "echo"] if side in cell]
    return table(["beside", "/s:", "p50 us:", "p99 us:", "CPU us: caller, daemon:"], rows) if rows else []


def against_table(cells):
    """before: the other build."""
    pair = lambda cell, figure: ", ".join(number(median(cell, side, figure)) for side in ("ours", "before"))
    return table(["operation @ callers", "this build /s, that one:", "this/that:", "p50 us:", "p50 this/that:", "p99 us:", "module CPU us/op:", "daemon CPU us/op:"],
                 [[f"{operation} @ {callers_text(callers)}", pair(cell, "rate"), with_spread(ratio(cell, "rate", "ours", "before")), pair(cell, "p50"),
                   with_spread(ratio(cell, "p50", "ours", "before")), pair(cell, "p99"), pair(cell, "client_cpu"), pair(cell, "server_cpu")]
                  for (operation, callers), cell in cells.items()])


# ---- growth ----

def growth_tables(grown):
    if "keys" in grown:
        yield from table(["keys of one tenant:", "start to serving, ms:", "list all, ms:", "find by label, us:", "use of any, p50 us:", "p99 us:",
                          "daemon and SoftHSM, MiB:", "a key in the daemon, KiB:", "in SoftHSM, KiB:"],
                         [[f"{row['keys']:,}", *(number(row[name]) for name in ("start_ms", "list_ms", "find_us", "use_us", "use_p99_us")),
                           number(row["rss_kib"] / 1024), *(number(row.get(name)) for name in ("daemon_kib_each", "hsm_kib_each"))] for row in grown["keys"]])
    if "tenants" in grown:
        yield from table(["tenants:", "start to serving, ms:", "list all, ms:", "show one, ms:", "daemon and SoftHSM, MiB:"],
                         [[str(row["tenants"]), *(number(row[name]) for name in ("start_ms", "list_ms", "show_ms")), number(row["rss_kib"] / 1024)]
                          for row in grown["tenants"]])
    if "log" in grown:
        log = grown["log"]
        yield from table(["with that log, without", f"{log['records']:,} records /s:", "none /s:", "ratio:"],
                         [[cell.replace("@", " @ "), *(number(median(sides, side, "rate")) for side in ("full", "none")),
                           with_spread(ratio(sides, "rate", "full", "none"))] for cell, sides in log["cells"].items()])
        yield f"That log: written in {number(log['load_s'])} s, its index caught up {number(log['index_s'])} s later; start to serving on it {number(log['start_ms'])} ms."
        yield ""


# ---- bars ----

def bar_values(cells, taken, grown):
    values = {name: (value, value, value) for name, value in taken.items()}
    if "keys" in grown and len(grown["keys"]) > 1:
        each = grown["keys"][-1]["daemon_kib_each"]
        values["daemon, per key, KiB"] = (each, each, each)
    if "log" in grown:
        values["throughput, full log / none"] = ratio(grown["log"]["cells"]["gcm-32@16"], "rate", "full", "none")
    for name, *_ in BARS:
        operation, _, rest = name.partition("@")
        if not rest:
            continue
        callers, what = rest.split(" ", 1)
        cell = cells.get((operation, callers), {})
        if what == "p50 ours/floor":
            values[name] = ratio(cell, "p50", "ours", "tls+sync+hsm")
        elif what == "p99/p50":
            values[name] = spread(figures["p99"] / figures["p50"] for figures in cell.get("ours", []))
        elif what == "records per sync":
            values[name] = spread(figures["per_sync"] for figures in cell.get("ours", []))
        else:
            values[name] = ratio(cell, "rate", *what.split("/"))
    return {name: value for name, value in values.items() if value is not None}


def bars_table(values):
    rows = []
    for name, sign, bar, aim in BARS:
        if name in values:
            met = values[name][0] >= bar if sign == ">=" else values[name][0] <= bar
            rows.append([name, f"{sign} {bar}", str(aim or ""), with_spread(values[name]), "met" if met else "missed"])
    return table(["bar", "wanted:", "aim:", "measured [least-most]:", ""], rows) if rows else []


def other_table(values):
    known = {name for name, *_ in BARS}
    rows = [[name, number(value[0])] for name, value in values.items() if name not in known]
    return table(["also", "measured:"], rows) if rows else []


def markdown(cells, values, grown):
    lines = [*rates_table(cells), *beside_table(cells)] if cells else []
    return "\n".join([*lines, *bars_table(values), *other_table(values), *growth_tables(grown)])


# ---- the plot ----

WIDTH, LEFT, RIGHT = 860, 190, 640
BAR, GAP, TITLE, HEAD = 13, 9, 26, 92
COLOURS = {"ours": "#1b6ca8", "p11-kit": "#b8bec6"}
GRID = "#d9dde2"
INK, PALE = "#1d2733", "#5b6673"
NAMES = {"gcm-32": "AES-256-GCM decrypt, 32 B", "gcm-4k": "AES-256-GCM decrypt, 4 KiB", "gcm-256k": "AES-256-GCM decrypt, 256 KiB",
         "envelope-32": "envelope unwrap, 32 B", "kwp-32": "AES-KEY-WRAP-PAD unwrap, 32 B", "oaep-2048": "RSA-2048 OAEP decrypt",
         "oaep-4096": "RSA-4096 OAEP decrypt", "rsa-2048": "RSA-2048 PKCS #1 sign", "pss-2048": "RSA-2048 PSS sign",
         "ecdsa-p256": "ECDSA P-256 sign", "hmac-sha256": "HMAC-SHA-256"}


def text(x, y, words, size=12, colour=INK, anchor="start", weight="normal"):
    """With a white rim, so that it is read on lines too."""
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}" '
            f'stroke="white" stroke-width="3" paint-order="stroke">{words}</text>')


def block(x, y, width, height, colour):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height}" fill="{colour}"/>'


def scale_lines(scale, top, bottom):
    for tenths in range(0, int(scale["top"] * 10) + 1, 2):
        x = LEFT + tenths / 10 * scale["unit"]
        whole = tenths == 10
        yield f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="{INK if whole else GRID}" stroke-dasharray="{"4 3" if whole else "none"}"/>'
        yield text(x, top - 6, f"{tenths / 10:.1f}", 11, PALE, "middle")


def least_wanted(operation, callers, cell):
    """The bars on ours/direct and ours/p11-kit, as a share of direct; None: there is none."""
    shares = []
    for name, _, bar, _ in BARS:
        other = name.removeprefix(f"{operation}@{callers} ours/")
        if other == "direct":
            shares.append(bar)
        elif other == "p11-kit" and "p11-kit" in cell:
            shares.append(bar * ratio(cell, "rate", "p11-kit", "direct")[0])
    return max(shares, default=None)


def row_height(cell):
    return (BAR + 1) * sum(side in cell for side in COLOURS) + GAP


def row_of(y, operation, callers, cell, unit):
    plural = "caller" if callers == "1" else "processes" if callers.endswith("p") else "callers"
    yield text(LEFT - 10, y + (row_height(cell) - GAP) / 2 + 4, f"{callers.rstrip('p')} {plural}", 12, INK, "end")
    for place, side in enumerate(side for side in COLOURS if side in cell):
        share, top = ratio(cell, "rate", side, "direct"), y + place * (BAR + 1)
        yield block(LEFT, top, share[0] * unit, BAR, COLOURS[side])
        yield text(LEFT + share[0] * unit + 6, top + BAR - 3, f"{share[0]:.2f} · {number(median(cell, side, 'rate'))}/s", 11, INK if side == "ours" else PALE)
    wanted = least_wanted(operation, callers, cell)
    if wanted is not None:
        yield wanted_mark(LEFT + wanted * unit, y - 6)


def wanted_mark(x, y):
    return f'<path d="M{x - 4:.1f} {y:.1f} h8 l-4 6 z" fill="#c4472d"/>'


def svg(cells):
    """Operations a second as a share of SoftHSM in the process, for each cell."""
    rows = [(key, cell) for key, cell in cells.items() if "direct" in cell and "ours" in cell]
    shares = [ratio(cell, "rate", side, "direct")[0] for _, cell in rows for side in ("ours", "p11-kit") if side in cell]
    scale = {"top": max(1.2, *shares) if shares else 1.2}
    scale["unit"] = (RIGHT - LEFT) / scale["top"]
    titles = len({operation for (operation, _), _ in rows})
    height = HEAD + titles * TITLE + sum(row_height(cell) for _, cell in rows) + 16
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="Helvetica, Arial, sans-serif">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           text(16, 26, "Throughput beside SoftHSM in the process (= 1.0)", 16, weight="bold"),
           block(16, 40, 12, 12, COLOURS["ours"]), text(34, 50, "Bailiwick: mutual TLS, and a durable audit record for each result"),
           block(450, 40, 12, 12, COLOURS["p11-kit"]), text(468, 50, "p11-kit remote: neither"),
           wanted_mark(640, 43), text(652, 50, "the least that is wanted"),
           *scale_lines(scale, HEAD - 10, height - 12)]
    y, last = HEAD, None
    for (operation, callers), cell in rows:
        if operation != last:
            out.append(block(0, y - 2, WIDTH, TITLE - 6, "#f3f5f7"))
            out.append(text(16, y + 13, NAMES[operation], 13, weight="bold"))
            y, last = y + TITLE, operation
        out += row_of(y, operation, callers, cell, scale["unit"])
        y += row_height(cell)
    return "\n".join([*out, "</svg>", ""])
