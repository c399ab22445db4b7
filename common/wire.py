"""Every message on the bus, and the table of topics.

A message is one msgpack array: VERSION first, then the fields in their order below. Fields are added at the end and
VERSION rises. Times are CLOCK_MONOTONIC nanoseconds. Arrays travel as their little-endian bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import msgpack
import numpy as np
from numpy.typing import NDArray

from common.errors import WireError

VERSION = 1
MAX_MESSAGE_BYTES = 1 << 20  # 1 MiB: 5,000 faces with landmarks are 400 kB
MAX_ENTRIES = 4096  # rows in a table or text field list; a real frame has below 1,000

Boxes = NDArray[np.float32]
CameraStatus = Literal["online", "offline", "disabled", "ended"]


def _unpack(data: bytes, types: tuple[type, ...], name: str) -> list[Any]:
    """Fields of a message after its version, each of exactly the expected type."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError(f"{name}: {len(data)} bytes, {MAX_MESSAGE_BYTES} at most")
    try:
        fields = msgpack.unpackb(data, max_array_len=MAX_ENTRIES)
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise WireError(f"{name}: not a msgpack message ({type(error).__name__})") from error
    if type(fields) is not list or not fields:
        raise WireError(f"{name}: not an array")
    if fields[0] != VERSION or type(fields[0]) is not int:
        raise WireError(f"{name}: version {fields[0]!r}, this node speaks {VERSION}")
    del fields[0]
    if tuple(map(type, fields)) != types:
        raise WireError(f"{name}: fields {[type(field).__name__ for field in fields]} do not fit")
    return fields


def _array(raw: bytes, columns: int, dtype: str, name: str) -> NDArray[Any]:
    """Array of shape (N, columns), or (N,) for one column, from its bytes."""
    item = np.dtype(dtype).itemsize * columns
    if len(raw) % item:
        raise WireError(f"{name}: {len(raw)} bytes are no multiple of {item}")
    array = np.frombuffer(raw, dtype=dtype)
    return array.reshape(-1, columns) if columns > 1 else array


def _same_length(count: int, name: str, *arrays: NDArray[Any]) -> None:
    if any(len(array) != count for array in arrays):
        raise WireError(f"{name}: arrays of {[count, *map(len, arrays)]} rows")


def _texts(values: list[Any], name: str) -> tuple[str, ...]:
    if any(type(value) is not str for value in values):
        raise WireError(f"{name}: a text expected")
    return tuple(values)


@dataclass(frozen=True, slots=True)
class FrameHandle:
    """A frame that lies in its camera's ring (topic `frames`).

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

    TYPES: ClassVar = (str, int, int, int, int, int, int, int, int)

    def pack(self) -> bytes:
        """Bytes on the wire."""
        return msgpack.packb(self.fields())  # type: ignore[no-any-return]

    def fields(self) -> tuple[Any, ...]:
        """Version and fields in wire order."""
        return (
            VERSION,
            self.camera,
            self.epoch,
            self.slot,
            self.generation,
            self.seq,
            self.captured_ns,
            self.media_ns,
            self.published_ns,
            self.offer,
        )

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Message of these bytes.

        Raises:
            WireError: The bytes are not such a message.
        """
        return cls(*_unpack(data, cls.TYPES, "frames"))


