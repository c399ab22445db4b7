"""Starts, ends and scales a node: one supervisord, guarded by a lock in the runtime directory."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from common.config import RESOLVED, child_environment, write_resolved
from common.errors import ConfigError, DeviceError, VedetteError
from common.private import UMASK, make_private, private_file
from common.settings import Settings
from common.shm import flock_file, remove_segments
from common.stats import read_json, write_json
from common.supervisor import Supervisor
from tools.supervisor.conf import Plan, plan_for, plan_members, render

ANSWER_S = 20.0  # for a supervisord that was just started
END_S = 40.0  # for all processes, one after the other
ORPHAN_S = 10.0  # a service ends itself after 4 s at the latest
KILL_S = 5.0


def hold(settings: Settings) -> int:
    """Take the lock of the node, for the life of this process and of what it hands the descriptor to.

    Raises:
        RingError: The node runs already; the message names the process.
    """
    runtime_dir = make_private(Path(settings.runtime_dir))
    return flock_file(runtime_dir / "node.lock", f"node {settings.node!r} runs already, held")


def running(settings: Settings) -> int | None:
    """Process id of the node's supervisord, None when the node is down."""
    try:
        return Supervisor(settings.runtime_dir, timeout_s=5).pid()
    except DeviceError:
        return None


def prepare(settings: Settings, directory: Path) -> list[str]:
    """Write what supervisord and the services read; returns the command that starts supervisord.

    That has to be run with the umask `UMASK`: its files and logs are nobody else's.
    """
    make_private(Path(settings.runtime_dir))
    make_private(Path(settings.state_dir))
    make_private(Path(settings.state_dir) / "logs")
    end_orphans(settings)
    remove_segments(settings.runtime_dir)
    _sweep(settings)
    name, path = write_resolved(settings)
    plan = plan_for(settings, directory, {name: str(path)})
    return [sys.executable, "-P", str(Path(__file__).with_name("launch.py")), "-n", "-c", str(_write(plan))]


def _sweep(settings: Settings) -> None:
    """Remove what an earlier run left: reports that would be taken for today's, and files that were half written."""
    runtime_dir, state_dir = Path(settings.runtime_dir), Path(settings.state_dir)
    for name in ("stats", "exits"):
        for path in (runtime_dir / name).glob("*"):
            path.unlink(missing_ok=True)
    for path in (*runtime_dir.glob(".*.json.*"), *state_dir.glob(".*.json.*"), *state_dir.glob("snapshots/*/*.new")):
        path.unlink(missing_ok=True)
    (runtime_dir / "watchdog.json").unlink(missing_ok=True)


def run_in_foreground(settings: Settings, directory: Path) -> NoReturn:
    """Become the node's supervisord."""
    lock = hold(settings)
    command = prepare(settings, directory)
    os.set_inheritable(lock, True)
    os.chdir(directory)
    os.umask(UMASK)
    os.execve(command[0], command, child_environment())  # noqa: S606 - our own interpreter


def start_in_background(settings: Settings, directory: Path, *, tethered: bool = False) -> subprocess.Popen[bytes]:
    """Start the node's supervisord and wait until it answers.

    Args:
        settings: Of the node.
        directory: Where the services run.
        tethered: End the node when this process dies.

    Raises:
        DeviceError: It ended at once, or does not answer; the message holds its last words.
    """
    lock = hold(settings)
    try:
        command = prepare(settings, directory)
        if tethered:
            command = [sys.executable, "-P", str(Path(__file__).with_name("tether.py")), *command]
        log = Path(settings.state_dir) / "logs" / "supervisord.out"
        with os.fdopen(private_file(log), "wb") as out:
            child = subprocess.Popen(
                command,
                cwd=directory,
                env=child_environment(),
                pass_fds=[lock],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=UMASK,
            )
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(child.pid).encode(), 0)
    finally:
        os.close(lock)
    deadline = time.monotonic() + ANSWER_S
    while running(settings) != child.pid:
        if child.poll() is not None or time.monotonic() > deadline:
            raise DeviceError(f"supervisord did not start: {log.read_text(errors='replace')[-500:].strip()}")
        time.sleep(0.05)
    return child


def stop(settings: Settings) -> bool:
    """End the node and remove what it left in shared memory; False when there was nothing to end."""
    pid = _supervisor_pid(settings)
    if pid is not None:
        try:
            Supervisor(settings.runtime_dir, timeout_s=5).shutdown()
        except DeviceError:  # stopped, or too busy to answer
            _signal(pid, signal.SIGTERM)
        if not wait_for_end([pid], END_S):
            _signal(pid, signal.SIGKILL)
            wait_for_end([pid], KILL_S)
    orphans = end_orphans(settings)
    removed = remove_segments(settings.runtime_dir)
    return bool(pid is not None or orphans or removed)


