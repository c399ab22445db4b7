"""Mode `face`, the default: makes the id of a face last.

Each frame goes through a cascade: the shift of the camera, then sure detections by overlap, then by distance for what
overlaps nothing (small, fast or returning faces), then unsure detections by overlap. Lengths are in sides of the box.

Source:
    Bewley et al. 2016, arXiv:1602.00763 (filter and overlap); Zhang et al. 2021, arXiv:2110.06864 (unsure detections
    last); Cao et al. 2022, arXiv:2203.14360 (last seen place of a lost track); Yang et al. 2022, arXiv:2211.14317
    (a wider gate second); Aharon et al. 2022, arXiv:2206.14651 (camera motion first); Du et al. 2021, arXiv:2202.11983
    (an unsure detection moves its track less).
"""

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from services.track import kalman
from services.track.association import match
from services.track.boxes import distances, from_cxcywh, overlaps, to_cxcywh
from services.track.egomotion import shift
from services.track.population import AGE, COUNTERS_END, HITS, ID, IDLE, NONE, SCORE, Array, Index, Mask, Population
from services.track.tracks import CONFIRMED, LOST, TENTATIVE

SCORE_SUM, SURE_SUM, SURE_HITS, KNOWN = range(COUNTERS_END, COUNTERS_END + 4)
SEEN: Final = slice(COUNTERS_END + 4, COUNTERS_END + 8)  # the box that was detected last, moved with the camera

NOISE_X: Final = 0.03  # standard deviations, in sides of the box, the first two gained per nominal frame
NOISE_V: Final = np.array([[0.002], [0.002], [0.004], [0.004]])  # of the centre, and of the sides
NOISE_MEASURED: Final = 0.05
START_V: Final = np.array([[0.7], [0.7], [0.05], [0.05]])
UNSURE: Final = 2.0  # a detection of score 0 is 1 + UNSURE times as noisy as one of score 1
JUMP: Final = 6.0  # squared residual over its variance; beyond it the velocity was wrong, not the measurement
JUMP_SIZE: Final = 0.2  # logarithm of the change of a side; beyond it a part of the face is hidden, and nothing jumped
LEASH: Final = 0.02  # how far a box is shown from its detection: less is as noisy as the detector, more lags
LEASH_SIZE: Final = 0.05  # logarithm of a side's change beyond which the detection is a part, and the filter is shown
SPREAD: Final = 3.0  # standard deviations of the predicted place within which a face may be found
FADE: Final = 0.06  # per nominal frame; of two tracks that overlap a detection alike, the one seen last gets it
TENTATIVE_MISSES: Final = 2  # updates that a track may miss before it is confirmed


