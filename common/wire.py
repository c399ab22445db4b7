"""Every message on the bus, and the table of topics.

A message is one msgpack array: VERSION first, then the fields in their order below. Fields are added at the end and
VERSION rises. Times are CLOCK_MONOTONIC nanoseconds. Arrays travel as their little-endian bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from common.codec import check_lengths, check_texts, pack_fields, unpack_array, unpack_fields
from common.errors import WireError

Boxes = NDArray[np.float32]
CameraStatus = Literal["online", "offline", "disabled", "ended"]


class Message:
    """What every message can do."""

    __slots__ = ()
    TYPES: ClassVar[tuple[type, ...]]

    def pack(self) -> bytes:
        """Bytes on the wire."""
        raise NotImplementedError

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Message of these bytes.

        Raises:
            WireError: The bytes are not such a message.
        """
        return cls(*unpack_fields(data, cls.TYPES, cls.__name__))


@dataclass(frozen=True, slots=True)
class FrameHandle(Message):
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

    def fields(self) -> tuple[Any, ...]:
        """The fields in wire order."""
        return (
            self.camera, self.epoch, self.slot, self.generation, self.seq, self.captured_ns, self.media_ns,
            self.published_ns, self.offer,
        )  # fmt: skip

    def pack(self) -> bytes:
        return pack_fields(*self.fields())


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

    def fields(self) -> tuple[int, ...]:
        """The fields in wire order."""
        return (
            self.claims_id, self.number, self.owner, self.previous_owner, self.previous_captured_ms, self.claimed_ns
        )  # fmt: skip


def _unknown_motion() -> NDArray[np.float32]:
    return np.empty(0, np.float32)


def _nobody() -> NDArray[np.int32]:
    return np.empty(0, np.int32)