@dataclass(frozen=True, slots=True)
class CameraState:
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
        """Bytes on the wire."""
        fps, nominal = float(self.fps), float(self.nominal_fps)
        return msgpack.packb(  # type: ignore[no-any-return]
            (
                VERSION,
                self.camera,
                self.status,
                self.reason,
                self.width,
                self.height,
                fps,
                nominal,
                self.seq,
                self.sent_ns,
            )
        )

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Message of these bytes.

        Raises:
            WireError: The bytes are not such a message.
        """
        fields = _unpack(data, cls.TYPES, "camera")
        if fields[1] not in {"online", "offline", "disabled", "ended"}:
            raise WireError(f"camera: status {fields[1]!r}")
        return cls(*fields)


@dataclass(frozen=True, slots=True)
class Claim:
    """Which worker took the frame, and which one took the frame before it (part of `results`).

    Attributes:
        claims_id: Random id of the claims file; numbers of another file do not compare.
        number: Claim number of this frame, one more than that of the claim before, modulo 2**20.
        owner: Index of the worker.
        previous_owner: Index of the worker that made the claim before, -1 when there was none.
        previous_captured_ms: Captured time of the frame of the claim before, milliseconds.
        claimed_ns: When the claim was made.
    """

    claims_id: int
    number: int
    owner: int
    previous_owner: int
    previous_captured_ms: int
    claimed_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class DetectionResult:
    """What a worker found in one frame (topic `results`).

    Attributes:
        frame: Handle of the frame.
        claim: Who took it, and in which order.
        width: Columns of the frame in pixels.
        height: Rows of the frame in pixels.
        finished_ns: When the detections were ready.
        boxes: Shape (N, 4), xyxy in pixels of the frame, float32.
        scores: Shape (N,), in [0, 1], float32.
        landmarks: Shape (N, 10), x and y of eyes, nose and mouth corners in pixels; (0, 10) when the model has none.
    """

    frame: FrameHandle
    claim: Claim
    width: int
    height: int
    finished_ns: int
    boxes: Boxes
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]

    TYPES: ClassVar = (list, list, int, int, int, bytes, bytes, bytes)

    def pack(self) -> bytes:
        """Bytes on the wire."""
        claim = self.claim
        return msgpack.packb(  # type: ignore[no-any-return]
            (
                VERSION,
                self.frame.fields()[1:],
                (
                    claim.claims_id,
                    claim.number,
                    claim.owner,
                    claim.previous_owner,
                    claim.previous_captured_ms,
                    claim.claimed_ns,
                ),
                self.width,
                self.height,
                self.finished_ns,
                self.boxes.astype("<f4", copy=False).tobytes(),
                self.scores.astype("<f4", copy=False).tobytes(),
                self.landmarks.astype("<f4", copy=False).tobytes(),
            )
        )

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Message of these bytes.

        Raises:
            WireError: The bytes are not such a message.
        """
        frame, claim, width, height, finished_ns, *raw = _unpack(data, cls.TYPES, "results")
        if tuple(map(type, frame)) != FrameHandle.TYPES or tuple(map(type, claim)) != (int,) * 6:
            raise WireError("results: handle or claim does not fit")
        boxes, scores = _array(raw[0], 4, "<f4", "results"), _array(raw[1], 1, "<f4", "results")
        landmarks = _array(raw[2], 10, "<f4", "results")
        _same_length(len(boxes), "results", scores, *([landmarks] if len(landmarks) else []))
        return cls(FrameHandle(*frame), Claim(*claim), width, height, finished_ns, boxes, scores, landmarks)


TENTATIVE, CONFIRMED, LOST = 0, 1, 2
STATE_NAMES = ("tentative", "confirmed", "lost")


@dataclass(frozen=True, slots=True, eq=False)
class TrackFrame:
    """All faces of one camera at one frame (topic `tracks`).

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

    TYPES: ClassVar = (list, int, int, int, int, int, list, list)
    ARRAYS: ClassVar = (
        ("ids", 1, "<i8"),
        ("boxes", 4, "<f4"),
        ("velocities", 4, "<f4"),
        ("scores", 1, "<f4"),
        ("states", 1, "u1"),
        ("shown", 1, "u1"),
        ("detection_index", 1, "<i4"),
        ("hits", 1, "<i4"),
        ("ages_s", 1, "<f4"),
        ("detections", 4, "<f4"),
        ("landmarks", 10, "<f4"),
    )

    def pack(self) -> bytes:
        """Bytes on the wire."""
        return msgpack.packb(  # type: ignore[no-any-return]
            (
                VERSION,
                self.frame.fields()[1:],
                self.width,
                self.height,
                self.claimed_ns,
                self.finished_ns,
                self.tracked_ns,
                self.event_ids,
                [getattr(self, name).astype(dtype, copy=False).tobytes() for name, _, dtype in self.ARRAYS],
            )
        )

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Message of these bytes.

        Raises:
            WireError: The bytes are not such a message.
        """
        frame, width, height, claimed_ns, finished_ns, tracked_ns, event_ids, raws = _unpack(data, cls.TYPES, "tracks")
        if tuple(map(type, frame)) != FrameHandle.TYPES:
            raise WireError("tracks: handle does not fit")
        if len(raws) != len(cls.ARRAYS) or any(type(raw) is not bytes for raw in raws):
            raise WireError(f"tracks: {len(raws)} arrays, {len(cls.ARRAYS)} expected")
        arrays = {
            name: _array(raw, columns, dtype, f"tracks {name}")
            for raw, (name, columns, dtype) in zip(raws, cls.ARRAYS, strict=True)
        }
        per_track = [arrays[name] for name, _, _ in cls.ARRAYS[1:9]]
        _same_length(len(arrays["ids"]), "tracks", *per_track)
        if len(event_ids) != len(arrays["ids"]):
            raise WireError(f"tracks: {len(event_ids)} event ids for {len(arrays['ids'])} tracks")
        if len(arrays["landmarks"]):
            _same_length(len(arrays["detections"]), "tracks", arrays["landmarks"])
        if np.any(arrays["detection_index"] >= len(arrays["detections"])) or np.any(arrays["states"] > LOST):
            raise WireError("tracks: an index or a state is out of range")
        return cls(
            FrameHandle(*frame),
            width,
            height,
            claimed_ns,
            finished_ns,
            tracked_ns,
            event_ids=_texts(event_ids, "tracks"),
            **arrays,
        )


