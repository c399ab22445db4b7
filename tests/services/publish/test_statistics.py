"""Numbers of the node, from files as the system writes them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from common.stats import stats_path, write_json
from common.supervisor import watchdog_path
from services.publish.statistics import Collector, parse_power, sensor_power_w, temperature_c

ADC = """      3V7_WL_SW_A current(0)=0.10000000A
   3V3_SYS_A current(1)=0.20000000A
       3V7_WL_SW_V volt(8)=3.70000000V
     3V3_SYS_V volt(9)=3.30000000V
      EXT5V_V volt(24)=5.15000000V
"""
LATENCY = {"age": {"p50": 30.0, "p99": 41.5, "max": 60.0, "n": 100}}


def test_power_is_the_sum_over_the_rails_that_have_both_values() -> None:
    assert parse_power(ADC) == round(0.1 * 3.7 + 0.2 * 3.3, 2)
    assert parse_power("error=2 error_msg=...") is None
    assert parse_power("") is None


def test_temperature_is_that_of_the_warmest_zone(tmp_path: Path) -> None:
    assert temperature_c(tmp_path) is None
    for index, text in enumerate(("41234\n", "58100\n", "broken\n")):
        (tmp_path / f"thermal_zone{index}").mkdir()
        (tmp_path / f"thermal_zone{index}" / "temp").write_text(text)
    assert temperature_c(tmp_path) == 58.1


def test_power_comes_from_sensors_where_no_firmware_tells(tmp_path: Path) -> None:
    assert sensor_power_w(tmp_path) is None
    for index, (name, text) in enumerate(
        (("power1_input", "4200000\n"), ("power1_average", "800000"), ("temp1_input", "1"))
    ):
        (tmp_path / f"hwmon{index}").mkdir()
        (tmp_path / f"hwmon{index}" / name).write_text(text)
    assert sensor_power_w(tmp_path) == 5.0


def test_restarts_are_those_that_the_watchdog_counted_and_an_old_report_is_silence(node_dir: Path) -> None:
    collector = Collector(node_dir, "hall", 5, dict)

    def report(age_s: float) -> Any:
        beat_ns = time.monotonic_ns() - int(age_s * 1e9)
        row = {"name": "track", "pid": 2**22 - 1, "beat_ns": beat_ns, "state": "running", "latency_ms": LATENCY}
        write_json(stats_path(node_dir, "track"), row)
        return collector.gather()["processes"]["track"]

    assert report(0)["restarts"] == 0
    ends = {"restarts": 3, "reason": "killed by a signal", "time": 0.0, "revivals": 0}
    write_json(watchdog_path(node_dir), {"supervisor_pid": 1, "processes": {"track": ends}})
    again = report(0)
    assert (again["restarts"], again["state"], again["last_end"]) == (3, "running", "killed by a signal")
    assert report(60)["state"] == "silent"


def test_latency_is_known_without_tracks_on_mqtt(node_dir: Path) -> None:
    write_json(stats_path(node_dir, "track"), {"name": "track", "pid": 2**22 - 1, "latency_ms": LATENCY})
    collector = Collector(node_dir, "hall", 5, dict)
    assert collector.gather()["latency_p99_ms"] == 41.5
    told = {"publish": {"p50": 38.0, "p99": 44.0, "max": 50.0, "n": 9}}
    write_json(stats_path(node_dir, "publish"), {"name": "publish", "pid": 2**22 - 1, "latency_ms": told})
    assert collector.gather()["latency_p99_ms"] == 44.0
