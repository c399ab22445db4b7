"""Every benchmark, one after the other, in under 20 minutes: JSON files, a table of goals and a plot."""

from __future__ import annotations

import importlib
import json
import time
from pathlib import Path
from typing import Any

from common.errors import VedetteError
from tools.bench import report
from tools.bench.goals import GOALS, Goal, reached, value_of

BEGIN, END = "<!-- goals: written by `vedette bench every` -->", "<!-- end -->"
PLAN: dict[str, list[str]] = {
    "handoff": ["--repetitions", "9", "--seconds", "3"],
    "chain": ["--repetitions", "5", "--seconds", "5"],
    "dispatch": ["--repetitions", "3", "--seconds", "6"],
    "infer": [],
    "node": ["--repetitions", "3", "--seconds", "5"],
    "latency": ["--repetitions", "3", "--seconds", "8"],
    "baselines": ["--repetitions", "3", "--seconds", "4"],
    "still": ["--repetitions", "3", "--seconds", "5"],
    "startup": ["--repetitions", "3"],
    "memory": ["--repetitions", "3", "--seconds", "3"],
    "imports": [],
    "scaling": ["--seconds", "4"],
    "recovery": ["--repetitions", "2"],
    "view": ["--repetitions", "2", "--seconds", "5"],
}


def main(arguments: list[str] | None = None) -> int:
    """Measure everything; returns the exit code."""
    parser = report.parser("every", "every benchmark, with the table of goals")
    parser.add_argument("--folder", type=Path, default=Path("docs/benchmarks"), help="where files go (%(default)s)")
    parser.add_argument("--only", nargs="*", help="just these")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in options.only or PLAN:
        start = time.monotonic()
        try:
            importlib.import_module(f"tools.bench.{name}").main(
                [*PLAN[name], "--json", str(options.folder / f"{name}.json")]
            )
        except (VedetteError, RuntimeError, OSError) as error:
            failed.append(name)
            print(f"{name}: {error}")
        print(f"{name}: {time.monotonic() - start:.0f} s\n", flush=True)
    rows = goal_rows(options.folder)
    report.show("goals", rows, options.folder / "goals.json")
    into_page(options.folder.with_suffix(".md"), markdown(rows))
    plot(rows, options.folder / "goals.svg")
    return 1 if failed else 0


def goal_rows(folder: Path) -> list[dict[str, Any]]:
    """What was wished and what was seen."""
    rows = []
    for goal in GOALS:
        path = folder / f"{goal.bench}.json"
        seen = value_of(goal, json.loads(path.read_text())["rows"]) if path.is_file() else None
        rows.append({
            "what": goal.what,
            "goal": f"{goal.sign} {goal.limit:g}",
            "seen": seen if seen is not None else "-",
            "reached": {True: "yes", False: "no", None: "-"}[reached(goal, seen)],
        })  # fmt: skip
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table of goals as Markdown."""
    lines = ["| what | goal | seen | reached |", "|---|---|---|---|"]
    for row in rows:
        seen = f"{row['seen']:.3g}" if isinstance(row["seen"], float) else row["seen"]
        lines.append(f"| {row['what']} | {row['goal']} | {seen} | {row['reached']} |")
    return "\n".join(lines) + "\n"


def into_page(page: Path, table: str) -> None:
    """Put the table between the marks of the page that lies beside the folder, when there is one."""
    text = page.read_text() if page.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        about = ", ".join(f"{key} {value}" for key, value in report.machine().items())
        page.write_text(f"{before}{begin}\n{table}\n{about}\n{end}{after}")


def plot(rows: list[dict[str, Any]], target: Path) -> None:
    """Each figure as a part of its goal: below one (or above, where more is better) is good."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    known = [(goal, row) for goal, row in zip(GOALS, rows, strict=True) if isinstance(row["seen"], float)]
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(known) + 1.2))
    ratios = [_strain(goal, row["seen"]) for goal, row in known]
    axes.barh(range(len(known)), ratios, color=["#3a7" if ratio <= 1 else "#c55" for ratio in ratios])
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_yticks(range(len(known)), [row["what"] for _, row in known], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("share of the goal that is used up (1: just reached, below: better)")
    axes.set_xlim(0, max(2.0, *(min(ratio, 3.0) for ratio in ratios)) if ratios else 2.0)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def _strain(goal: Goal, seen: float) -> float:
    return seen / goal.limit if goal.sign == "<=" else goal.limit / max(seen, 1e-9)
