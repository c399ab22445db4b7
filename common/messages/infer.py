"""What infer sends: what a worker found in a frame."""

from __future__ import annotations

import time
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from common.codec import F4, I4, array_bytes, check_lengths, pack_fields, unpack_array, unpack_fields
from common.errors import WireError
from common.messages.capture import HANDLE_TYPES, FrameHandle
from common.messages.message import JUST_NS, Boxes


class Claim(NamedTuple):
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


CLAIM_TYPES = (int,) * 6  # of a claim's fields


NO_MOTION: NDArray[np.float32] = np.ndarray((0,), F4, b"")  # of bytes, so that nobody can write to what all share
NOBODY: NDArray[np.int32] = np.ndarray((0,), I4, b"")
NO_VECTORS: NDArray[np.float32] = np.ndarray((0, 0), F4, b"")
RESULT_TYPES = (list, list, int, int, int, bytes, bytes, bytes, int, bytes, bytes, bytes)  # of a result's fields


class DetectionResult(NamedTuple):
    """What a worker found in one frame (topic `results`); a named tuple for the same reason as a handle.

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
    motion: NDArray[np.float32] = NO_MOTION
    looked: NDArray[np.int32] = NOBODY
    vectors: NDArray[np.float32] = NO_VECTORS

    def pack(self) -> bytes:
        """Bytes on the wire."""
        return pack_fields(
            self.frame, self.claim, self.width, self.height, self.finished_ns, array_bytes(self.boxes, F4),
            array_bytes(self.scores, F4), array_bytes(self.landmarks, F4), self.moved_since,
            array_bytes(self.motion, F4), array_bytes(self.looked, I4), array_bytes(self.vectors, F4),
        )  # fmt: skip

    def is_just_sent(self) -> bool:
        """True when it is so young that its sender cannot have a newer one, and others may wait for a turn."""
        return time.monotonic_ns() - self.finished_ns < JUST_NS

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Result of these bytes.

        Raises:
            WireError: The bytes are not a result.
        """
        frame, claim, width, height, finished_ns, *raw, since, affine, rows, seen = unpack_fields(
            data, RESULT_TYPES, "results"
        )
        if tuple(map(type, frame)) != HANDLE_TYPES or tuple(map(type, claim)) != CLAIM_TYPES:
            raise WireError("results: handle or claim does not fit")
        boxes, scores = unpack_array(raw[0], 4, F4, "results"), unpack_array(raw[1], 1, F4, "results")
        landmarks = unpack_array(raw[2], 10, F4, "results")
        check_lengths(len(boxes), "results", scores, *([landmarks] if len(landmarks) else []))
        motion = unpack_array(affine, 1, F4, "results") if affine else NO_MOTION
        check_lengths(6 if since else 0, "results", motion)
        handle, taken = FrameHandle(*frame), Claim(*claim)
        looks = _unpack_looks(rows, seen, len(boxes)) if rows or seen else (NOBODY, NO_VECTORS)
        return cls(handle, taken, width, height, finished_ns, boxes, scores, landmarks, since, motion, *looks)


def _unpack_looks(rows: bytes, vectors: bytes, faces: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Fields `looked` and `vectors` of a result with so many faces."""
    looked, flat = unpack_array(rows, 1, I4, "results"), unpack_array(vectors, 1, F4, "results")
    if len(looked) > faces or any(not 0 <= row < faces for row in looked.tolist()):
        raise WireError("results: looks at faces that are not there")
    if (len(flat) % len(looked) if len(looked) else len(flat)) != 0:
        raise WireError(f"results: {len(flat)} numbers for {len(looked)} faces")
    return looked, flat.reshape(len(looked), -1) if len(looked) else NO_VECTORS
