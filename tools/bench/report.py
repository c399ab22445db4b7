"""What every benchmark tells with its figures: the machine, its load, medians of interleaved repetitions."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common.version import VERSION


def parser(name: str, purpose: str) -> argparse.ArgumentParser:
    """Argument parser with what all benchmarks take."""
    made = argparse.ArgumentParser(prog=f"vedette bench {name}", description=purpose)
    made.add_argument("--json", type=Path, help="write the figures here too")
    made.add_argument("--repetitions", type=int, default=3, help="interleaved repetitions (default %(default)s)")
    made.add_argument("--seconds", type=float, default=6.0, help="of each measurement (default %(default)s)")
    return made


def machine() -> dict[str, Any]:
    """The machine and what else it is doing."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "vedette": VERSION,
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def quantile(values: Iterable[float], q: float) -> float:
    """The q-quantile, taking the next higher sample; nan without samples."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


def median(values: Iterable[float]) -> float:
    """The median; nan without samples."""
    ordered = list(values)
    return statistics.median(ordered) if ordered else float("nan")


def medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure over runs."""
    return {key: median(run[key] for run in runs) for key in runs[0]} if runs else {}


def show(title: str, rows: Sequence[Mapping[str, Any]], target: Path | None) -> None:
    """Print rows as a table with the machine below, and write them as JSON when a target is given."""
    about = machine()
    table = Table(title=title, caption=", ".join(f"{key} {value}" for key, value in about.items()))
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*(_text(row.get(column, "")) for column in columns))
    Console().print(table)
    if target is not None:
        target.write_text(json.dumps({"title": title, "machine": about, "rows": list(rows)}, indent=1) + "\n")


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