def end_orphans(settings: Settings) -> int:
    """End what outlived its supervisord; only when that is gone. Returns how many there were."""
    orphans = list(services_of(settings))
    for pid in orphans:
        _signal(pid, signal.SIGCONT)
        _signal(pid, signal.SIGTERM)
    if not wait_for_end(orphans, ORPHAN_S):
        for pid in orphans:
            _signal(pid, signal.SIGKILL)
        wait_for_end(orphans, KILL_S)
    return len(orphans)


def scale(settings: Settings, workers: int) -> list[str]:
    """Run so many infer workers from now on; no other process is touched. Returns what changed.

    Raises:
        ConfigError: More than the rings have slots for, or fewer than one.
        DeviceError: The node is down.
    """
    plan = _read(settings)
    if not 1 <= workers <= plan.max_workers:
        allowed = f"1 to {plan.max_workers} (infer.max_workers: the rings have no slots for more)"
        raise ConfigError(f"scale infer {workers}: {allowed}")
    supervisor = Supervisor(settings.runtime_dir)
    supervisor.pid()
    _write(dataclasses.replace(plan, workers=workers))
    added, _changed, removed = supervisor.reread()
    for program in removed:
        supervisor.remove(program)
    for program in added:
        supervisor.add(program)
    return [f"-{name}" for name in removed] + [f"+{name}" for name in added]


def wait_for_end(pids: list[int], timeout_s: float) -> bool:
    """Wait until processes are gone; False after the time-out."""
    with contextlib.ExitStack() as stack:
        waiting = set()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(pid)
                stack.callback(os.close, handle)
                waiting.add(handle)
        deadline = time.monotonic() + timeout_s
        while waiting and (left := deadline - time.monotonic()) > 0:
            waiting -= set(select.select(waiting, [], [], left)[0])
        return not waiting


@contextlib.contextmanager
def node(settings: Settings, directory: Path) -> Iterator[Callable[[], bool]]:
    """A node for the length of a `with` block; yields a function that tells whether it still lives."""
    child = start_in_background(settings, directory, tethered=True)
    try:
        yield lambda: child.poll() is None
    finally:
        with contextlib.ExitStack() as stack:
            if child.poll() is None:
                stack.callback(child.wait, END_S)
            stop(settings)


def _write(plan: Plan) -> Path:
    path = Path(plan.runtime_dir) / "supervisord.conf"
    text = render(plan)
    write_json(Path(plan.runtime_dir) / "plan.json", dataclasses.asdict(plan))
    with os.fdopen(private_file(path), "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _read(settings: Settings) -> Plan:
    """The plan that the running node was started with: the settings file may have changed since."""
    tree = read_json(Path(settings.runtime_dir) / "plan.json")
    if not tree:
        raise DeviceError(f"node {settings.node!r} is not up (no plan in {settings.runtime_dir})")
    return Plan(**{**tree, "cameras": tuple(tree["cameras"]), "families": tuple(tree["families"])})


def running_members(settings: Settings) -> list[str]:
    """Names of the processes that the node has, as it was started last or else as the settings say."""
    try:
        plan = _read(settings)
    except VedetteError:
        plan = plan_for(settings, Path(), {})
    return [member.name for member in plan_members(plan)]


def _supervisor_pid(settings: Settings) -> int | None:
    """Process that holds the node's lock."""
    path = Path(settings.runtime_dir) / "node.lock"
    if (pid := running(settings)) is not None:
        return pid
    try:
        held = int(path.read_text())
        words = Path(f"/proc/{held}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return held if os.fsencode(settings.runtime_dir) in words and b"supervisor" in words else None


def services_of(settings: Settings) -> Iterator[int]:
    """Every service process that was started for this runtime directory."""
    resolved = Path(settings.runtime_dir) / "settings.json"
    marks = {
        os.fsencode(f"{RESOLVED}={resolved}"),
        os.fsencode(f"VEDETTE__RUNTIME_DIR={settings.runtime_dir}"),
    }
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (directory / "cmdline").read_bytes().split(b"\0")
            if any(word.startswith(b"services.") for word in command) and marks & set(
                (directory / "environ").read_bytes().split(b"\0")
            ):
                yield int(directory.name)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
