"""A storm over a whole node: kills, stops and terminations at random, a broker that dies, freezes and is cut off."""

from __future__ import annotations

import argparse
import json
import random
import signal
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tools.bench import report
from tools.bench.patient import Patient, Wound, leftovers, patient

SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}
PER_MINUTE = {"kill": 20.0, "term": 3.0, "stop": 1.5, "broker": 0.7, "freeze": 0.5, "lose": 0.5}
OUTAGE_S = (0.5, 6.0)  # how long the broker is away
MOST_S = {
    "kill": 2.5,
    "term": 5.0,
    "stop": 7.5,
}  # goals of the 99th percentile; a stopped process is noticed within 5 s
MOST_GROWN_MB = 8.0  # of unique memory, in a process that came through
KEPT = 0.95


def main(arguments: list[str] | None = None) -> int:
    """Run, tell, and return 0 when the node kept its word."""
    parser = argparse.ArgumentParser(prog="vedette bench chaos", description="a storm of faults over a whole node")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default %(default)s)")
    parser.add_argument(
        "--faults", default="kill", help=f"some of {','.join(PER_MINUTE)}, or all (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the dice (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args(arguments)
    faults = list(PER_MINUTE) if options.faults == "all" else options.faults.split(",")
    if unknown := set(faults) - set(PER_MINUTE):
        parser.error(f"--faults {','.join(unknown)}: choose some of {', '.join(PER_MINUTE)}")
    rows, complaints = storm(options.minutes * 60, faults, random.Random(options.seed))
    report.show(f"chaos, {options.minutes:g} min, seed {options.seed}", rows, None)
    for text in complaints:
        print(f"BROKEN: {text}")
    if options.json:
        tree = {"title": "chaos", "machine": report.machine(), "rows": rows, "complaints": complaints}
        options.json.write_text(json.dumps(tree, indent=1) + "\n")
    return 1 if complaints else 0


def storm(seconds: float, faults: list[str], dice: random.Random) -> tuple[list[dict[str, Any]], list[str]]:
    """Ill-treat a new node; a row for each fault and process, and everything that must not have been."""
    with patient() as one:
        before = one.memory_mb()
        end = time.monotonic() + seconds
        rates = {name: PER_MINUTE[name] for name in faults}
        while time.monotonic() < end:
            time.sleep(60 / sum(rates.values()) * dice.uniform(0.5, 1.5))
            fault = dice.choices(list(rates), list(rates.values()))[0]
            _strike(one, fault, dice)
        one.outage.back()
        one.calm()
        complaints = one.complaints() + _grown(before, one.memory_mb())
        settings = one.settings
    complaints += [f"left behind: {text}" for text in leftovers(settings)]
    rows = table(one)
    return rows, complaints + judge(rows)


def _strike(one: Patient, fault: str, dice: random.Random) -> None:
    if fault in SIGNALS:
        one.hurt(dice.choice(one.names()), SIGNALS[fault], fault)
        return
    {"broker": one.outage.kill, "freeze": one.outage.freeze, "lose": one.outage.lose}[fault]()
    time.sleep(dice.uniform(*OUTAGE_S))
    one.outage.back()


def table(one: Patient) -> list[dict[str, Any]]:
    """Recovery and kept ids by fault and process."""
    groups: dict[tuple[str, str], list[Wound]] = defaultdict(list)
    for wound in one.wounds:
        groups[wound.kind, wound.name].append(wound)
    rows = []
    for (kind, name), wounds in sorted(groups.items()):
        back = [one.recovery_s(wound) for wound in wounds]
        flow = [seconds for wound in wounds if (seconds := one.flow_s(wound)) is not None]
        kept = [one.kept_ids(wound) for wound in wounds]
        times = [seconds for seconds in back if seconds is not None]
        rows.append(
            {
                "fault": kind,
                "process": name,
                "times": len(wounds),
                "never back": back.count(None),
                "back p50 s": report.quantile(times, 0.5),
                "p99 s": report.quantile(times, 0.99),
                "tracks again p99 s": report.quantile(flow, 0.99),
                "ids kept": f"{sum(same for same, _ in kept)}/{sum(of for _, of in kept)}",
            }
        )
    return rows


def judge(rows: list[dict[str, Any]]) -> list[str]:
    """Rows that miss their goal."""
    wrong = []
    for row in rows:
        what = f"{row['fault']} of {row['process']}"
        if row["never back"]:
            wrong.append(f"{what}: {row['never back']} never came back")
        if row["p99 s"] > MOST_S[row["fault"]]:
            wrong.append(f"{what}: back after {row['p99 s']:.2f} s, {MOST_S[row['fault']]:g} s allowed")
        same, of = map(int, row["ids kept"].split("/"))
        if row["process"] == "track" and row["fault"] != "stop" and same < KEPT * of:
            wrong.append(f"{what}: {same} of {of} ids kept")
    return wrong


def _grown(before: dict[str, float], after: dict[str, float]) -> list[str]:
    grown = {name: after.get(name, 0.0) - size for name, size in before.items()}
    return [f"{name} has grown by {more:.1f} MB" for name, more in grown.items() if more > MOST_GROWN_MB]
