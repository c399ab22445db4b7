"""The wall clock jumps years ahead and back: nothing that is measured may notice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import VedetteError
from tools.bench.patient import patient
from tools.bench.private import demo_clip
from tools.bench.waiting import until
from tools.models.pull import pull

YEAR_S = 365 * 86_400

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


Jump = Callable[[int], None]


@pytest.fixture
def jump(node_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Jump:
    """Puts the wall clock of every process of the node off by so many seconds."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    try:
        pull("yunet")
        demo_clip()
    except VedetteError as error:
        pytest.skip(f"model or clip cannot be fetched: {error}")
    library, file = node_dir / "wallclock.so", node_dir / "clock"
    source = Path(__file__).with_name("wallclock.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("WALLCLOCK", str(file))

    def off_by(seconds: int) -> None:
        file.write_bytes(seconds.to_bytes(8, sys.byteorder, signed=True))

    off_by(0)
    return off_by


def test_a_clock_that_jumps_loses_nothing_and_restarts_nothing(jump: Jump) -> None:
    with patient() as one:
        before = one.pids()
        for offset in (10 * YEAR_S, -10 * YEAR_S, 7200, 0):
            jump(offset)
            count = len(one.findings.frames)
            until(lambda count=count: len(one.findings.frames) > count + 60, what=f"frames at {offset}")  # type: ignore[misc]
            assert one.pids() == before, offset
        jump(-2 * YEAR_S)
        for name in ("track", "watchdog", "publish", "capture:hall"):
            os.kill(before[name], signal.SIGKILL)
            until(lambda name=name: one.pids().get(name, before[name]) != before[name], what=name)  # type: ignore[misc]
            jump(2 * YEAR_S)
        one.calm()
        assert one.complaints() == []
        years = {row["time"][:4] for row in one.outage.witness.events}
        assert len(years) > 1, f"the clock did not jump: {years}, now {time.gmtime().tm_year}"
