"""What capture sends: handles of frames, and how its camera is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Self

from common.codec import pack_fields, unpack_fields
from common.errors import WireError
from common.messages.message import JUST_NS, Message

CameraStatus = Literal["online", "offline", "disabled", "ended"]


class FrameHandle(NamedTuple):
    """A frame that lies in its camera's ring (topic `frames`).

    A named tuple, because it is part of most messages: from a list to a handle takes half the time of a dataclass, and
    on the wire it is its own fields.

    Attributes:
        camera: Name of the camera.
        epoch: Random id of the ring, new at every start of capture.
        slot: Index of the slot that holds the pixels.
        generation: How often the slot was written; a reader compares it after taking the lease.
        seq: Frame counter of this capture process, from 1; in a replay the number of the frame in the clip.
        captured_ns: When the frame was complete at the source (monotonic).
        media_ns: Position in the stream by its own time stamps, from 0.
        published_ns: When the handle was sent.
        offer: How often this frame was offered before; above 0 only in a replay.
    """

    camera: str
    epoch: int
    slot: int
    generation: int
    seq: int
    captured_ns: int
    media_ns: int
    published_ns: int
    offer: int = 0

    def pack(self) -> bytes:
        """Bytes on the wire."""
        return pack_fields(*self)

    def is_just_sent(self) -> bool:
        """True when it is so young that its sender cannot have a newer one, and others may wait for a turn."""
        return time.monotonic_ns() - self.published_ns < JUST_NS

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Handle of these bytes.

        Raises:
            WireError: The bytes are not a handle.
        """
        return cls._make(unpack_fields(data, HANDLE_TYPES, "frames"))


HANDLE_TYPES = (str, int, int, int, int, int, int, int, int)  # of a handle's fields


@dataclass(frozen=True, slots=True)
class CameraState(Message):
    """How a camera is (topic `camera`): sent on change and once a second.

    Attributes:
        camera: Name of the camera.
        status: `online`, `offline` (retrying), `disabled` (switched off) or `ended` (the file was played to its end).
        reason: Why, in words; empty when online.
        width: Columns of its frames in pixels, 0 while unknown.
        height: Rows of its frames in pixels, 0 while unknown.
        fps: Frames per second measured over the last second.
        nominal_fps: Rate that the source announces, 0 when unknown.
        seq: Newest frame.
        sent_ns: When this was sent.
    """

    camera: str
    status: CameraStatus
    reason: str
    width: int
    height: int
    fps: float
    nominal_fps: float
    seq: int
    sent_ns: int

    TYPES: ClassVar = (str, str, str, int, int, float, float, int, int)

    def pack(self) -> bytes:
        return pack_fields(
            self.camera, self.status, self.reason, self.width, self.height, float(self.fps), float(self.nominal_fps),
            self.seq, self.sent_ns,
        )  # fmt: skip

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        fields = unpack_fields(data, cls.TYPES, "camera")
        if fields[1] not in {"online", "offline", "disabled", "ended"}:
            raise WireError(f"camera: status {fields[1]!r}")
        return cls(*fields)