def _no_vectors() -> NDArray[np.float32]:
    return np.empty((0, 0), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class DetectionResult(Message):
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
        moved_since: Sequence number of the frame that `motion` begins at; 0 when the motion is not known.
        motion: How the camera moved since then: rows of an affine map of pixels, shape (6,); (0,) when not known.
        looked: Rows of the faces whose appearance is told, shape (L,), int32; mostly none.
        vectors: Their appearance, shape (L, D), float32, compared by the cosine of the angle between two.
    """

    frame: FrameHandle
    claim: Claim
    width: int
    height: int
    finished_ns: int
    boxes: Boxes
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    moved_since: int = 0
    motion: NDArray[np.float32] = field(default_factory=_unknown_motion)
    looked: NDArray[np.int32] = field(default_factory=_nobody)
    vectors: NDArray[np.float32] = field(default_factory=_no_vectors)

    TYPES: ClassVar = (list, list, int, int, int, bytes, bytes, bytes, int, bytes, bytes, bytes)

    def pack(self) -> bytes:
        return pack_fields(
            self.frame.fields(), self.claim.fields(), self.width, self.height, self.finished_ns,
            *(array.astype("<f4", copy=False).tobytes() for array in (self.boxes, self.scores, self.landmarks)),
            self.moved_since, self.motion.astype("<f4", copy=False).tobytes(),
            self.looked.astype("<i4", copy=False).tobytes(), self.vectors.astype("<f4", copy=False).tobytes(),
        )  # fmt: skip

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        frame, claim, width, height, finished_ns, *raw, since, affine, rows, seen = unpack_fields(
            data, cls.TYPES, "results"
        )
        if tuple(map(type, frame)) != FrameHandle.TYPES or tuple(map(type, claim)) != (int,) * 6:
            raise WireError("results: handle or claim does not fit")
        boxes, scores = unpack_array(raw[0], 4, "<f4", "results"), unpack_array(raw[1], 1, "<f4", "results")
        landmarks = unpack_array(raw[2], 10, "<f4", "results")
        check_lengths(len(boxes), "results", scores, *([landmarks] if len(landmarks) else []))
        motion = unpack_array(affine, 1, "<f4", "results")
        check_lengths(6 if since else 0, "results", motion)
        handle, taken = FrameHandle(*frame), Claim(*claim)
        looks = _unpack_looks(rows, seen, len(boxes))
        return cls(handle, taken, width, height, finished_ns, boxes, scores, landmarks, since, motion, *looks)


def _unpack_looks(rows: bytes, vectors: bytes, faces: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Fields `looked` and `vectors` of a result with so many faces."""
    looked, flat = unpack_array(rows, 1, "<i4", "results"), unpack_array(vectors, 1, "<f4", "results")
    if len(looked) > faces or np.any((looked < 0) | (looked >= faces)):
        raise WireError("results: looks at faces that are not there")
    if (len(flat) % len(looked) if len(looked) else len(flat)) != 0:
        raise WireError(f"results: {len(flat)} numbers for {len(looked)} faces")
    return looked, flat.reshape(len(looked), -1) if len(looked) else _no_vectors()


TENTATIVE, CONFIRMED, LOST = 0, 1, 2
STATE_NAMES = ("tentative", "confirmed", "lost")


@dataclass(frozen=True, slots=True, eq=False)
class TrackFrame(Message):
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
        return pack_fields(
            self.frame.fields(), self.width, self.height, self.claimed_ns, self.finished_ns, self.tracked_ns,
            self.event_ids,
            [getattr(self, name).astype(dtype, copy=False).tobytes() for name, _, dtype in self.ARRAYS],
        )  # fmt: skip

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        frame, width, height, claimed_ns, finished_ns, tracked_ns, event_ids, raws = unpack_fields(
            data, cls.TYPES, "tracks"
        )
        if tuple(map(type, frame)) != FrameHandle.TYPES:
            raise WireError("tracks: handle does not fit")
        if len(raws) != len(cls.ARRAYS) or any(type(raw) is not bytes for raw in raws):
            raise WireError(f"tracks: {len(raws)} arrays, {len(cls.ARRAYS)} expected")
        arrays = {
            name: unpack_array(raw, columns, dtype, f"tracks {name}")
            for raw, (name, columns, dtype) in zip(raws, cls.ARRAYS, strict=True)
        }
        per_track = [arrays[name] for name, _, _ in cls.ARRAYS[1:9]]
        check_lengths(len(arrays["ids"]), "tracks", *per_track)
        if len(event_ids) != len(arrays["ids"]):
            raise WireError(f"tracks: {len(event_ids)} event ids for {len(arrays['ids'])} tracks")
        if len(arrays["landmarks"]):
            check_lengths(len(arrays["detections"]), "tracks", arrays["landmarks"])
        if np.any(arrays["detection_index"] >= len(arrays["detections"])) or np.any(arrays["states"] > LOST):
            raise WireError("tracks: an index or a state is out of range")
        return cls(
            FrameHandle(*frame),
            width,
            height,
            claimed_ns,
            finished_ns,
            tracked_ns,
            event_ids=check_texts(event_ids, "tracks"),
            **arrays,
        )


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
class ControlState(Message):
    """The switches of all cameras (topic `control`): sent on change and once a second.

    Attributes:
        cameras: One row a camera.
        sent_ns: When this was sent.
    """

    cameras: tuple[CameraControl, ...]
    sent_ns: int

    TYPES: ClassVar = (list, int)

    def pack(self) -> bytes:
        rows = [(row.camera, row.enabled, float(row.detect_fps), row.privacy) for row in self.cameras]
        return pack_fields(rows, self.sent_ns)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        rows, sent_ns = unpack_fields(data, cls.TYPES, "control")
        for row in rows:
            if type(row) is not list or tuple(map(type, row)) != (str, bool, float, bool):
                raise WireError("control: a row does not fit")
        return cls(tuple(CameraControl(*row) for row in rows), sent_ns)


@dataclass(frozen=True, slots=True)
class Command(Message):
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
        return pack_fields(self.target, self.what, self.payload)


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
