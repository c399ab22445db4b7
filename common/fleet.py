"""The processes of a node, one row each: supervisord.conf, status, budgets and documents come from this table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Scaling = Literal["one", "per camera", "per worker"]


@dataclass(frozen=True, slots=True)
class Process:
    """A row of the fleet table.

    Attributes:
        family: Name of the service, and of its folder under services/.
        purpose: What it does, in a few words.
        publishes: Topics that it sends.
        subscribes: Topics that it hears.
        priority: Start order for supervisord; lower starts first.
        scaling: How many run: one, one for each camera, or one for each worker.
        leases: Ring slots that one such process holds at most.
        realtime: Asks for SCHED_FIFO when the system allows it.
        memory_mb: Budget of proportional memory on the demo, megabytes.
        optional: Runs only where the settings ask for it, and costs nothing elsewhere.
    """

    family: str
    purpose: str
    publishes: tuple[str, ...]
    subscribes: tuple[str, ...]
    priority: int
    scaling: Scaling
    leases: int
    realtime: bool
    memory_mb: int
    optional: bool = False

    @property
    def module(self) -> str:
        """Module that `python3 -m` starts."""
        return f"services.{self.family}"


FLEET: dict[str, Process] = {
    row.family: row
    for row in (
        Process("watchdog", "restarts what hangs or fails", (), (), 10, "one", 0, False, 30),
        # A node ends in reverse order: track writes the last ends before publish, which tells them, goes.
        Process("publish", "MQTT, commands and best pictures", ("control",), ("tracks", "camera", "events", "commands"),
                20, "one", 1, True, 80),
        Process("track", "follows faces, writes the event log", ("tracks", "events"), ("results", "camera", "control"),
                30, "one", 0, True, 60),
        Process("view", "the page, MJPEG and pictures", ("commands",), ("frames", "tracks", "camera", "control"),
                40, "one", 1, False, 90),
        Process("screen", "the picture on HDMI or in a window", (), ("frames", "tracks", "camera", "control"),
                45, "one", 1, False, 90, optional=True),
        Process("infer", "finds faces in the newest frames", ("results",), ("frames", "control"),
                50, "per worker", 1, False, 120),
        Process("capture", "brings frames into the ring", ("frames", "camera"), ("control", "tracks"),
                60, "per camera", 0, True, 80),
    )
}  # fmt: skip

MAX_WORKERS = 8  # owners in a claim word; the ring holds a slot for each worker that may come


@dataclass(frozen=True, slots=True)
class Member:
    """One running process: `name` as users see it (`capture:door`, `infer:0`, `track`)."""

    name: str
    process: Process
    argument: str  # camera or worker index, empty for single processes

    @property
    def program(self) -> str:
        """Name of its supervisord program: a colon would mean a group there."""
        return self.name.replace(":", "-", 1)


def members(cameras: Iterable[str], workers: int, optional: Iterable[str] = ()) -> list[Member]:
    """All processes of a node with these cameras, workers and optional families, in start order."""
    cameras, optional = list(cameras), set(optional)
    rows: list[Member] = []
    for process in sorted(FLEET.values(), key=lambda row: row.priority):
        if process.optional and process.family not in optional:
            continue
        arguments = {"one": [""], "per camera": cameras, "per worker": [str(index) for index in range(workers)]}
        for argument in arguments[process.scaling]:
            name = f"{process.family}:{argument}" if argument else process.family
            rows.append(Member(name, process, argument))
    return rows


def ring_slots(max_workers: int, optional: Iterable[str] = ()) -> int:
    """Slots of a camera's ring.

    Every holder (workers that may ever come, view, publish, optional families that run), plus 3: one being written, the
    newest, and one for the frame whose result waits in track for an earlier one. A worker's batch has one frame of each
    camera at most, so it needs no more slots of a ring than a single frame.
    """
    optional = set(optional)
    running = [row for row in FLEET.values() if not row.optional or row.family in optional]
    single = sum(row.leases for row in running if row.scaling == "one")
    return max_workers + single + 3