@dataclass(eq=False)
class FaceTracker(Population):
    """Tracker for faces. Times are in nominal frames.

    Each setting but the first three names the value that turns it off.

    Attributes:
        max_age: How long a face that is not seen is looked for by overlap.
        min_hits: Detections before a track is confirmed.
        iou_threshold: Least IoU of a predicted box and a detection that belong together.
        start_score: Least score of a detection that may start a track; 0 for all.
        low_score: Detections from here to `start_score` go on with tracks they overlap; `start_score` for none.
        confirm_score: Least mean score of a track that is confirmed; 0 for any.
        sure_score: A track of this mean score is confirmed one detection earlier, and at once in the first
            `min_hits` frames; above 1 for none.
        firm_score: A track whose sure detections are weaker than this on average is shown only where there is a
            sure one; 0 for wherever it goes.
        reach: Distance of the centres, in sides of the box and beyond what the filter expects, within which a
            detection that overlaps nothing goes on with a track; 0 for no matching by distance.
        memory: How much longer than `max_age` a face can be found again by distance; 0 for not at all.
        coast: How many updates a confirmed track is shown without a detection, unless only a part of it was seen
            before, or it goes out of a picture whose `size` is known: then it is hidden or has left; 0 for none.
        camera: Whether tracks go with the camera's motion: with the one that is given, else with a shift that most
            faces share.
        manoeuvre: Whether a face that jumps makes its own velocity uncertain.
        size_cue: How much less likely a pair by distance is for each e-fold between the areas of its boxes; 0 for
            not at all.
        size_drift: Nominal frames after which a face that is not seen keeps its size; infinity for never.
    """

    rows: ClassVar = SEEN.stop

    max_age: float = 30
    min_hits: int = 3
    iou_threshold: float = 0.3
    _: KW_ONLY
    start_score: float = 0.7
    low_score: float = 0.1
    confirm_score: float = 0.65
    sure_score: float = 0.8
    firm_score: float = 0.68
    reach: float = 0.85
    memory: float = 30
    coast: float = 1
    camera: bool = True
    manoeuvre: bool = True
    size_cue: float = 2
    size_drift: float = 1

    def __post_init__(self) -> None:
        super().__init__()

    def take_over(self, track_id: int, former: int) -> None:
        """As in every mode; the face is believed at once."""
        super().take_over(track_id, former)
        self._table[KNOWN, self._table[ID] == former] = 1.0

    def _move(self, table: Array, dt: float) -> None:
        variance = np.square(_sides(table[:4]))
        noise = np.zeros((kalman.ROWS, table.shape[1]))
        noise[kalman.PXX] = variance * (NOISE_X * NOISE_X * dt)
        noise[kalman.PVV] = variance * (NOISE_V * NOISE_V * dt)
        least = 0.5 * table[2:4]
        table[kalman.V][2:4] *= table[IDLE] <= self.size_drift
        kalman.predict(table, kalman.transition(dt), noise)
        np.maximum(table[2:4], least, out=table[2:4])  # a box that shrinks in the dark must not vanish
        table[AGE : IDLE + 1] += dt

    def _warp(self, table: Array, motion: Array) -> None:
        """Boxes, velocities and last seen places go with the background; what they vary by stays."""
        if not self.camera:
            return
        turn, shift = motion[:, :2], motion[:, 2:]
        grown = math.sqrt(abs(np.linalg.det(turn)))
        for boxes in (table[kalman.X], table[SEEN]):
            boxes[:2] = turn @ boxes[:2] + shift
            boxes[2:] *= grown
        table[kalman.V][:2] = turn @ table[kalman.V][:2]
        table[kalman.V][2:] *= grown

    def _measure(self, xyxy: Array) -> Array:
        return to_cxcywh(xyxy)

    def _associate(self, xyxy: Array, boxes: Array, scores: Array) -> Index:
        sure = (scores >= self.start_score).nonzero()[0]
        tracks = np.arange(self._table.shape[1])
        if not len(tracks):
            return sure
        if not len(scores):
            self._count(NONE, NONE, scores)
            return sure
        if self.camera and self._motion is None:
            self._follow_camera(boxes[:, sure])
        near = (self._table[IDLE] <= self.max_age).nonzero()[0]
        t1, d1 = self._by_overlap(near, sure, boxes, xyxy)
        near, sure = _without(near, t1), _without(sure, d1)
        t2, d2 = self._by_distance(_without(tracks, t1), sure, boxes)
        near, sure = _without(near, t2), _without(sure, d2)
        unsure = ((scores >= self.low_score) & (scores < self.start_score)).nonzero()[0]
        t3, d3 = self._by_overlap(near, unsure, boxes, xyxy)
        self._correct(np.concatenate((t1, t2, t3)), np.concatenate((d1, d2, d3)), boxes, scores)
        return sure

    def _follow_camera(self, boxes: Array) -> None:
        table = self._table
        move = shift(table[:4].compress((table[KNOWN] > 0.0) & (table[IDLE] <= 2.0 * self._dt), 1), boxes)
        if move is not None:
            table[:2] += move
            table[SEEN][:2] += move

    def _by_overlap(self, tracks: Index, detections: Index, boxes: Array, xyxy: Array) -> tuple[Index, Index]:
        if not len(tracks) or not len(detections):
            return NONE, NONE
        p, q = self._table[:4].take(tracks, 1), boxes.take(detections, 1)
        i, j, iou = overlaps(from_cxcywh(p), p[2] * p[3], xyxy.take(detections, 1), q[2] * q[3])
        good = iou >= self.iou_threshold
        i, j = i[good], j[good]
        fresh = np.exp(-FADE * self._table[IDLE].take(tracks))
        i, j, _ = match(i, j, iou[good] * fresh[i], (len(tracks), len(detections)))
        return tracks[i], detections[j]

    def _by_distance(self, tracks: Index, detections: Index, boxes: Array) -> tuple[Index, Index]:
        """Pairs near each other, from the predicted place or from where the track was last seen."""
        if not self.reach or not len(tracks) or not len(detections):
            return NONE, NONE
        table = self._table.take(tracks, 1)
        reach = self.reach * table[2:4] + SPREAD * np.sqrt(table[kalman.PXX][:2])
        i, j, distance = distances(table, table[SEEN][:2], reach, boxes.take(detections, 1))
        unlike = np.abs(np.log(table[2:4].prod(axis=0))[i] - np.log(boxes[2:4].take(detections, 1).prod(axis=0))[j])
        i, j, _ = match(i, j, (1.0 - distance) * np.exp(-self.size_cue * unlike), (len(tracks), len(detections)))
        return tracks[i], detections[j]

    def _correct(self, t: Index, d: Index, boxes: Array, scores: Array) -> None:
        table = self._table
        elapsed = np.maximum(table[IDLE], 0.1)
        seen, weight = self._count(t, d, scores)
        table[SCORE_SUM] += weight * table[SCORE]
        sure = weight * (table[SCORE] >= self.start_score)
        table[SURE_SUM] += sure * table[SCORE]
        table[SURE_HITS] += sure
        table[SEEN, t] = boxes[:, d]
        measured = boxes.take(seen, 1)
        doubt = NOISE_MEASURED * (1.0 + UNSURE * np.clip(1.0 - table[SCORE], 0.0, 1.0))
        noise = np.square(doubt * _sides(table[:4]))
        if self.manoeuvre:
            _doubt_velocity(table, measured, noise, weight, elapsed)
        kalman.correct(table, measured, noise, weight)
        np.maximum(table[KNOWN], self._confirmed(table), out=table[KNOWN])

    def _confirmed(self, table: Array) -> Mask:
        hits, total = table[HITS], table[SCORE_SUM]
        needed = self.min_hits - (total >= self.sure_score * hits)
        if self._frames <= self.min_hits:
            needed = np.where(total >= self.sure_score * hits, 1, self.min_hits)
        return np.asarray((hits >= needed) & (total >= self.confirm_score * hits))

    def _newborn(self, born: Array, boxes: Array) -> None:
        sides = _sides(boxes)
        born[kalman.X] = boxes
        born[kalman.PXX] = np.square(NOISE_MEASURED * sides)
        born[kalman.PVV] = np.square(START_V * sides)
        born[SCORE_SUM] = born[SURE_SUM] = born[SCORE]
        born[SURE_HITS] = 1.0
        born[SEEN] = boxes
        born[KNOWN] = self._confirmed(born)

    def _corners(self, table: Array) -> Array:
        return from_cxcywh(table)

    def _places(self, table: Array) -> Array:
        seen = table[SEEN]
        part = np.abs(_grown(table)).max(axis=0) > LEASH_SIZE
        slack = np.where((table[IDLE] > 0.0) | part, np.inf, LEASH) * _sides(seen)
        return from_cxcywh(np.clip(table[:4], seen - slack, seen + slack))

    def _alive(self) -> Mask:
        limit = np.where(self._table[KNOWN] > 0.0, self.max_age + self.memory, TENTATIVE_MISSES * self._dt)
        return np.asarray(self._table[IDLE] <= limit)

    def _shown(self) -> Mask:
        table = self._table
        sure = (table[IDLE] <= 0.0) & (table[SCORE] >= self.start_score)
        firm = table[SURE_SUM] >= self.firm_score * table[SURE_HITS]
        believed = firm | (sure & (table[SCORE_SUM] >= self.confirm_score * table[HITS]))
        shown = np.asarray((table[KNOWN] > 0.0) & (table[IDLE] <= self.coast * self._dt) & believed)
        unseen = table[IDLE] > 0.0
        return shown & ~(unseen & self._vanished(table)) if unseen.any() else shown

    def _vanished(self, table: Array) -> Mask:
        """Which tracks went behind something, or over the border, if they are not seen now."""
        vanished = np.asarray(_grown(table).min(axis=0) < -LEASH_SIZE)
        if self.size is not None:
            corners = from_cxcywh(table)
            vanished |= ((corners[:2] < 0.0) | (corners[2:] > np.reshape(self.size, (2, 1)))).any(axis=0)
        return vanished

    def _states(self, shown: Mask) -> NDArray[np.uint8]:
        return np.where(shown, CONFIRMED, np.where(self._table[KNOWN] > 0.0, LOST, TENTATIVE)).astype(np.uint8)


