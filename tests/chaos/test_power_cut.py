"""A power cut: everything dies at once, files are half written or garbage, and the next start comes up clean."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from common.eventlog import EventLogReader
from common.settings import Settings
from common.shm import SHM, segment_name, segments
from common.stats import read_json
from common.supervisor import read_watchdog
from tools.bench.patient import leftovers, patient
from tools.bench.private import well
from tools.bench.procfs import lives, parent_of
from tools.bench.waiting import until
from tools.supervisor.node import node

GARBAGE = (b"", b"\0" * 4096, b"{", b"\xff\xfe garbage", b"null", b"[1, 2]")


def cut_power(settings: Settings) -> None:
    """SIGKILL to supervisord and every service at the same moment."""
    pids = [*until(lambda: well(settings)).values()]
    supervisor = parent_of(pids[0])
    for pid in (supervisor, *pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(lives, (supervisor, *pids))), what="all are dead")


def spoil(settings: Settings, number: int) -> None:
    """What a card that lost its power in mid-write may hold: each small file another kind of garbage."""
    run, state = Path(settings.runtime_dir), Path(settings.state_dir)
    names = ["publish.json", "retained.json", "controls.json"]
    small = [*(state / name for name in names), run / "watchdog.json", run / "plan.json", run / "track.checkpoint"]
    small += [*(run / "stats").glob("*"), *(run / "exits").glob("*")]
    for offset, path in enumerate(small):
        path.write_bytes(GARBAGE[(number + offset) % len(GARBAGE)])
    (state / ".publish.json.99").write_bytes(b"{")
    (run / ".settings.json.99").write_bytes(b"{")
    (run / "supervisord.pid").write_text("1\n")  # a process that lives, and is not ours
    (SHM / segment_name(settings.runtime_dir, "hall", "00000000000000ff")).write_bytes(b"half a ring")
    (SHM / segment_name(settings.runtime_dir, "claims")).write_bytes(b"VEDCLAIM half")
    with socket.socket(socket.AF_UNIX) as stale:
        (run / "bus" / "foreign.ipc").unlink(missing_ok=True)
        stale.bind(str(run / "bus" / "foreign.ipc"))


@pytest.mark.parametrize(
    "number", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_after_a_power_cut_with_garbage_everywhere_the_node_comes_up_and_every_life_ends(number: int) -> None:
    with patient() as one:
        one.outage.witness.wait(lambda: one.outage.witness.events, 30)
        cut_power(one.settings)
        spoil(one.settings, number)
        with node(one.settings, one.directory):
            shown = len(one.findings.frames)
            until(lambda: len(one.findings.frames) > shown + 10 and len(one.findings.frames[-1][1]) == 4, what="faces")
            assert not list(Path(one.settings.state_dir).glob(".*"))
            assert len([path for path in segments(one.settings.runtime_dir) if "hall" in path.name]) == 1
            one.calm()
            assert one.complaints() == []
    assert leftovers(one.settings) == []


def damaged(path: Path, how: str) -> None:
    """The event log as a dying card may leave it."""
    if how == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif how == "zeros":
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\0" * 8192)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).write_bytes(b"half a page")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["cut", "zeros"])
def test_a_log_damaged_by_a_power_cut_is_moved_aside_and_the_node_goes_on(how: str) -> None:
    with patient() as one:
        one.outage.witness.wait(lambda: one.outage.witness.events, 30)
        cut_power(one.settings)
        damaged(Path(one.settings.state_dir) / "events.db", how)
        with node(one.settings, one.directory):
            shown = len(one.findings.frames)
            until(lambda: len(one.findings.frames) > shown + 10, what="frames flow")
            until(one.rows, what="events are written")
            one.calm()
            told = list(one.outage.witness.events)
            assert {row["id"] for row in told if row["type"] == "end"} == {row["id"] for row in told}


def test_a_log_of_a_newer_version_is_refused_in_words_and_not_touched(small: Settings, node_dir: Path) -> None:
    path = Path(small.state_dir) / "events.db"
    path.parent.mkdir(mode=0o700)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with node(small, node_dir):
        note = until(lambda: read_watchdog(small.runtime_dir).get("track", {}).get("reason"), what="track says why")
        assert "schema version 99" in note
        assert "update the program" in note
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_second_cut_during_the_start_does_no_harm(make_settings: Callable[..., Settings], node_dir: Path) -> None:
    settings = make_settings(view={"enabled": False}, mqtt={"port": 1}, infer={"max_workers": 1})
    for _ in range(3):
        with node(settings, node_dir):
            until(lambda: read_json(Path(settings.runtime_dir) / "stats" / "track.json"), what="track has begun")
            cut_power(settings)
    with node(settings, node_dir):
        until(lambda: len(well(settings)) == 5, what="every process")
        assert EventLogReader(settings.state_dir).after(0) == []
    assert leftovers(settings) == []
