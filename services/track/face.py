"""Mode `face`, the default: makes the id of a face last.

Each frame goes through a cascade: shift of the camera, then overlap with sure detections, then overlap with unsure ones,
then distance for what overlaps nothing (small, fast or returning faces). A predicted box is shown for a short miss.

Source:
    Bewley et al. 2016, arXiv:1602.00763 (filter and overlap); Zhang et al. 2021, arXiv:2110.06864 (unsure detections
    second); Cao et al. 2022, arXiv:2203.14360 (last observation of a lost track); Yang et al. 2022, arXiv:2211.14317
    (a wider gate second); Aharon et al. 2022, arXiv:2206.14651 (camera motion first).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.track import kalman
from services.track.association import match
from services.track.boxes import distances, from_cxcywh, overlaps, to_cxcywh
from services.track.egomotion import shift
from services.track.population import (
    AGE,
    COUNTERS_END,
    HITS,
    IDLE,
    NONE,
    SCORE,
    Array,
    Index,
    Mask,
    Population,
)
from services.track.tracks import CONFIRMED, LOST, TENTATIVE

SCORE_SUM, KNOWN, LAST_X, LAST_Y = range(COUNTERS_END, COUNTERS_END + 4)
LAST: Final = slice(LAST_X, LAST_Y + 1)  # centre where the track was last seen, moved with the camera

NOISE_X: Final = 0.04  # the rest of this block is in sides of the box, standard deviations
NOISE_V: Final = 0.004
NOISE_SIDE_V: Final = 0.002
NOISE_MEASURED: Final = 0.07
START_V: Final = 0.7
START_SIDE_V: Final = 0.05
MANOEUVRE: Final = 9.0  # squared residual over its variance; above it the velocity was wrong, not the measurement
SPREAD: Final = 3.0  # standard deviations of the predicted place within which a face may be found
LOST_PENALTY = 0.0
TENT_PENALTY = 0.0
DAMP = 1.0
LEASH = 0.0
NSA = 0.0
BLOCK = 1.0
JPOS = 1
EARLY = 1
FIRST = 1
SURE = 0.8
TENTATIVE_AGE: Final = 2.0  # nominal frames that an unconfirmed track may miss


class FaceTracker(Population):
    """Tracker for faces; each setting can be turned off by the value given for it."""

    rows = LAST_Y + 1

    def __init__(
        self,
        max_age: float = 30,
        min_hits: int = 3,
        iou_threshold: float = 0.3,
        *,
        start_score: float = 0.5,
        confirm_score: float = 0.65,
        low_score: float = 0.1,
        reach: float = 0.8,
        memory: float = 30,
        coast: float = 1,
        camera: bool = True,
        manoeuvre: bool = True,
    ) -> None:
        """Settings; sizes are in sides of the box, times in nominal frames.

        Args:
            max_age: How long a face that is not seen is followed by every stage.
            min_hits: Detections before a track is confirmed.
            iou_threshold: Least IoU of a predicted box and a detection that belong together.
            start_score: Least score of a detection that may start a track.
            confirm_score: Least mean score of a track that is confirmed; 0 turns it off.
            low_score: Detections from here to `start_score` go on with tracks they overlap; `start_score` turns it off.
            reach: Centre distance within which a detection that overlaps nothing goes on with a track; 0 turns it off.
            memory: How much longer than `max_age` a face is remembered to be re-attached by distance; 0 turns it off.
            coast: How long a confirmed track is shown without a detection; 0 turns it off.
            camera: Whether a shift common to all faces is taken as motion of the camera.
            manoeuvre: Whether a face that jumps makes its velocity uncertain.
        """
        super().__init__()
        self.max_age = max_age
        self.min_hits = min_hits
        self.iou_threshold = iou_threshold
        self.start_score = start_score
        self.confirm_score = confirm_score
        self.low_score = low_score
        self.reach = reach
        self.memory = memory
        self.coast = coast
        self.camera = camera
        self.manoeuvre = manoeuvre

    def _move(self, table: Array, dt: float) -> None:
        sides = table[2:4].copy()
        variance = np.square(np.concatenate((sides, sides)))
        if DAMP < 1.0:
            table[kalman.V] *= np.where(table[IDLE] > 0, DAMP**dt, 1.0)
        noise = np.zeros((kalman.ROWS, table.shape[1]))
        noise[kalman.PXX] = variance * (NOISE_X**2 * dt)
        noise[kalman.PVV] = variance * np.square([[NOISE_V], [NOISE_V], [NOISE_SIDE_V], [NOISE_SIDE_V]]) * dt
        kalman.predict(table, kalman.transition(dt), noise)
        np.maximum(table[2:4], 0.5 * sides, out=table[2:4])
        table[AGE : IDLE + 1] += dt

    def _associate(self, xyxy: Array, scores: Array) -> Index:
        boxes = to_cxcywh(xyxy)
        sure = (scores >= self.start_score).nonzero()[0]
        tracks = np.arange(self._table.shape[1])
        if not len(tracks):
            return sure
        if not len(scores):
            self._count(NONE, NONE, scores)
            return sure
        if self.camera:
            self._follow_camera(boxes[:, sure])
        near = (self._table[IDLE] <= self.max_age).nonzero()[0]
        t1, d1 = self._by_overlap(near, sure, xyxy)
        near, rest = _without(near, t1), _without(sure, d1)
        t2, d2 = self._by_distance(_without(tracks, t1), rest, boxes)
        unsure = ((scores >= self.low_score) & (scores < self.start_score)).nonzero()[0]
        t3, d3 = self._by_overlap(_without(near, t2), unsure, xyxy)
        self._correct(np.concatenate((t1, t2, t3)), np.concatenate((d1, d2, d3)), boxes, scores)
        rest = _without(rest, d2)
        if BLOCK < 1.0 and len(rest):
            p, q = self._table[:4, np.concatenate((t1, t2))], xyxy[:, rest]
            i, j, iou = overlaps(from_cxcywh(p), p[2] * p[3], q, (q[2] - q[0]) * (q[3] - q[1]))
            rest = _without(rest, rest[j[iou > BLOCK]])
        return rest

    def _follow_camera(self, boxes: Array) -> None:
        table = self._table
        settled = ((table[IDLE] <= 2.0 * np.median(table[IDLE])) & (table[KNOWN] > 0.0)).nonzero()[0]
        move = shift(table[:4, settled], boxes)
        if move is not None:
            table[:2] += move[:, None]
            table[LAST] += move[:, None]

    def _by_overlap(self, tracks: Index, detections: Index, xyxy: Array) -> tuple[Index, Index]:
        p, q = self._table[:4, tracks], xyxy[:, detections]
        i, j, iou = overlaps(from_cxcywh(p), p[2] * p[3], q, (q[2] - q[0]) * (q[3] - q[1]))
        good = iou >= self.iou_threshold
        i, j, iou = i[good], j[good], iou[good]
        idle = self._table[IDLE, tracks]
        fresh = np.exp(-LOST_PENALTY * (idle - 1.0)) * np.where(self._table[KNOWN, tracks] > 0, 1.0, 1.0 - TENT_PENALTY)
        i, j, _ = match(i, j, iou * fresh[i], (len(tracks), len(detections)))
        return tracks[i], detections[j]

    def _by_distance(self, tracks: Index, detections: Index, boxes: Array) -> tuple[Index, Index]:
        """Pairs near each other in sides of the box, from the predicted place or from where the track was last seen."""
        if not self.reach or not len(tracks) or not len(detections):
            return tracks[:0], detections[:0]
        table = self._table[:, tracks]
        reach = self.reach * table[2:4] + SPREAD * np.sqrt(table[8:10])
        i, j, distance = distances(table, table[LAST], reach, boxes[:, detections])
        i, j, _ = match(i, j, 1.0 - distance, (len(tracks), len(detections)))
        return tracks[i], detections[j]

    def _correct(self, t: Index, d: Index, boxes: Array, scores: Array) -> None:
        table = self._table
        seen, weight = self._count(t, d, scores)
        table[SCORE_SUM][t] += scores[d]
        table[LAST, t] = boxes[:2, d]
        measured = boxes.take(seen, 1)
        sides = table[2:4]
        noise = np.square(NOISE_MEASURED * np.concatenate((sides, sides)))
        if NSA:
            unsure = np.zeros(table.shape[1])
            unsure[t] = 1.0 - scores[d]
            noise = noise * np.square(1.0 + NSA * unsure)
        if self.manoeuvre:
            excess = (measured - table[:4]) ** 2 - MANOEUVRE * (table[kalman.PXX] + noise)
            jump = np.maximum(excess[:2], 0.0) * weight
            if JPOS:
                table[8:10] += jump
            table[12:14] += jump
            table[16:18] += jump
        kalman.correct(table, measured, noise, weight)
        if LEASH:
            tied = measured.take(t, 1)
            slack = LEASH * np.concatenate((tied[2:], tied[2:]))
            table[:4, t] = np.clip(table[:4, t], tied - slack, tied + slack)
        need = np.where((table[SCORE_SUM] >= SURE * table[HITS]), self.min_hits - EARLY, self.min_hits)
        if FIRST and self._frames <= self.min_hits:
            need = 1
        known = (table[HITS] >= need) & (table[SCORE_SUM] >= self.confirm_score * table[HITS])
        table[KNOWN] = np.maximum(table[KNOWN], known)

    def _newborn(self, born: Array, xyxy: Array) -> None:
        boxes = to_cxcywh(xyxy)
        born[kalman.X] = boxes
        sides = boxes[2:4]
        born[kalman.PXX] = np.square(NOISE_MEASURED * np.concatenate((sides, sides)))
        born[16:18] = np.square(START_V * sides)
        born[18:20] = np.square(START_SIDE_V * sides)
        born[SCORE_SUM] = born[SCORE]
        born[LAST] = boxes[:2]
        born[KNOWN] = FIRST and self._frames <= self.min_hits or self.min_hits - EARLY <= 1

    def _corners(self, table: Array) -> Array:
        return from_cxcywh(table)

    def _alive(self) -> Mask:
        limit = np.where(self._table[KNOWN] > 0.0, self.max_age + self.memory, TENTATIVE_AGE)
        return np.asarray(self._table[IDLE] <= limit)

    def _shown(self) -> Mask:
        return np.asarray((self._table[KNOWN] > 0.0) & (self._table[IDLE] <= self.coast))

    def _states(self, shown: Mask) -> NDArray[np.uint8]:
        states = np.where(shown, CONFIRMED, np.where(self._table[KNOWN] > 0.0, LOST, TENTATIVE))
        return states.astype(np.uint8)


def _without(index: Index, taken: Index) -> Index:
    if not len(taken):
        return index
    keep = np.ones(int(max(index.max(initial=0), taken.max())) + 1, np.bool_)
    keep[taken] = False
    return index[keep[index]]
