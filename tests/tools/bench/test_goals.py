"""Goals and the regression check: figures are found in the tables that the benchmarks write, and judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.bench import every
from tools.bench.check import SLACK, compare, verdict
from tools.bench.goals import GOALS, reached, value_of
from tools.cli.bench import benches


def test_every_goal_belongs_to_a_benchmark_that_is_run() -> None:
    assert {goal.bench for goal in GOALS} <= set(every.PLAN) <= set(benches())


def test_a_figure_is_found_by_its_row() -> None:
    goal = GOALS[0]
    rows = [{"way": "ours", goal.figure: 1.0}, {"way": "raw", goal.figure: 1.05, "goal": 1.1}]
    assert value_of(goal, rows) == 1.05
    assert value_of(goal, rows[:1]) is None


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.what)
def test_a_worse_figure_is_told_from_a_better_one(goal) -> None:
    better, worse = (0.9, 1.6) if goal.sign == "<=" else (1.6, 0.5)
    assert reached(goal, goal.limit * better)
    assert reached(goal, goal.limit * worse) is False
    assert reached(goal, None) is None
    assert verdict(goal, 1.0, better) == "good"
    assert verdict(goal, 1.0, worse) == "worse"
    assert verdict(goal, 1.0, None) == "missing"
    assert verdict(goal, None, 1.0) == "good"


def test_check_reads_both_folders(tmp_path: Path) -> None:
    goal = GOALS[0]
    for folder, value in (("old", 1.0), ("new", 1.0 * SLACK + 0.01)):
        (tmp_path / folder).mkdir()
        rows = [{"way": "raw", goal.figure: value}]
        (tmp_path / folder / f"{goal.bench}.json").write_text(json.dumps({"rows": rows}))
    assert compare([goal], tmp_path / "old", tmp_path / "new")[0]["verdict"] == "worse"
    assert compare([goal], tmp_path / "new", tmp_path / "old")[0]["verdict"] == "good"


def test_goals_become_a_table_and_a_plot(tmp_path: Path) -> None:
    rows = [{"way": "raw", "ours / this": 1.02}, {"way": "iceoryx2", "ours / this": 2.5}]
    (tmp_path / "handoff.json").write_text(json.dumps({"rows": rows}))
    told = every.goal_rows(tmp_path)
    assert [row["reached"] for row in told[:3]] == ["yes", "no", "-"]
    assert every.markdown(told).count("\n") == len(GOALS) + 2
    every.plot(told, tmp_path / "goals.svg")
    assert b"<svg" in (tmp_path / "goals.svg").read_bytes()


def test_the_table_goes_between_the_marks_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{every.BEGIN}\nold\n{every.END}\nafter\n")
    every.into_page(page, "| new |\n")
    text = page.read_text()
    assert text.startswith(f"before\n{every.BEGIN}\n| new |\n")
    assert text.endswith(f"{every.END}\nafter\n")
    assert "old" not in text
    every.into_page(tmp_path / "none.md", "x")
    assert every.BEGIN in (Path(__file__).parents[3] / "docs" / "benchmarks.md").read_text()
