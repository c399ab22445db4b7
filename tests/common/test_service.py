"""The service runner, in real processes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common import config
from common.settings import Settings
from common.stats import read_json, read_stats
from tools.bench.waiting import until

ROOT = Path(__file__).parents[2]
PRELUDE = "import os, sys, time\nfrom common.service import run\n"
LOOP = "def main(service):\n    while not service.stopping:\n        time.sleep(0.02)\n        service.beat()\n"

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(make_settings: Callable[..., Settings]) -> Iterator[Start]:
    """Starts `run(family, main)` of a script in a process of its own."""
    children: list[subprocess.Popen[bytes]] = []

    def begin(family: str, *arguments: str, script: str = LOOP, tree: dict[str, Any] | None = None, **extra: str):
        settings = make_settings(**(tree or {}))
        name, path = config.write_resolved(settings)
        environment = config.child_environment(**{name: str(path)}, **extra)
        code = f"{PRELUDE}{script}\nrun({family!r}, main)\n"
        child = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        children.append(child)
        child.runtime_dir = settings.runtime_dir  # type: ignore[attr-defined]
        return child

    yield begin
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


def running(child: Any, name: str) -> Any:
    return until(lambda: read_stats(child.runtime_dir).get(name, {}).get("state") == "running")


def gone(pid: int) -> bool:
    """True when a process is dead, reaped by its new parent or not yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_loop_with_exit_code_0(start: Start, number: signal.Signals) -> None:
    child = start("capture", "door")
    running(child, "capture:door")
    child.send_signal(number)
    assert child.wait(20) == 0
    assert read_stats(child.runtime_dir) == {}
    assert read_json(Path(child.runtime_dir) / "exits" / "capture:door.json")["code"] == 0


def test_report_tells_pid_state_and_reason(start: Start) -> None:
    script = LOOP.replace("service.beat()", "service.beat('waiting', 'no camera')")
    child = start("infer", "1", script=script)
    report = until(lambda: (r := read_stats(child.runtime_dir).get("infer:1")) and r["state"] == "waiting" and r)
    assert (report["pid"], report["reason"]) == (child.pid, "no camera")
    assert report["rss_mb"] > 1
    assert (Path(child.runtime_dir) / "stats").stat().st_mode & 0o077 == 0


def test_crash_ends_with_1_and_says_why(start: Start) -> None:
    child = start("track", script="def main(service):\n    raise RuntimeError('broken on purpose')\n")
    assert child.wait(20) == 1
    assert "broken on purpose" in read_json(Path(child.runtime_dir) / "exits" / "track.json")["reason"]
    assert child.stderr is not None
    assert b"Traceback" in child.stderr.read()


@pytest.mark.parametrize(
    ("family", "arguments", "message"),
    [
        ("capture", ["porch"], b"no camera 'porch'; known: door"),
        ("capture", [], b"takes the name of a camera"),
        ("infer", ["9"], b"no worker '9'; 0 to 3"),
        ("track", ["x"], b"takes no argument"),
    ],
)
def test_wrong_arguments_end_with_2(start: Start, family: str, arguments: list[str], message: bytes) -> None:
    child = start(family, *arguments)
    assert child.wait(20) == 2
    assert child.stderr is not None
    assert message in child.stderr.read()


def test_wrong_settings_end_with_2_and_are_told(start: Start, tmp_path: Path) -> None:
    (tmp_path / "vedette.yml").write_text("cameras: {door: {sauce: 'x:'}}\n")
    extra = {config.RESOLVED: "", config.CONFIG: str(tmp_path / "vedette.yml")}
    environment = config.child_environment(**extra)
    code = f"{PRELUDE}{LOOP}\nrun('track', main)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"did you mean 'source'" in done.stderr


@pytest.mark.parametrize("hang", ["time.sleep(60)", "sum(iter(int, 1))"], ids=["sleeping", "spinning"])
def test_a_hung_loop_is_ended_and_says_where(start: Start, hang: str) -> None:
    child = start("track", script=f"def main(service):\n    service.beat()\n    {hang}\n")
    assert child.wait(60) == 1
    assert child.stderr is not None
    assert b"Timeout" in child.stderr.read()


def test_grace_allows_a_slow_call_and_hangs_are_seen_after_it(start: Start) -> None:
    script = (
        "import common.service\n"
        "common.service.LAST_RESORT_S = 1.0\n"
        "def main(service):\n"
        "    with service.grace(60):\n"
        "        time.sleep(6)\n"
        "    print('slow call done', flush=True)\n"
        "    time.sleep(60)\n"
    )
    child = start("track", script=script)
    assert child.wait(60) == 1
    assert child.stdout is not None
    assert b"slow call done" in child.stdout.read()


def test_placement_reaches_the_kernel(start: Start) -> None:
    core = min(os.sched_getaffinity(0))
    tree = {"processes": {"infer": {"nice": 5}, "infer:0": {"cores": [core], "nice": 7}}}
    child = start("infer", "0", tree=tree)
    running(child, "infer:0")
    assert os.sched_getaffinity(child.pid) == {core}
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == 7


def test_realtime_is_for_the_loop_thread_only(start: Start) -> None:
    if os.getuid() and resource.getrlimit(resource.RLIMIT_RTPRIO)[0] < 7:
        pytest.skip("SCHED_FIFO needs a right that this user lacks")
    script = "from threading import Thread\ndef main(service):\n"
    script += "    Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    script += LOOP.partition("\n")[2]
    child = start("track", script=script, tree={"processes": {"track": {"policy": "fifo", "priority": 7}}})
    running(child, "track")
    tasks = [int(task.name) for task in Path(f"/proc/{child.pid}/task").iterdir()]
    policies = {task: os.sched_getscheduler(task) for task in tasks}
    assert policies.pop(child.pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
    assert os.sched_getparam(child.pid).sched_priority == 7
    assert set(policies.values()) == {os.SCHED_OTHER}


PARENT = """
import json, os, subprocess, sys
child = subprocess.Popen(json.loads(sys.argv[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(child.pid, flush=True)  # supervisor
sys.stdin.read()
"""


def test_a_service_follows_its_supervisor_into_death(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    name, path = config.write_resolved(settings)
    environment = config.child_environment(**{name: str(path), "SUPERVISOR_ENABLED": "1"})
    command = [sys.executable, "-c", f"{PRELUDE}{LOOP}\nrun('track', main)\n"]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, json.dumps(command), "supervisord"],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stdin=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    until(lambda: read_stats(settings.runtime_dir).get("track", {}).get("state") == "running")
    parent.kill()
    parent.communicate()
    until(lambda: gone(pid))


THREAD = """
import threading
def main(service):
    pulse, lock = service.pulse("writer"), threading.Lock()
    def write():
        with pulse.work():
            {work}
    threading.Thread(target=write, daemon=True).start()
    while not service.stopping:
        service.beat()
        service.bus.wait(100)
"""


def test_a_deadlocked_thread_takes_the_process_down_and_is_named(start: Start) -> None:
    child = start("track", script=THREAD.format(work="lock.acquire(); lock.acquire()"))
    assert child.wait(40) == 1
    assert "its thread 'writer' hung" in read_json(Path(child.runtime_dir) / "exits" / "track.json")["reason"]
    assert child.stderr is not None
    assert b"in write" in child.stderr.read()


def test_a_thread_that_computes_for_long_is_no_fault(start: Start) -> None:
    child = start("track", script=THREAD.format(work="while True: pass"))
    beats = {0}
    until(lambda: beats.add(read_stats(child.runtime_dir).get("track", {}).get("beat_ns", 0)) or len(beats) > 7, 60)
    assert child.poll() is None