def _sides(boxes: Array) -> Array:
    """Width and height for the centre, and again for themselves, shape (4, n), of boxes cxcywh."""
    return np.concatenate((boxes[2:4], boxes[2:4]))


def _grown(table: Array) -> Array:
    """Logarithm of how much larger the sides were when the box was seen last than the filter says, shape (2, n)."""
    return np.asarray(np.log(table[SEEN][2:] / table[2:4]))


def _doubt_velocity(table: Array, measured: Array, noise: Array, weight: Array, elapsed: Array) -> None:
    """Make the filter believe a jump that it did not expect: what is beyond its variance was the velocity's fault."""
    excess = (measured[:2] - table[:2]) ** 2 - JUMP * (table[kalman.PXX] + noise)[:2]
    if excess.size and excess.max() <= 0.0:  # as nearly always
        return
    whole = np.abs(np.log(measured[2:4] / table[2:4])).max(axis=0) < JUMP_SIZE
    jump = np.maximum(excess, 0.0) * (weight * whole)
    table[kalman.PXX][:2] += jump
    table[kalman.PXV][:2] += jump / elapsed
    table[kalman.PVV][:2] += jump / elapsed**2


def _without(index: Index, taken: Index) -> Index:
    """The entries of `index` that are not in `taken`."""
    if not len(taken) or not len(index):
        return index
    keep = np.ones(int(max(index.max(), taken.max())) + 1, np.bool_)
    keep[taken] = False
    return index[keep[index]]
