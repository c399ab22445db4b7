"""Numbers of the node, from files as the system writes them."""

from __future__ import annotations

import json
import time
from pathlib import Path

from common.stats import stats_path, write_json
from services.publish.statistics import Collector, parse_power, temperature_c

ADC = """      3V7_WL_SW_A current(0)=0.10000000A
   3V3_SYS_A current(1)=0.20000000A
       3V7_WL_SW_V volt(8)=3.70000000V
     3V3_SYS_V volt(9)=3.30000000V
      EXT5V_V volt(24)=5.15000000V
"""


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


def test_a_new_process_id_counts_as_a_restart_and_an_old_report_as_silence(node_dir: Path) -> None:
    collector = Collector(node_dir, "hall", 5, dict)

    def report(pid: int, age_s: float) -> dict[str, object]:
        beat_ns = time.monotonic_ns() - int(age_s * 1e9)
        write_json(stats_path(node_dir, "track"), {"name": "track", "pid": pid, "beat_ns": beat_ns, "state": "running"})
        return collector.gather()["processes"]["track"]

    assert report(2**22 - 1, 0)["restarts"] == 0
    again = report(2**22 - 2, 0)
    assert (again["restarts"], again["state"]) == (1, "running")
    assert report(2**22 - 2, 60)["state"] == "silent"
    json.dumps(collector.gather())
