"""Counts, rates, latencies and drops of one process, written once a second to a small file that everybody may read."""

from __future__ import annotations

import json
import os
import resource
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

from common.private import private_file

WINDOW_S = 5  # latencies are told over the last five reports
MAX_SAMPLES = 2000  # a second; more are not kept (240 fps on 8 cameras are 1,920)


class Stats:
    """Collects what happens in a process; cheap enough for every frame. Counters may be raised from any thread."""

    def __init__(self) -> None:
        self._totals: Counter[str] = Counter()
        self._drops: Counter[str] = Counter()
        self._gauges: dict[str, float] = {}
        self._latencies: dict[str, list[int]] = {}
        self._window: deque[dict[str, list[int]]] = deque(maxlen=WINDOW_S)
        self._before: tuple[float, Counter[str], float] = (time.monotonic(), Counter(), _cpu_s())

    def count(self, name: str, n: int = 1) -> None:
        """Something happened; reported as a total and as a rate."""
        self._totals[name] += n

    def drop(self, reason: str, n: int = 1) -> None:
        """Something was dropped, for this reason."""
        self._drops[reason] += n

    def latency(self, name: str, duration_ns: int) -> None:
        """Something took this long."""
        samples = self._latencies.setdefault(name, [])
        if len(samples) < MAX_SAMPLES:
            samples.append(duration_ns)

    def gauge(self, name: str, value: float) -> None:
        """Something has this value now."""
        self._gauges[name] = value

    def report(self) -> dict[str, Any]:
        """Everything since the last report, as plain values; call about once a second."""
        now, totals, cpu = time.monotonic(), self._totals.copy(), _cpu_s()
        then, before, cpu_before = self._before
        span = max(now - then, 1e-6)
        self._before = (now, totals, cpu)
        self._window.append(self._latencies)
        self._latencies = {}
        return {
            "rates": {name: round((total - before[name]) / span, 2) for name, total in totals.items()},
            "totals": dict(totals),
            "latency_ms": {name: self._quantiles(name) for name in sorted({n for part in self._window for n in part})},
            "drops": dict(self._drops),
            "gauges": dict(self._gauges),
            "cpu_percent": round(100 * (cpu - cpu_before) / span, 1),
            **_process(),
        }

    def _quantiles(self, name: str) -> dict[str, float]:
        samples = sorted(value for part in self._window for value in part.get(name, ()))
        last = len(samples) - 1
        return {
            "p50": round(samples[last // 2] / 1e6, 3),
            "p99": round(samples[last * 99 // 100] / 1e6, 3),
            "max": round(samples[last] / 1e6, 3),
            "n": len(samples),
        }


def stats_path(runtime_dir: str | Path, name: str) -> Path:
    """File of a process's report."""
    return Path(runtime_dir) / "stats" / f"{name}.json"


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all, mode 0600; a reader never sees half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(private_file(temporary), "w") as file:
            json.dump(value, file)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)  # half of a file only makes a full disk fuller
        raise


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty when there is none, or it is damaged."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_stats(runtime_dir: str | Path) -> dict[str, dict[str, Any]]:
    """The newest report of every process that ever ran in this runtime directory, by name."""
    reports = (read_json(path) for path in sorted((Path(runtime_dir) / "stats").glob("[!.]*.json")))
    return {str(report["name"]): report for report in reports if "name" in report and "pid" in report}


def pss_mb(pid: int) -> float | None:
    """Proportional set size of a process in megabytes (10**6 bytes); None when it is gone or not ours."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return None


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def _process() -> dict[str, Any]:
    """Memory and threads of this process, and the core of this thread."""
    fields = Path("/proc/thread-self/stat").read_text().rpartition(")")[2].split()
    return {
        "rss_mb": round(int(fields[21]) * resource.getpagesize() / 1e6, 1),
        "threads": int(fields[17]),
        "core": int(fields[36]),
    }