@dataclass(frozen=True, slots=True)
class EventNotice:
    """New rows stand in the event log (topic `events`); the row itself is read from the log.

    Attributes:
        rowid: Number of the newest row.
        sent_ns: When this was sent.
    """

    rowid: int
    sent_ns: int

    TYPES: ClassVar = (int, int)

    def pack(self) -> bytes:
        """Bytes on the wire."""
        return msgpack.packb((VERSION, self.rowid, self.sent_ns))  # type: ignore[no-any-return]

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Message of these bytes.

        Raises:
            WireError: The bytes are not such a message.
        """
        return cls(*_unpack(data, cls.TYPES, "events"))


@dataclass(frozen=True, slots=True)
class CameraControl:
    """What a user switched on a running node for one camera.

    Attributes:
        camera: Name of the camera.
        enabled: False: nothing is captured and nothing detected.
        detect_fps: Frames a second that are detected at most; 0 means every frame.
        privacy: True: faces are covered in every picture that leaves the node.
    """

    camera: str
    enabled: bool = True
    detect_fps: float = 0.0
    privacy: bool = False


@dataclass(frozen=True, slots=True)
class ControlState:
    """The switches of all cameras (topic `control`): sent on change and once a second.

    Attributes:
        cameras: One row a camera.
        sent_ns: When this was sent.
    """

    cameras: tuple[CameraControl, ...]
    sent_ns: int

    TYPES: ClassVar = (list, int)

    def pack(self) -> bytes:
        """Bytes on the wire."""
        rows = [(row.camera, row.enabled, float(row.detect_fps), row.privacy) for row in self.cameras]
        return msgpack.packb((VERSION, rows, self.sent_ns))  # type: ignore[no-any-return]

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Message of these bytes.

        Raises:
            WireError: The bytes are not such a message.
        """
        rows, sent_ns = _unpack(data, cls.TYPES, "control")
        for row in rows:
            if type(row) is not list or tuple(map(type, row)) != (str, bool, float, bool):
                raise WireError("control: a row does not fit")
        return cls(tuple(CameraControl(*row) for row in rows), sent_ns)


@dataclass(frozen=True, slots=True)
class Command:
    """A wish of a user (topic `commands`), as on MQTT: a target, what to set, and the payload.

    Attributes:
        target: Name of a camera or of a process.
        what: `enabled`, `detect_fps`, `privacy` or `restart`.
        payload: As a user would send it over MQTT: `ON`, `OFF`, a number, `PRESS`.
    """

    target: str
    what: str
    payload: str

    TYPES: ClassVar = (str, str, str)

    def pack(self) -> bytes:
        """Bytes on the wire."""
        return msgpack.packb((VERSION, self.target, self.what, self.payload))  # type: ignore[no-any-return]

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Message of these bytes.

        Raises:
            WireError: The bytes are not such a message.
        """
        return cls(*_unpack(data, cls.TYPES, "commands"))


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
