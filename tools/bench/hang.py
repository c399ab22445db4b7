"""A driver call of one of two workers never returns: how old results get meanwhile, and how soon the worker is back."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from common.wire import TrackFrame
from tools.bench import report
from tools.bench.patient import Patient, patient
from tools.bench.private import Ear
from tools.bench.waiting import until

WAYS = {"free": "waits, without the interpreter's lock", "lock": "computes in C, holding the interpreter's lock"}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("hang", "one of two workers hangs inside its driver: age of results, time to a new worker")
    options = parser.parse_args(arguments)
    rows = []
    for how, words in WAYS.items():
        runs = measure(how, options.repetitions)
        ages = [age for _, heard in runs for age in heard]
        rows.append(
            {
                "the call": words,
                "times": len(runs),
                "age p50 ms": report.quantile(ages, 0.5),
                "age p99 ms": report.quantile(ages, 0.99),
                "oldest ms": max(ages),
                "worker back s, median": report.median(back for back, _ in runs),
                "worst": max(back for back, _ in runs),
            }
        )
    report.show("one of two workers hangs", rows, options.json)
    return 0


def measure(how: str, times: int) -> list[tuple[float, list[float]]]:
    """For each hang: seconds until the new worker says that it works, and the ages of results meanwhile."""
    with tempfile.TemporaryDirectory(prefix="vd-") as work:
        trigger = Path(work) / "hang"
        wishes = {"file": str(trigger), "worker": "1", "how": how}
        infer: dict[str, Any] = {
            "width": 320, "workers": 2, "backend": "tools.bench.hanger:Hanger", "provider_options": {"hang": wishes},
        }  # fmt: skip
        with patient(infer=infer) as one:
            return [_hang(one, trigger) for _ in range(times)]


def _hang(one: Patient, trigger: Path) -> tuple[float, list[float]]:
    from common.bus import Bus

    heard: list[TrackFrame] = []
    done = threading.Event()

    def listen() -> None:
        with Bus(one.settings.runtime_dir) as bus:
            ear = Ear(bus)
            while not done.is_set():
                heard.extend(ear.collect(0.1))

    before = one.pids()["infer:1"]
    thread = threading.Thread(target=listen)
    thread.start()
    trigger.touch()
    until(lambda: not trigger.exists(), what="the worker hangs")
    began = time.monotonic()
    try:
        until(lambda: one.pids().get("infer:1", before) != before, what="a new worker")
    finally:
        back = time.monotonic()
        done.set()
        thread.join()
    inside = [frame for frame in heard if began <= frame.tracked_ns / 1e9 <= back]
    return back - began, [(frame.tracked_ns - frame.frame.captured_ns) / 1e6 for frame in inside]
