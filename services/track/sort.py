"""Mode `sort`: SORT as published, for many boxes at once.

Source:
    Bewley et al., "Simple Online and Realtime Tracking", ICIP 2016, arXiv:1602.00763.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.track import kalman
from services.track.association import match
from services.track.boxes import from_cxcysr, overlaps, to_cxcysr
from services.track.population import AGE, IDLE, NONE, STREAK, Array, Index, Mask, Population
from services.track.tracks import CONFIRMED, LOST, TENTATIVE

NOISE_MEASURED: Final = np.array([[1.0], [1.0], [10.0], [10.0]])  # centre x, centre y, area, aspect ratio
NOISE: Final = np.array([[0.0] * 8 + [1.0] * 4 + [0.0] * 4 + [0.01, 0.01, 0.0001, 0.0]]).T  # no velocity of the ratio
STEP: Final = kalman.transition(1.0)
START_X: Final = 10.0
START_V: Final = np.array([[1e4], [1e4], [1e4], [0.0]])


class Sort(Population):
    """SORT: constant-velocity Kalman filter, IoU, Hungarian assignment."""

    def __init__(self, max_age: float = 1, min_hits: int = 3, iou_threshold: float = 0.3) -> None:
        """Settings as in the paper.

        Args:
            max_age: How long a track lives without a detection, in nominal frames.
            min_hits: Detections in a row before a track is shown; the first `min_hits` frames show everything.
            iou_threshold: Least IoU of a predicted box and a detection that belong together.
        """
        super().__init__()
        self.max_age = max_age
        self.min_hits = min_hits
        self.iou_threshold = iou_threshold
        self._blank[kalman.PXX] = START_X
        self._blank[kalman.PVV] = START_V

    def _move(self, table: Array, dt: float) -> None:
        step, noise = (STEP, NOISE) if dt == 1.0 else (kalman.transition(dt), NOISE * dt)
        kalman.predict(table, step, noise)
        table[AGE : IDLE + 1] += dt
        gone = table[2] <= 0.0  # the area must stay positive: what would vanish has stopped shrinking
        if np.count_nonzero(gone):
            table[2][gone] -= table[6][gone] * dt
            table[6][gone] = 0.0

    def _measure(self, xyxy: Array) -> Array:
        return to_cxcysr(xyxy)

    def _associate(self, xyxy: Array, boxes: Array, scores: Array) -> Index:
        table, m = self._table, len(scores)
        if not table.shape[1]:
            return np.arange(m)
        if not m:
            self._count(NONE, NONE, scores)
            return NONE
        t, d, iou = overlaps(from_cxcysr(table), table[2], xyxy, boxes[2])
        t, d = _assign(t, d, iou, (table.shape[1], m), self.iou_threshold)
        seen, weight = self._count(t, d, scores)
        kalman.correct(table, boxes.take(seen, 1), NOISE_MEASURED, weight)
        if len(d) == m:
            return NONE
        left = np.ones(m, np.bool_)
        left[d] = False
        return left.nonzero()[0]

    def _newborn(self, born: Array, boxes: Array) -> None:
        born[kalman.X] = boxes

    def _corners(self, table: Array) -> Array:
        return from_cxcysr(table)

    def _alive(self) -> Mask:
        return np.asarray(self._table[IDLE] <= self.max_age)

    def _shown(self) -> Mask:
        if self._frames <= self.min_hits or self.min_hits < 1:
            return np.asarray(self._table[IDLE] == 0.0)
        return np.asarray(self._table[STREAK] >= self.min_hits)  # an unseen track has no streak

    def _states(self, shown: Mask) -> NDArray[np.uint8]:
        states = np.where(self._table[IDLE] > 0.0, LOST, np.where(shown, CONFIRMED, TENTATIVE))
        return states.astype(np.uint8)


def _assign(t: Index, d: Index, iou: Array, shape: tuple[int, int], threshold: float) -> tuple[Index, Index]:
    """The assignment of the paper: largest sum of IoU, then pairs below the threshold are dropped."""
    strong = iou > threshold
    strong_t, strong_d = t[strong], d[strong]
    if len(set(strong_t.tolist())) < len(strong_t) or len(set(strong_d.tolist())) < len(strong_d):
        t, d, iou = match(t, d, iou, shape)
        good = iou >= threshold
        return t[good], d[good]
    return strong_t, strong_d
