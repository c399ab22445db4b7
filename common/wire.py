"""The table of topics, and the door to every message on the bus (`common/messages`, by the family that sends it).

A message is one msgpack array: VERSION first, then the fields in their order. Fields are added at the end and
VERSION rises. Times are CLOCK_MONOTONIC nanoseconds. Arrays travel as their little-endian bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from common.messages.capture import CameraState, CameraStatus, FrameHandle
from common.messages.infer import Claim, DetectionResult
from common.messages.message import Message
from common.messages.publish import CameraControl, ControlState
from common.messages.track import CONFIRMED, LOST, STATE_NAMES, TENTATIVE, EventNotice, TrackFrame
from common.messages.view import Command

__all__ = [
    "CONFIRMED",
    "LOST",
    "STATE_NAMES",
    "TENTATIVE",
    "TOPICS",
    "CameraControl",
    "CameraState",
    "CameraStatus",
    "Claim",
    "Command",
    "ControlState",
    "DetectionResult",
    "EventNotice",
    "FrameHandle",
    "Message",
    "Topic",
    "TrackFrame",
]


@dataclass(frozen=True, slots=True)
class Topic:
    """A row of the topic table.

    Attributes:
        name: Name; also the stem of its endpoint's file.
        message: Class of its messages.
        producer: Family of the processes that send it.
        pattern: `pub`: every producer binds, consumers subscribe. `pull`: the one consumer binds, producers push.
        per_camera: Each camera has an endpoint of its own.
        rate: How often, in words.
        stale_s: Silence after which a consumer calls the producer dead; 0 when silence is normal.
    """

    name: str
    message: type[Any]
    producer: str
    pattern: Literal["pub", "pull"]
    per_camera: bool
    rate: str
    stale_s: float


TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic("frames", FrameHandle, "capture", "pub", True, "each frame", 0),
        Topic("camera", CameraState, "capture", "pub", True, "1/s and on change", 5.0),
        Topic("results", DetectionResult, "infer", "pull", False, "each detected frame", 0),
        Topic("tracks", TrackFrame, "track", "pub", False, "each detected frame", 0),
        Topic("events", EventNotice, "track", "pub", False, "when the event log grew", 0),
        Topic("control", ControlState, "publish", "pub", False, "1/s and on change", 5.0),
        Topic("commands", Command, "view", "pull", False, "when a user presses a button", 0),
    )
}
