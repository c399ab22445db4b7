"""What track sends: the faces at a frame, and that the event log grew."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from common.codec import (
    F4,
    I4,
    I8,
    U1,
    array_bytes,
    check_lengths,
    check_texts,
    pack_fields,
    unpack_array,
    unpack_fields,
)
from common.errors import WireError
from common.messages.capture import HANDLE_TYPES, FrameHandle
from common.messages.message import JUST_NS, Boxes, Message

TENTATIVE, CONFIRMED, LOST = 0, 1, 2
STATE_NAMES = ("tentative", "confirmed", "lost")

TRACKS_TYPES = (list, int, int, int, int, int, list, list)  # of the fields on the wire, arrays last
ARRAYS: tuple[tuple[str, int, np.dtype[Any]], ...] = (  # in the order of the wire: columns, and what they travel as
    ("ids", 1, I8),
    ("boxes", 4, F4),
    ("velocities", 4, F4),
    ("scores", 1, F4),
    ("states", 1, U1),
    ("shown", 1, U1),
    ("detection_index", 1, I4),
    ("hits", 1, I4),
    ("ages_s", 1, F4),
    ("detections", 4, F4),
    ("landmarks", 10, F4),
)


class TrackFrame(NamedTuple):
    """All faces of one camera at one frame (topic `tracks`); a named tuple for the same reason as a handle.

    Attributes:
        frame: Handle of the frame that the tracks belong to.
        width: Columns of the frame in pixels.
        height: Rows of the frame in pixels.
        claimed_ns: When a worker began with the frame.
        finished_ns: When its detections were ready.
        tracked_ns: When this was sent.
        ids: Shape (K,), track ids, int64; every live track, shown or not.
        boxes: Shape (K, 4), xyxy in pixels, float32.
        velocities: Shape (K, 4), change of the box in pixels per second, float32.
        scores: Shape (K,), of the last matched detection, float32.
        states: Shape (K,), TENTATIVE, CONFIRMED or LOST, uint8.
        shown: Shape (K,), 1 where a viewer is shown the box, uint8.
        detection_index: Shape (K,), row in `detections` that was matched in this frame or -1 (then the box is a
            prediction), int32.
        hits: Shape (K,), matched detections in the life of the track, int32.
        ages_s: Shape (K,), seconds since the track's first detection, float32.
        event_ids: One text a track: the id of its event, empty before the event has started.
        detections: Shape (N, 4), every detection of the frame, xyxy in pixels, float32.
        landmarks: Shape (N, 10) or (0, 10), of the detections, pixels, float32.
    """

    frame: FrameHandle
    width: int
    height: int
    claimed_ns: int
    finished_ns: int
    tracked_ns: int
    ids: NDArray[np.int64]
    boxes: Boxes
    velocities: Boxes
    scores: NDArray[np.float32]
    states: NDArray[np.uint8]
    shown: NDArray[np.uint8]
    detection_index: NDArray[np.int32]
    hits: NDArray[np.int32]
    ages_s: NDArray[np.float32]
    event_ids: tuple[str, ...]
    detections: Boxes
    landmarks: NDArray[np.float32]

    def pack(self) -> bytes:
        """Bytes on the wire."""
        return pack_fields(
            self.frame, self.width, self.height, self.claimed_ns, self.finished_ns, self.tracked_ns, self.event_ids,
            [array_bytes(getattr(self, name), dtype) for name, _, dtype in ARRAYS],
        )  # fmt: skip

    def is_just_sent(self) -> bool:
        """True when it is so young that its sender cannot have a newer one, and others may wait for a turn."""
        return time.monotonic_ns() - self.tracked_ns < JUST_NS

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Tracks of these bytes.

        Raises:
            WireError: The bytes are not tracks of a frame.
        """
        frame, *times, event_ids, raws = unpack_fields(data, TRACKS_TYPES, "tracks")
        if tuple(map(type, frame)) != HANDLE_TYPES:
            raise WireError("tracks: handle does not fit")
        if len(raws) != len(ARRAYS) or any(type(raw) is not bytes for raw in raws):
            raise WireError(f"tracks: {len(raws)} arrays, {len(ARRAYS)} expected")
        *per_track, detections, landmarks = [
            unpack_array(raw, columns, dtype, name) for raw, (name, columns, dtype) in zip(raws, ARRAYS, strict=True)
        ]
        check_lengths(len(event_ids), "tracks", *per_track)
        if len(landmarks):
            check_lengths(len(detections), "tracks", landmarks)
        indices, states = per_track[6].tolist(), per_track[4].tolist()  # on so few numbers max beats numpy by far
        if states and (max(indices) >= len(detections) or max(states) > LOST):
            raise WireError("tracks: an index or a state is out of range")
        ids = check_texts(event_ids, "tracks")
        fields: list[Any] = [FrameHandle(*frame), *times, *per_track, ids, detections, landmarks]
        return cls(*fields)


@dataclass(frozen=True, slots=True)
class EventNotice(Message):
    """New rows stand in the event log (topic `events`); the row itself is read from the log.

    Attributes:
        rowid: Number of the newest row.
        sent_ns: When this was sent.
    """

    rowid: int
    sent_ns: int

    TYPES: ClassVar = (int, int)

    def pack(self) -> bytes:
        return pack_fields(self.rowid, self.sent_ns)
