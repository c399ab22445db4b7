"""How a camera turned and zoomed between two frames: told by the background, where no face is.

A face that stands still moves in the picture of a panning camera, at few frames a second by more than its own width;
with this the tracker knows where to look. Corners of a small grey picture are followed into the next one, and the
similarity on which most of them agree is the camera's motion.

Source:
    Aharon et al. 2022, arXiv:2206.14651, section 3.2 (what for); Shi and Tomasi, "Good Features to Track", CVPR 1994,
    and Bouguet, "Pyramidal Implementation of the Lucas Kanade Feature Tracker", 2000 (how).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from common.pixels import Plane
from common.wire import FrameHandle

Boxes = NDArray[np.float32]

WIDEST = 240  # columns of the small picture
CORNERS = 60  # more are no better and take longer
LEAST_CORNERS = 12  # with fewer there is no telling background from what moves
AGREE = 0.6  # part of the corners that must move alike
SLACK_PX = 1.0  # of the small picture, in which a corner may differ
STEADY_PX = 0.2  # of the small picture; corners that move less say that the camera stands still
AROUND = 0.5  # of a face on each side, that is left out: hair and shoulders move with it
STILL = 6  # grey levels; a picture in which hardly a pixel changed by more did not move
MOST_GROWN = 2.0  # of areas from one frame to the next; more is no zoom but a mistake
IDLE_NS = 3_000_000_000  # without a face for so long, nobody needs to know
SAME: Boxes = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], np.float32)


class CameraMotion:
    """Of one camera, in one worker."""

    def __init__(self) -> None:
        self._before = np.empty((0, 0), np.uint8)
        self._handle: FrameHandle | None = None
        self._boxes: Boxes = np.empty((0, 4), np.float32)
        self._face_ns = -IDLE_NS

    def follow(self, planes: Sequence[Plane], handle: FrameHandle, boxes: Boxes, width: int) -> tuple[int, Boxes]:
        """Take a frame.

        Args:
            planes: Of the frame.
            handle: Of the frame.
            boxes: Faces in it, shape (N, 4), xyxy in its pixels.
            width: Its columns.

        Returns:
            Sequence number of the frame before that this worker saw, 0 when the motion is not known; and the affine map
            from that frame's pixels to this one's, rows of a (2, 3) matrix one after the other, shape (6,).
        """
        if not self._wanted(handle, boxes):
            return 0, SAME[:0]
        before, known, masked = self._before, self._handle, self._boxes
        now = _small(planes[0])
        self._before, self._handle, self._boxes = now, handle, boxes
        if known is None or known.epoch != handle.epoch or known.seq >= handle.seq or before.shape != now.shape:
            return 0, SAME[:0]
        scale = width / now.shape[1]
        found = _similarity(before, now, masked / scale)
        if found is None:
            return 0, SAME[:0]
        found[:, 2] *= scale
        return known.seq, found.ravel().astype(np.float32)

    def stood(self, handle: FrameHandle, boxes: Boxes) -> tuple[int, Boxes]:
        """As `follow`, for a frame in which the motion gate saw nothing change: its pixels need not be read again.

        The picture kept for the next comparison stays the one looked at last, so that a slow drift is not lost.
        """
        if not self._wanted(handle, boxes):
            return 0, SAME[:0]
        known = self._handle
        if known is None or known.epoch != handle.epoch or known.seq >= handle.seq:
            return 0, SAME[:0]
        self._handle = handle
        return known.seq, SAME

    def _wanted(self, handle: FrameHandle, boxes: Boxes) -> bool:
        """Whether there was a face not long ago; without one nobody needs to know."""
        time_ns = max(handle.captured_ns, handle.media_ns)
        if len(boxes):
            self._face_ns = time_ns
        elif time_ns - self._face_ns > IDLE_NS:
            self._handle = None
            return False
        return True


def _small(plane: Plane) -> Plane:
    """A small grey copy: the green of colours, the luma of the others.

    Halved again and again: three times faster than at once by a factor that is no power of two.
    """
    while plane.shape[1] > WIDEST:
        height, width = plane.shape[0] // 2, plane.shape[1] // 2
        part = plane[: 2 * height, : 2 * width]
        plane = np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(plane[:, :, 1 if plane.shape[2] == 3 else 0]) if plane.ndim == 3 else plane.copy()


def _similarity(before: Plane, now: Plane, boxes: Boxes) -> NDArray[np.float64] | None:
    """Map from one small picture to the next, shape (2, 3); None when too few corners agree on one."""
    mask = np.full(before.shape, 255, np.uint8)
    for x1, y1, x2, y2 in boxes:
        wide, high = AROUND * (x2 - x1), AROUND * (y2 - y1)
        left, top = max(int(x1 - wide), 0), max(int(y1 - high), 0)
        mask[top : int(y2 + high) + 1, left : int(x2 + wide) + 1] = 0
    changed = cv2.bitwise_and(cv2.absdiff(before, now), mask) > STILL
    if np.count_nonzero(changed) * 100 < before.size:
        return SAME.reshape(2, 3).astype(np.float64)
    corners = cv2.goodFeaturesToTrack(before, CORNERS, 0.01, 5, mask=mask)
    if corners is None or len(corners) < LEAST_CORNERS:
        return None
    nowhere = np.empty(0, np.float32)
    moved, followed, _ = cv2.calcOpticalFlowPyrLK(before, now, corners, nowhere, winSize=(11, 11), maxLevel=4)
    good = followed.ravel() == 1
    if np.count_nonzero(good) < LEAST_CORNERS:
        return None
    steady = np.abs(moved - corners).reshape(-1, 2).max(axis=1) < STEADY_PX
    if np.count_nonzero(steady & good) >= AGREE * np.count_nonzero(good):
        return SAME.reshape(2, 3).astype(np.float64)
    matrix, inliers = cv2.estimateAffinePartial2D(
        corners[good], moved[good], method=cv2.RANSAC, ransacReprojThreshold=SLACK_PX, maxIters=200
    )
    if matrix is None or np.count_nonzero(inliers) < max(AGREE * np.count_nonzero(good), LEAST_CORNERS):
        return None
    grown = float(np.linalg.det(matrix[:, :2]))
    return np.asarray(matrix, np.float64) if 1 / MOST_GROWN < grown < MOST_GROWN else None
