"""The regression check: the ratios of a new run beside the committed ones; absolute times do not carry over."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tools.bench import every, report
from tools.bench.goals import GOALS, Goal, value_of

SLACK = 1.25  # a ratio may be this much worse than the committed one: runs on a busy machine differ by so much


def main(arguments: list[str] | None = None) -> int:
    """Measure, compare, print; returns 1 when a ratio has become worse."""
    parser = report.parser("check", "ratios of a new run beside the committed ones")
    parser.add_argument("--committed", type=Path, default=Path("docs/benchmarks"), help="(%(default)s)")
    parser.add_argument("--fresh", type=Path, help="folder of a run that was made already; else one is made")
    parser.add_argument("--only", nargs="*", help="just these benchmarks")
    options = parser.parse_args(arguments)
    names = sorted({goal.bench for goal in GOALS if goal.ratio} & set(options.only or every.PLAN))
    with tempfile.TemporaryDirectory() as temporary:
        fresh = options.fresh or Path(temporary)
        if options.fresh is None:
            every.main(["--folder", temporary, "--only", *names])
        rows = compare([goal for goal in GOALS if goal.ratio and goal.bench in names], options.committed, fresh)
    report.show("ratios, new beside committed", rows, options.json)
    return int(any(row["verdict"] != "good" for row in rows))


def compare(goals: list[Goal], committed: Path, fresh: Path) -> list[dict[str, Any]]:
    """A row for each goal; a figure that is missing in the new run is a failure, one that was never kept is not."""
    rows: list[dict[str, Any]] = []
    for goal in goals:
        before, now = _value(goal, committed), _value(goal, fresh)
        rows.append({"what": goal.what, "committed": before, "now": now, "verdict": verdict(goal, before, now)})
    return rows


def verdict(goal: Goal, before: float | None, now: float | None) -> str:
    """`good`, `worse` or `missing`."""
    if now is None:
        return "missing"
    if before is None:
        return "good"
    worse = now / before if goal.sign == "<=" else before / now
    return "worse" if worse > SLACK else "good"


def _value(goal: Goal, folder: Path) -> float | None:
    path = folder / f"{goal.bench}.json"
    return value_of(goal, json.loads(path.read_text())["rows"]) if path.is_file() else None
