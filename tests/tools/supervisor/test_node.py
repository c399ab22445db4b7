"""A node's start, its end, and the lock between two of them: real supervisord, real services."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.config import child_environment
from common.errors import ConfigError, DeviceError, RingError
from common.private import UMASK
from common.settings import Settings
from common.shm import segments
from common.stats import read_stats
from common.supervisor import Supervisor, read_watchdog
from tools.bench.waiting import until
from tools.supervisor.node import node, running, running_members, scale, start_in_background, stop
from tools.supervisor.status import node_status

DEADLINE_S = 60
PROCESS_KEYS = {"name", "pid", "state", "restarts", "cpu_percent", "pss_mb"}
CAMERA_KEYS = {"name", "status", "fps", "faces"}


def states(settings: Settings) -> dict[str, str]:
    return {row.program: row.state for row in Supervisor(settings.runtime_dir).programs()}


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def small(make_settings: Callable[..., Settings]) -> Iterator[Settings]:
    """A node that needs no model, broker or clip to be supervised."""
    settings = make_settings(view={"enabled": False}, mqtt={"port": 1}, infer={"max_workers": 2})
    yield settings
    stop(settings)


def test_a_second_start_names_the_process_that_runs(small: Settings, node_dir: Path) -> None:
    with node(small, node_dir), pytest.raises(RingError, match=rf"runs already, held by process {running(small)} "):
        start_in_background(small, node_dir)


def test_status_has_the_promised_fields_up_and_down(small: Settings, node_dir: Path) -> None:
    down = node_status(small)
    with node(small, node_dir):
        until(lambda: states(small).get("track") == "RUNNING")
        up = node_status(small)
    for status, state in ((down, "down"), (up, "up")):
        assert status["state"] == state
        assert {row["name"] for row in status["processes"]} == set(running_members(small))
        assert all(row.keys() >= PROCESS_KEYS for row in status["processes"])
        assert [camera["name"] for camera in status["cameras"]] == ["door"]
        assert all(camera.keys() >= CAMERA_KEYS for camera in status["cameras"])
    assert {row["state"] for row in down["processes"]} == {"STOPPED"}
    assert all(row["pss_mb"] > 1 for row in up["processes"] if row["name"] == "track")


def test_no_file_of_a_node_is_open_to_others_whatever_the_umask(small: Settings, node_dir: Path) -> None:
    before = os.umask(0)
    try:
        child = start_in_background(small, node_dir)
    finally:
        os.umask(before)
    try:
        until(lambda: segments(small.runtime_dir) and (Path(small.state_dir) / "logs" / "track.log").exists())
        mask = re.search(r"Umask:\s+(\d+)", Path(f"/proc/{child.pid}/status").read_text())
        found = files_of(small)
        names, theirs = {path.name for path in found}, [str(path) for path in found if path.lstat().st_mode & 0o077]
    finally:
        stop(small)
        child.wait(DEADLINE_S)
    assert mask is not None
    assert int(mask[1], 8) == UMASK
    assert names >= {"supervisord.conf", "supervisord.pid", "supervisor.sock", "track.log"}
    assert theirs == []


def files_of(small: Settings) -> list[Path]:
    """Everything that a node has in its directories and in shared memory."""
    mine = [path for root in (small.runtime_dir, small.state_dir) for path in [Path(root), *Path(root).rglob("*")]]
    return [*mine, *segments(small.runtime_dir)]


def test_nothing_is_left_after_the_end(small: Settings, node_dir: Path) -> None:
    with node(small, node_dir):
        until(lambda: segments(small.runtime_dir))
        pids = [row.pid for row in Supervisor(small.runtime_dir).programs() if row.pid]
    assert not any(lives(pid) for pid in pids)
    assert segments(small.runtime_dir) == []
    assert not stop(small), "a second end finds nothing"


def test_stop_cleans_up_after_a_killed_supervisor(small: Settings, node_dir: Path) -> None:
    child = start_in_background(small, node_dir)
    until(lambda: segments(small.runtime_dir))
    pids = [row.pid for row in Supervisor(small.runtime_dir).programs() if row.pid]
    child.kill()
    child.wait()
    stop(small)
    assert not any(lives(pid) for pid in pids)
    assert segments(small.runtime_dir) == []


def test_a_stopped_supervisor_is_ended_too(small: Settings, node_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.supervisor.node.END_S", 1.0)
    child = start_in_background(small, node_dir)
    child.send_signal(signal.SIGSTOP)
    stop(small)
    assert child.wait(DEADLINE_S) in {-signal.SIGKILL, 0}  # 0: its services woke it before that
    assert segments(small.runtime_dir) == []


def test_a_tethered_node_ends_with_who_started_it(small: Settings, node_dir: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom common.config import for_service\n"
        "from tools.supervisor.node import start_in_background\n"
        "child = start_in_background(for_service(), Path(sys.argv[1]), tethered=True)\n"
        "print(child.pid, flush=True)\ntime.sleep(600)\n"
    )
    from common.config import write_resolved

    name, path = write_resolved(small)
    starter = subprocess.Popen(
        [sys.executable, "-c", script, str(node_dir)],
        env=child_environment(**{name: str(path)}),
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    starter.kill()
    starter.communicate()
    until(lambda: not lives(pid))


def test_more_workers_than_the_rings_have_slots_for_are_refused(small: Settings, node_dir: Path) -> None:
    with node(small, node_dir):
        with pytest.raises(ConfigError, match=r"1 to 2 \(infer.max_workers"):
            scale(small, 3)
        assert "infer-2" not in states(small)


def test_scaling_a_node_that_is_down_says_so(small: Settings) -> None:
    with pytest.raises(DeviceError, match="is not up"):
        scale(small, 2)


def test_scaling_restarts_nobody(small: Settings, node_dir: Path) -> None:
    with node(small, node_dir):
        supervisor = Supervisor(small.runtime_dir)
        until(lambda: set(states(small).values()) == {"RUNNING"})
        before = {row.program: row.pid for row in supervisor.programs()}
        assert scale(small, 2) == ["+infer-1"]
        until(lambda: states(small).get("infer-1") == "RUNNING")
        assert scale(small, 1) == ["-infer-1"]
        assert {row.program: row.pid for row in supervisor.programs()} == before


def test_a_stopped_process_is_killed_and_the_reason_kept(small: Settings, node_dir: Path) -> None:
    with node(small, node_dir):
        pid = pid_when_running(small, "track")
        os.kill(pid, signal.SIGSTOP)
        note = until(lambda: read_watchdog(small.runtime_dir).get("track"))
        assert note["reason"] == "was stopped, killed"
        until(lambda: read_stats(small.runtime_dir).get("track", {}).get("pid") not in {None, pid})
        until(lambda: read_watchdog(small.runtime_dir)["track"]["restarts"] == 1)


def test_wrong_settings_stay_down_and_say_why(small: Settings, node_dir: Path) -> None:
    with node(small, node_dir):
        pid = pid_when_running(small, "capture:door")
        resolved = Path(small.runtime_dir) / "settings.json"
        resolved.write_text(resolved.read_text().replace('"door"', '"porch"'))
        os.kill(pid, signal.SIGKILL)
        note = until(lambda: said(small, "capture:door", "wrong settings"))
        assert "no camera 'door'; known: porch" in note
        until(lambda: states(small)["capture-door"] == "EXITED")
        assert states(small)["track"] == "RUNNING"


def test_what_was_given_up_is_revived(small: Settings, node_dir: Path) -> None:
    with node(small, node_dir):
        pid_when_running(small, "capture:door")
        until(lambda: kill_again(small, "capture-door") == "STOPPED")
        until(lambda: states(small)["capture-door"] == "RUNNING")
        assert read_watchdog(small.runtime_dir)["capture:door"]["restarts"] >= 4


def kill_again(settings: Settings, program: str) -> str:
    """Kill a program if it is starting or running; its state."""
    row = Supervisor(settings.runtime_dir).program(program)
    if row.pid and row.state != "STOPPING":
        os.kill(row.pid, signal.SIGKILL)
    return row.state


def said(settings: Settings, name: str, words: str) -> str:
    reason = str(read_watchdog(settings.runtime_dir).get(name, {}).get("reason", ""))
    return reason if words in reason else ""


def pid_when_running(settings: Settings, name: str) -> int:
    def look() -> int:
        report = read_stats(settings.runtime_dir).get(name, {})
        return int(report["pid"]) if report.get("state") == "running" else 0

    return int(until(look))
