"""Checks of the machine itself: Python, packages, scheduling, memory, disk."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import pwd
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from common.fleet import ring_slots
from common.settings import Settings
from common.shm import SHM, segments
from tools.doctor.finding import Finding, fail, ok, warn
from tools.supervisor.conf import ROOT

OLDEST = (3, 11)
USUAL_SIZE = (1920, 1080)  # assumed for cameras whose size the settings leave open
BYTES_A_PIXEL = 3  # BGR, the largest format
DISK_MB = 500
ORDINARY_UID = 1000  # from here on logind takes a user for a person


def python(_settings: Settings) -> Iterator[Finding]:
    """The interpreter is new enough."""
    text = f"{platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores"
    if sys.version_info >= OLDEST:
        yield ok("python", text)
    else:
        yield fail("python", text, "3.11 or newer is needed")


def packages(_settings: Settings) -> Iterator[Finding]:
    """What the node imports is installed."""
    missing = [name for name in _required() if not _installed(name)]
    if missing:
        yield fail("packages", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    else:
        yield ok("packages", "all installed")


def realtime(_settings: Settings) -> Iterator[Finding]:
    """capture, track and publish may run under SCHED_FIFO."""
    before, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(10))
    except PermissionError:
        user = pwd.getpwuid(os.getuid()).pw_name
        yield warn(
            "realtime",
            "SCHED_FIFO is not allowed: under load frames are told some 20 ms later",
            f"echo '{user} - rtprio 20' | sudo tee /etc/security/limits.d/vedette.conf, then log in again; "
            "`vedette service install` allows it for the unit",
        )
        return
    os.sched_setscheduler(0, before & ~os.SCHED_RESET_ON_FORK, parameter)
    yield ok("realtime", "SCHED_FIFO is allowed")


def shared_memory(settings: Settings) -> Iterator[Finding]:
    """The rings of all cameras fit into /dev/shm."""
    needed = sum(
        (camera.width or USUAL_SIZE[0]) * (camera.height or USUAL_SIZE[1]) * BYTES_A_PIXEL
        for camera in settings.cameras.values()
    ) * ring_slots(settings.infer.max_workers, settings.optional)
    try:
        free = shutil.disk_usage(SHM).free + sum(path.stat().st_size for path in segments(settings.runtime_dir))
    except OSError as error:
        yield fail("shared memory", f"{SHM}: {error.strerror}", f"mount a tmpfs at {SHM}")
        return
    text = f"{needed / 1e6:.0f} MB needed at most, {free / 1e6:.0f} MB free in {SHM}"
    if free >= needed:
        yield ok("shared memory", text)
    else:
        size = f"{needed * 3 // 2 >> 20}M"
        yield fail("shared memory", text, f"sudo mount -o remount,size={size} {SHM}; or lower infer.max_workers")


def ipc_removal(_settings: Settings) -> Iterator[Finding]:
    """Logind does not empty /dev/shm when the user who runs the node logs out."""
    uid = os.getuid()
    user = pwd.getpwuid(uid).pw_name
    if uid < ORDINARY_UID or not Path("/run/systemd/system").is_dir():
        yield ok("logout", f"user {user} keeps shared memory")
    elif _removes_ipc() and not Path("/var/lib/systemd/linger", user).exists():
        yield warn(
            "logout",
            f"at the last logout of {user} systemd removes the node's shared memory (RemoveIPC), and cameras stop",
            f"sudo loginctl enable-linger {user}",
        )
    else:
        yield ok("logout", f"user {user} keeps shared memory after a logout")


def disk(settings: Settings) -> Iterator[Finding]:
    """There is room for the event log, pictures and logs."""
    path = Path(settings.state_dir)
    while not path.exists():
        path = path.parent
    free_mb = shutil.disk_usage(path).free / 1e6
    wanted = settings.events.keep_mb + settings.events.keep_snapshots_mb + DISK_MB
    text = f"{free_mb:.0f} MB free for {settings.state_dir}"
    if not os.access(path, os.W_OK):
        yield fail("disk", f"{path} is not writable for this user", "set state_dir, or change its owner")
    elif free_mb < wanted:
        yield warn("disk", text, f"{wanted:.0f} MB are wise; lower events.keep_mb and events.keep_snapshots_mb")
    else:
        yield ok("disk", text)


def _required() -> list[str]:
    """Names of the packages that the node needs, from its own metadata or the checkout."""
    project = ROOT / "pyproject.toml"
    if project.is_file():
        rows = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    else:
        rows = [row for row in importlib.metadata.requires("vedette") or [] if "extra ==" not in row]
    return [re.split(r"[^A-Za-z0-9_.-]", row, maxsplit=1)[0] for row in rows]


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _removes_ipc() -> bool:
    """RemoveIPC of logind, which is on unless it is switched off."""
    folders = (
        Path("/etc/systemd/logind.conf.d"),
        Path("/run/systemd/logind.conf.d"),
        Path("/usr/lib/systemd/logind.conf.d"),
    )
    files = [Path("/etc/systemd/logind.conf"), *(path for folder in folders for path in sorted(folder.glob("*.conf")))]
    texts = [path.read_text(errors="replace") for path in files if path.is_file()]
    values = re.findall(r"^\s*RemoveIPC\s*=\s*(\w+)", "\n".join(texts), re.MULTILINE)
    return not values or values[-1].lower() not in {"no", "false", "0", "off"}
