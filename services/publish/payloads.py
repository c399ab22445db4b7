"""What stands in each JSON message on MQTT: the code builds these, and the schemas for others are made of them.

`vedette schema` turns the types with their limits and docstrings into JSON Schema; version 1 of every message. Fields
may be added within a version, so readers ignore what they do not know.
"""

from __future__ import annotations

from typing import Annotated, Literal

from typing_extensions import TypedDict

from common.limits import Ge, Le, Len

VERSION = 1

Fraction = Annotated[float, Ge(0), Le(1)]
Natural = Annotated[int, Ge(0)]
Box = Annotated[list[Fraction], Len(4, 4)]


class EventPayload(TypedDict):
    """Something happened to a face. Repetitions are possible: drop what is not above the last `seq` of its `id`."""

    v: Literal[1]
    """Version of this payload."""
    type: Literal["start", "update", "end"]
    """Each start is followed by exactly one end of the same id."""
    id: Annotated[str, Len(1, 64)]
    """The same for all messages of one face; sorts by time."""
    seq: Annotated[int, Ge(1)]
    """1, 2, 3 ... within one id."""
    camera: str
    """Name of the camera."""
    track_id: Natural
    """Number of the face in the tracks."""
    time: str
    """Wall time, RFC 3339, UTC."""
    box: Box
    """Last seen place: x, y, width, height in 0..1 of the picture."""
    score: Fraction
    """Of the last detection."""
    best_score: Fraction
    """Best of all detections so far."""
    duration_s: Annotated[float, Ge(0)]
    """From the first to the last detection."""
    zones: list[str]
    """Names of the zones that the face is in."""
    snapshot: str | None
    """Topic of the picture; null when none are taken."""


class TrackRow(TypedDict):
    """One face of a frame."""

    id: Natural
    """Number of the face, the same from frame to frame."""
    box: Box
    """x, y, width, height in 0..1 of the picture; the part that lies in it."""
    score: Fraction
    """Of the last detection."""
    state: Literal["tentative", "confirmed", "lost"]
    """How sure the tracker is."""


class TracksPayload(TypedDict):
    """The shown faces of one frame."""

    v: Literal[1]
    """Version of this payload."""
    camera: str
    """Name of the camera."""
    seq: Natural
    """Number of the frame."""
    captured_ns: Natural
    """When it was captured: CLOCK_MONOTONIC of the node, nanoseconds."""
    time: str
    """When it was captured: wall time, RFC 3339, UTC."""
    tracks: list[TrackRow]
    """Its faces."""


class Quantiles(TypedDict):
    """Latencies of the last seconds, in milliseconds."""

    p50: float
    """Median."""
    p99: float
    """99 of 100 were faster."""
    max: float
    """The slowest."""
    n: Natural
    """How many."""


class ProcessStats(TypedDict):
    """One process."""

    state: str
    """starting, running, waiting, or silent: nothing was heard for 5 s."""
    reason: str
    """What it waits for, or what is degraded."""
    fps: float | None
    """Frames a second; null where it handles none."""
    latency_ms: dict[str, Quantiles]
    """By stage."""
    totals: dict[str, int]
    """Counters since its start."""
    drops: dict[str, int]
    """What it dropped since its start, by reason."""
    gauges: dict[str, float]
    """Levels now."""
    cpu_percent: float | None
    """Of one core."""
    rss_mb: float | None
    """Memory, shared parts counted in full."""
    pss_mb: float | None
    """Memory, shared parts counted in proportion."""
    restarts: Natural
    """How often the watchdog saw it started again."""
    last_end: str
    """Why it ended last; empty when it never did."""


class CameraStats(TypedDict):
    """One camera."""

    status: Literal["online", "offline", "disabled"]
    """As on its status topic."""
    fps: float
    """Frames captured a second."""
    faces: Natural
    """Faces shown now."""


class StatsPayload(TypedDict):
    """The numbers of the node. What cannot be read is null."""

    v: Literal[1]
    """Version of this payload."""
    node: str
    """Name of the node."""
    version: str
    """Of the program."""
    time: str
    """Wall time, RFC 3339, UTC."""
    uptime_s: float
    """Since publish was started."""
    latency_p99_ms: float | None
    """From capture to the broker's socket where tracks are on MQTT, else from capture to the faces of that frame."""
    cpu_percent: float
    """Of all processes; 100 is one core."""
    memory_mb: float
    """Of all processes."""
    temperature_c: float | None
    """Of the warmest sensor, in degrees Celsius."""
    power_w: float | None
    """Of the board, in watts."""
    cameras: dict[str, CameraStats]
    """By name."""
    processes: dict[str, ProcessStats]
    """By name."""


class RefusalPayload(TypedDict):
    """Why a command was refused."""

    v: Literal[1]
    """Version of this payload."""
    payload: str
    """What was asked for, cut after 100 letters."""
    reason: str
    """What is wrong with it, and what is allowed."""


JSON_PAYLOADS = {
    "event": EventPayload,
    "tracks": TracksPayload,
    "stats": StatsPayload,
    "refusal": RefusalPayload,
}
