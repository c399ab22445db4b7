"""Counters and reports."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.stats import Stats, pss_mb, read_json, read_stats, stats_path, write_json


def test_report_has_totals_drops_gauges_and_quantiles() -> None:
    stats = Stats()
    stats.count("frames", 3)
    stats.drop("late")
    stats.gauge("faces", 2)
    for value in range(1, 101):
        stats.latency("infer", value * 1_000_000)
    report = stats.report()
    assert report["totals"] == {"frames": 3}
    assert report["drops"] == {"late": 1}
    assert report["gauges"] == {"faces": 2}
    assert report["latency_ms"]["infer"] == {"p50": 50.0, "p99": 99.0, "max": 100.0, "n": 100}
    assert report["rates"]["frames"] > 0


def test_rates_count_since_the_last_report() -> None:
    stats = Stats()
    stats.count("frames")
    stats.report()
    assert stats.report()["rates"]["frames"] == 0


def test_latencies_are_forgotten_after_the_window() -> None:
    stats = Stats()
    stats.latency("infer", 5)
    assert [len(stats.report()["latency_ms"]) for _ in range(6)] == [1, 1, 1, 1, 1, 0]


def test_reports_are_found_by_name_and_damaged_ones_passed_over(tmp_path: Path) -> None:
    write_json(stats_path(tmp_path, "capture:door"), {"name": "capture:door", "pid": 1})
    stats_path(tmp_path, "track").write_text('{"name": "tra')
    assert list(read_stats(tmp_path)) == ["capture:door"]
    assert stats_path(tmp_path, "capture:door").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "[1]", "{", "\0"])
def test_damaged_json_reads_as_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert read_json(tmp_path / "x.json") == {}


def test_memory_of_a_process_is_read_and_none_for_a_gone_one() -> None:
    own = pss_mb(os.getpid())
    assert own is not None
    assert own > 5
    assert pss_mb(2**22 + 1) is None
