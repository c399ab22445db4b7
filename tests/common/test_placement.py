"""Cores and policies: who keeps to which cores, and waiting as a real-time thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from common.placement import Placement, shared_cores
from common.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("cores", "cameras", "workers", "shared"),
    [(2, 1, 1, {0}), (2, 2, 1, {0}), (2, 3, 1, set()), (2, 1, 2, set()), (4, 1, 1, {0, 1, 2}), (4, 2, 3, {0}),
     (4, 3, 3, set()), (8, 4, 2, set(range(6))), (1, 1, 1, set())],
)  # fmt: skip
def test_what_has_deadlines_keeps_off_the_workers_cores(
    cores: int, cameras: int, workers: int, shared: set[int]
) -> None:
    assert shared_cores(range(cores), cameras, workers) == shared


def test_only_real_time_processes_are_kept_together(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(infer={"workers": 1})
    allowed = os.sched_getaffinity(0)
    try:
        Placement("infer", "infer:0", settings).apply()
        assert os.sched_getaffinity(0) == allowed
        Placement("view", "view", settings).apply()
        assert os.sched_getaffinity(0) == allowed
    finally:
        os.sched_setaffinity(0, allowed)


WAIT = """
import json, os, resource, sys
from common.placement import Placement
from common.settings import CameraSettings, Settings
if sys.argv[1] == "refused":
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    os.setuid(65534)
nice = os.nice(3)  # more than the tests themselves have
settings = Settings(cameras={"a": CameraSettings(source="pattern:64x64@1")})
placement = Placement("infer", "infer:0", settings)
placement.apply()
seen = []
def look():
    seen.append([os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, os.getpriority(os.PRIO_PROCESS, 0)])
look()
for _ in range(3):
    placement.hurry()
    placement.hurry()
    look()
placement.ease()
placement.ease()
look()
print(json.dumps([nice, seen]))
"""


@pytest.mark.parametrize("allowed", [True, False], ids=["allowed", "refused"])
def test_a_worker_waits_in_real_time_and_computes_at_the_ordinary_policy(allowed: bool) -> None:
    if os.getuid():
        pytest.skip("only root can take and give the right to use SCHED_FIFO")

    child = subprocess.run(  # noqa: PLW1510 - the assertion below tells what went wrong
        [sys.executable, "-c", WAIT, "allowed" if allowed else "refused"], cwd=ROOT, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    inside = os.SCHED_FIFO if allowed else os.SCHED_OTHER
    nice, seen = json.loads(child.stdout)
    row = [os.SCHED_OTHER, nice]
    assert seen == [row, *[[inside, nice]] * 3, row]
