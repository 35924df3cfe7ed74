#!/usr/bin/env python3
"""Prints the files that docs/bench.sh wrote as Markdown: per figure the median and the range over the runs."""

import json
import pathlib
import statistics
import sys


def at(run, path):
    for part in path.split("."):
        run = run.get(part) if isinstance(run, dict) else None
    return run


def spread(report, path, scale=1.0, digits=1):
    values = [at(run, path) for run in report["runs"]]
    values = [value * scale for value in values if isinstance(value, (int, float))]
    if not values:
        return "–"
    text = f"{statistics.median(values):,.{digits}f}"
    if len(values) > 1:
        text += f" ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
    return text


def once(report):
    good = all(run["exactly_once"] for run in report["runs"])
    return "yes" if good else f"**NO**: {[(run['lost'], run['duplicated']) for run in report['runs']]}"


# Heading of a column, path in a run, factor, digits.
LATENCY = [("p50 ms", "p50_ms", 1, 2), ("p90 ms", "p90_ms", 1, 2), ("p99 ms", "p99_ms", 1, 1), ("max ms", "max_ms", 1, 1)]
COST = [("server µs/delivery", "server_cpu_us_per_delivery", 1, 2), ("peak RSS MB", "server_peak_rss_bytes", 1e-6, 1)]
RATIO = [("× ceiling", "ceiling.ratio", 1, 2)]
TABLES = {
    "fan-out": LATENCY + COST
    + [("raw p50", "ceiling.p50_ms", 1, 2), ("raw p99", "ceiling.p99_ms", 1, 1),
       ("raw µs/delivery", "ceiling.server_cpu_us_per_delivery", 1, 2)] + RATIO,
    "throughput": [("changes/s", "per_second", 1, 0), ("written/s", "written_per_second", 1, 0),
                   ("behind at the end ms", "behind_at_end_ms", 1, 0), ("p99 ms", "p99_ms", 1, 0)] + COST
    + [("Postgres CPU s", "postgres_cpu_seconds", 1, 2), ("walsender/s", "ceiling.per_second", 1, 0)] + RATIO,
    "catch-up": [("seconds", "seconds", 1, 3), ("p50 ms", "p50_ms", 1, 0), ("recorded behind ms", "recorded_behind_ms", 1, 0),
                 ("recorded/s", "recorded_per_second", 1, 0), ("recorded × ceiling", "recorded_times_ceiling", 1, 2)]
    + COST + [("walsender/s", "ceiling.per_second", 1, 0)] + RATIO,
    "first-sync": [("seconds", "seconds", 1, 3), ("rows/s of one", "per_second", 1, 0), ("p50 ms", "p50_ms", 1, 0),
                   ("one more s", "one_more_from_the_spool_seconds", 1, 3), ("bytes/row", "bytes_per_row", 1, 0)] + COST
    + [("psql s", "ceiling.seconds", 1, 3)] + RATIO,
    "storm": [("seconds", "seconds", 1, 3)] + LATENCY[:1] + LATENCY[2:3]
    + [("back s", "back.seconds", 1, 3), ("back p99 ms", "back.latency.p99_ms", 1, 0),
       ("connect µs/client", "connecting_cpu_us_per_client", 1, 0), ("peak RSS MB", "server_peak_rss_bytes", 1e-6, 1),
       ("raw s", "ceiling.seconds", 1, 3)] + RATIO,
    "mixed": LATENCY + [("undisturbed p50", "ceiling.latency.p50_ms", 1, 2), ("undisturbed p99", "ceiling.latency.p99_ms", 1, 1)]
    + COST,
    "idle": [("bytes/session parked", "rss_bytes_per_session", 1, 0), ("live", "live_rss_bytes_per_session", 1, 0),
             ("CPU % idle", "idle_cpu_percent_of_a_core", 1, 2), ("nobody: RSS MB", "nobody.rss_bytes", 1e-6, 1),
             ("nobody: CPU %", "nobody.cpu_percent_of_a_core", 1, 2), ("wake p99 ms", "p99_ms", 1, 1),
             ("raw bytes/connection", "ceiling.rss_bytes_per_connection", 1, 0)] + RATIO,
}


def main(folder):
    files = sorted(pathlib.Path(folder).glob("*.json"))
    reports = []
    for file in files:
        text = file.read_text()
        if text.strip():
            reports.append((file.stem, json.loads(text)))
    for scenario, columns in TABLES.items():
        own = [(name, report) for name, report in reports if report["scenario"] == scenario]
        if not own:
            continue
        own.sort(key=lambda pair: (pair[1]["settings"]["clients"], pair[1]["settings"]["rows_per_transaction"]))
        print(f"\n### {scenario}\n")
        heads = ["", "clients", "load", "fsync ms"] + [head for head, *_ in columns] + ["exactly once"]
        print("| " + " | ".join(heads) + " |")
        print("|" + "---|" * len(heads))
        for name, report in own:
            cells = [name, str(report["settings"]["clients"]), f"{report['load_avg']:.1f}", f"{report['fsync']['p50_ms']:.2f}"]
            cells += [spread(report, path, scale, digits) for _, path, scale, digits in columns]
            print("| " + " | ".join(cells + [once(report)]) + " |")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "target/bench")
