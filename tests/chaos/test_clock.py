"""The wall clock jumps years ahead and back: nothing that is measured may notice."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from common.errors import VedetteError
from tools.bench.patient import patient
from tools.bench.private import demo_clip, until
from tools.models.pull import pull

# libfaketime spins on a lock of its own, which under SCHED_FIFO keeps the thread that holds it from running
ORDINARY = {name: {"policy": "other"} for name in ("capture", "track", "publish")}
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.fixture
def jump(node_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File that tells every process of the node how far its wall clock is off."""
    if not LIBRARIES:
        pytest.skip("no libfaketime here")
    try:
        pull("yunet")
        demo_clip()
    except VedetteError as error:
        pytest.skip(f"model or clip cannot be fetched: {error}")
    path = node_dir / "clock"
    path.write_text("+0")
    monkeypatch.setenv("LD_PRELOAD", str(LIBRARIES[0]))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(path))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("DONT_FAKE_MONOTONIC", "1")
    monkeypatch.setenv("FAKETIME_DONT_RESET", "1")
    return path


def test_a_clock_that_jumps_loses_nothing_and_restarts_nothing(jump: Path) -> None:
    with patient(processes=ORDINARY) as one:
        before = one.pids()
        for offset in ("+3650d", "-3650d", "+2h", "+0"):
            jump.write_text(offset)
            count = len(one.findings.frames)
            until(lambda count=count: len(one.findings.frames) > count + 60, what=f"frames at {offset}")  # type: ignore[misc]
            assert one.pids() == before, offset
        jump.write_text("-400d")
        for name in ("track", "watchdog", "publish", "capture:hall"):
            os.kill(before[name], signal.SIGKILL)
            until(lambda name=name: one.pids().get(name, before[name]) != before[name], what=name)  # type: ignore[misc]
            jump.write_text("+400d")
        one.calm()
        assert one.complaints() == []
        years = {row["time"][:4] for row in one.outage.witness.events}
        assert len(years) > 1, f"the clock did not jump: {years}, now {time.gmtime().tm_year}"
