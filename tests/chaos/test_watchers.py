"""Who watches the watchers: a stopped watchdog, a stopped supervisord, and both; what nobody has heard of yet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from common.heartbeat import beat_path, is_stopped, read_beat
from common.service import HANG_S
from common.settings import Settings
from common.stats import read_stats
from common.supervisor import read_watchdog
from tools.bench.private import well as pids
from tools.bench.procfs import child_that_runs, fill, lives, parent_of
from tools.bench.waiting import until
from tools.supervisor.node import node, stop


def test_a_stopped_watchdog_is_replaced_and_nothing_else_is_touched(small: Settings, node_dir: Path) -> None:
    with node(small, node_dir):
        before = until(lambda: found if len(found := pids(small)) == 5 else None)
        os.kill(before["watchdog"], signal.SIGSTOP)
        after = until(
            lambda: now if (now := pids(small)).get("watchdog", before["watchdog"]) != before["watchdog"] else 0
        )
        assert "no heartbeat" in until(lambda: read_watchdog(small.runtime_dir).get("watchdog", {}).get("reason"))
        assert {**after, "watchdog": 0} == {**before, "watchdog": 0}


def test_a_stopped_supervisor_is_woken_and_goes_on_restarting(small: Settings, node_dir: Path) -> None:
    with node(small, node_dir):
        before = until(lambda: found if len(found := pids(small)) == 5 else None)
        supervisor = parent_of(pids(small)["track"])
        os.kill(before["watchdog"], signal.SIGSTOP)
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(before["capture:door"], signal.SIGKILL)
        for name in ("watchdog", "capture:door"):
            reborn = until(lambda name=name: (pid := pids(small).get(name)) != before[name] and pid)  # type: ignore[misc]
            assert parent_of(reborn) == supervisor
        assert not is_stopped(supervisor)


def test_a_process_that_was_stopped_before_its_first_sign_of_life_is_replaced(small: Settings, node_dir: Path) -> None:
    with node(small, node_dir):
        until(lambda: len(pids(small)) == 5)
        supervisor, before = parent_of(pids(small)["track"]), pids(small)["capture:door"]
        os.kill(before, signal.SIGKILL)
        newborn = until(lambda: (pid := child_that_runs(supervisor, "services.capture")) != before and pid)
        os.kill(newborn, signal.SIGSTOP)
        until(lambda: not lives(newborn))
        until(lambda: pids(small).get("capture:door", newborn) not in {before, newborn})
        assert "was stopped, killed" in read_watchdog(small.runtime_dir)["capture:door"]["reason"]


SPIN = "import os; os.sched_setaffinity(0, {%d}); os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))"


@pytest.mark.slow
def test_a_process_without_a_core_is_not_taken_for_a_hung_one(small: Settings, node_dir: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if os.getuid() != 0 or len(cores) < 2:
        pytest.skip("needs root, and a second core")
    with node(small, node_dir):
        before = until(lambda: found if len(found := pids(small)) == 5 else None)
        starved, beat = before["capture:door"], beat_path(small.runtime_dir, "capture:door")
        os.sched_setaffinity(starved, {cores[-1]})
        os.sched_setscheduler(
            starved, os.SCHED_FIFO, os.sched_param(1)
        )  # the rest that ordinary work gets is not for it
        spinner = subprocess.Popen([sys.executable, "-c", SPIN % cores[-1] + "\nwhile True: pass"])
        try:
            until(lambda: (found := read_beat(beat)) is not None and found.silent_s > HANG_S + 4)
        finally:
            spinner.kill()
            spinner.wait()
        until(lambda: (found := read_beat(beat)) is not None and found.silent_s < 2)
        assert pids(small) == before
        assert read_watchdog(small.runtime_dir).get("capture:door", {}).get("restarts", 0) == 0


@pytest.mark.slow
def test_a_full_runtime_directory_kills_nobody(
    make_settings: Callable[..., Settings], node_dir: Path, tmpfs: Callable[[str, int], Path]
) -> None:
    run = tmpfs("run", 4_000_000)
    settings = make_settings(
        runtime_dir=str(run),
        view={"enabled": False},
        mqtt={"port": 1},
        cameras={"door": {"source": "pattern:64x48@30"}},
    )
    try:
        with node(settings, node_dir):
            before = until(lambda: found if len(found := pids(settings)) == 5 else None)
            filler = fill(run)
            looks = [0]

            def old() -> bool:  # longer than the watchdog's patience
                looks[0] += 1
                return looks[0] > 200

            until(old)
            assert all(lives(pid) for pid in before.values())
            os.kill(before["watchdog"], signal.SIGKILL)  # its notes cannot be written either
            supervisor = parent_of(pids(settings)["track"])
            newborn = until(lambda: child_that_runs(supervisor, "services.watchdog"))
            filler.unlink()
            until(lambda: read_stats(settings.runtime_dir).get("watchdog", {}).get("pid") == newborn)
            assert {name: pid for name, pid in pids(settings).items() if name != "watchdog"} == {
                name: pid for name, pid in before.items() if name != "watchdog"
            }
    finally:
        stop(settings)
