"""Mode `sort` compiled by numba: the same tracker, some thirty times faster on few boxes.

For programs that call the tracker a great deal (`pip install vedette[kernel]`). The node does not use it: there the
numpy form costs a three-hundredth of a frame's time, and importing numba costs more than it could ever give back.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.track import kalman
from services.track.boxes import LIMIT, MIN_SIDE_PX
from services.track.compiled_association import Index, compiled, pair, settle
from services.track.population import AGE, DETECTION, HITS, ID, IDLE, SCORE, STREAK, Array
from services.track.sort import NOISE, NOISE_MEASURED, START_V, START_X, Sort

N, FRAMES, LAST_ID, IGNORED = range(4)  # of the counters
DT, MAX_AGE, MIN_HITS, IOU = range(4)  # of the parameters
UNUSABLE: Final = -2  # in `owner`: a detection that is no box; -1 is one without a track
ROOM: Final = 64  # tracks and detections that the arrays hold at first
X, V, PXX, PXV, PVV = (block.start for block in (kalman.X, kalman.V, kalman.PXX, kalman.PXV, kalman.PVV))
_R: Final = np.ascontiguousarray(NOISE_MEASURED[:, 0])
_Q: Final = np.ascontiguousarray(NOISE[:, 0])
_START_V: Final = np.ascontiguousarray(START_V[:, 0])


class CompiledSort(Sort):
    """`Sort` with every step but the rare ambiguous assignment in compiled loops; one row of memory a track."""

    def __init__(self, max_age: float = 1, min_hits: int = 3, iou_threshold: float = 0.3) -> None:
        """Settings as in `Sort`."""
        self._counters = np.zeros(4, np.int64)
        self._parameters = np.array([1.0, max_age, min_hits, iou_threshold], np.float64)
        self._records: Array = np.zeros((ROOM, self.rows))
        self._seen: Index = np.empty(ROOM, np.int64)
        self._owner: Index = np.empty(ROOM, np.int64)
        super().__init__(max_age, min_hits, iou_threshold)

    def update(self, detections: Array, dt: float = 1.0, motion: Array | None = None) -> Array:  # noqa: ARG002
        """As `Sort.update`; SORT knows no motion of the camera."""
        wanted = self._counters[N] + len(detections)
        if wanted > len(self._seen):
            self._grow(int(wanted))
        self._parameters[DT] = dt
        out: Array = advance(detections, self._records, self._seen, self._owner, self._counters, self._parameters)
        return out

    def _advance(self, detections: Array, dt: float, motion: Array | None = None) -> None:  # noqa: ARG002
        self._dt = dt
        self.update(np.ascontiguousarray(detections.T), dt)

    def _grow(self, wanted: int) -> None:
        room = 2 * wanted
        records = np.zeros((room, self.rows))
        records[: len(self._records)] = self._records
        self._records = records
        self._seen, self._owner = np.empty(room, np.int64), np.empty(room, np.int64)

    @property
    def _table(self) -> Array:
        return np.ascontiguousarray(self._records[: self._counters[N]].T)

    @_table.setter
    def _table(self, table: Array) -> None:
        n = table.shape[1]
        if n > len(self._seen):
            self._grow(n)
        self._counters[N] = n
        self._records[:n] = table.T

    @property
    def _frames(self) -> int:
        return int(self._counters[FRAMES])

    @_frames.setter
    def _frames(self, value: int) -> None:
        self._counters[FRAMES] = value

    @property
    def _last_id(self) -> int:
        return int(self._counters[LAST_ID])

    @_last_id.setter
    def _last_id(self, value: int) -> None:
        self._counters[LAST_ID] = value

    @property
    def ignored(self) -> int:
        """Number of detections so far that were no usable box."""
        return int(self._counters[IGNORED])

    @ignored.setter
    def ignored(self, value: int) -> None:
        self._counters[IGNORED] = value


@compiled
def advance(
    detections: Array, records: Array, seen: Index, owner: Index, counters: NDArray[np.int64], parameters: Array
) -> Array:
    """One update.

    Args:
        detections: Shape (N, 5): box xyxy in pixels, score.
        records: Tracks, one a row, the columns of a row as the rows of `Population`'s table.
        seen: Room for the detection of each track.
        owner: Room for the track of each detection.
        counters: Tracks, frames, last id, ignored detections.
        parameters: Time step, `max_age`, `min_hits`, `iou_threshold`.

    Returns:
        Shape (M, 5): box xyxy in pixels, track id.
    """
    counters[FRAMES] += 1
    for k in range(counters[N]):
        _predict(records[k], parameters[DT])
    for j in range(len(detections)):
        owner[j] = -1 if _usable(detections[j]) else UNUSABLE
        counters[IGNORED] += owner[j] == UNUSABLE
    pairs = _touching(detections, records, owner, counters[N])
    seen[: counters[N]] = -1
    if not pair(pairs, seen, owner, parameters[IOU]):
        settle(pairs, seen, owner, counters[N], len(detections), parameters[IOU])
    for k in range(counters[N]):
        _count(records[k], seen[k])
        if seen[k] >= 0:
            _correct(records[k], detections[seen[k]])
    n = _bury(records, counters[N], parameters[MAX_AGE])
    counters[N] = _bear(detections, records, owner, n, counters)
    shown: Array = _show(records, counters, parameters[MIN_HITS])
    return shown


@compiled
def _predict(track: Array, dt: float) -> None:
    for i in range(4):
        track[X + i] += dt * track[V + i]
        track[PXX + i] += dt * (2.0 * track[PXV + i] + dt * track[PVV + i]) + dt * _Q[8 + i]
        track[PXV + i] += dt * track[PVV + i]
        track[PVV + i] += dt * _Q[16 + i]
    track[AGE] += dt
    track[IDLE] += dt
    if track[X + 2] <= 0.0:
        track[X + 2] -= dt * track[V + 2]
        track[V + 2] = 0.0


@compiled
def _usable(row: Array) -> bool:
    for value in row[:5]:
        if not abs(value) < LIMIT:
            return False
    return bool(row[2] - row[0] > MIN_SIDE_PX and row[3] - row[1] > MIN_SIDE_PX)


@compiled
def _corners(track: Array) -> tuple[float, float, float, float]:
    wide = np.sqrt(track[2] * track[3])
    high = track[2] / wide
    return track[0] - 0.5 * wide, track[1] - 0.5 * high, track[0] + 0.5 * wide, track[1] + 0.5 * high


@compiled
def _touching(detections: Array, records: Array, owner: Index, n: int) -> Array:
    """Track, detection and IoU of each pair that overlaps, shape (pairs, 3), by track."""
    pairs = np.empty((2 * (n + len(detections)) + 8, 3))
    found = 0
    side = np.empty((4, len(detections)))  # by column, so that the comparisons below become vector instructions
    touch = np.empty(len(detections), np.bool_)
    for j in range(len(detections)):
        for i in range(4):
            side[i, j] = detections[j, i]
    a1, b1, a2, b2 = side
    for k in range(n):
        x1, y1, x2, y2 = _corners(records[k])
        for j in range(len(detections)):
            touch[j] = (a1[j] < x2) & (x1 < a2[j]) & (b1[j] < y2) & (y1 < b2[j])
        for j in range(len(detections)):
            if touch[j] and owner[j] != UNUSABLE:
                if found == len(pairs):
                    pairs = np.concatenate((pairs, np.empty_like(pairs)))
                inter = (min(x2, a2[j]) - max(x1, a1[j])) * (min(y2, b2[j]) - max(y1, b1[j]))
                pairs[found, 0], pairs[found, 1] = k, j
                pairs[found, 2] = inter / (records[k, 2] + (a2[j] - a1[j]) * (b2[j] - b1[j]) - inter)
                found += 1
    return pairs[:found]


@compiled
def _count(track: Array, seen: int) -> None:
    track[DETECTION] = seen
    if seen < 0:
        track[STREAK] = 0.0
        return
    track[HITS] += 1.0
    track[STREAK] += 1.0
    track[IDLE] = 0.0


@compiled
def _measure(row: Array, into: Array) -> None:
    wide, high = row[2] - row[0], row[3] - row[1]
    into[0], into[1] = row[0] + 0.5 * wide, row[1] + 0.5 * high
    into[2], into[3] = wide * high, wide / high


@compiled
def _correct(track: Array, row: Array) -> None:
    measured = np.empty(4)
    _measure(row, measured)
    track[SCORE] = row[4]
    for i in range(4):
        whole = track[PXX + i] + _R[i]
        gain_x, gain_v = track[PXX + i] / whole, track[PXV + i] / whole
        off = measured[i] - track[X + i]
        track[X + i] += gain_x * off
        track[V + i] += gain_v * off
        track[PVV + i] -= gain_v * track[PXV + i]
        track[PXX + i] -= gain_x * track[PXX + i]
        track[PXV + i] -= gain_x * track[PXV + i]


@compiled
def _bury(records: Array, n: int, max_age: float) -> int:
    alive = 0
    for k in range(n):
        if records[k, IDLE] <= max_age:
            if alive != k:
                records[alive] = records[k]
            alive += 1
    return alive


@compiled
def _after(a: Array, b: Array) -> bool:
    """Whether box `a` comes after `b` among newborn tracks: an order that does not depend on that of the rows."""
    for i in (3, 2, 1, 0):
        if a[i] != b[i]:
            return bool(a[i] > b[i])
    return False


@compiled
def _bear(detections: Array, records: Array, owner: Index, n: int, counters: NDArray[np.int64]) -> int:
    """Start a track for each detection without one, after the `n` that live; `owner` is used up."""
    born = 0
    for j in range(len(detections)):
        if owner[j] == -1:
            k = born
            while k > 0 and _after(detections[owner[k - 1]], detections[j]):
                owner[k] = owner[k - 1]
                k -= 1
            owner[k] = j
            born += 1
    for k in range(born):
        track, row = records[n + k], detections[owner[k]]
        track[:] = 0.0
        _measure(row, track)
        for i in range(4):
            track[PXX + i] = START_X
            track[PVV + i] = _START_V[i]
        track[ID] = counters[LAST_ID] + 1 + k
        track[SCORE], track[DETECTION], track[HITS] = row[4], owner[k], 1.0
    counters[LAST_ID] += born
    return n + born


@compiled
def _show(records: Array, counters: NDArray[np.int64], min_hits: float) -> Array:
    n, early = counters[N], counters[FRAMES] <= min_hits or min_hits < 1
    out = np.empty((n, 5))
    m = 0
    for k in range(n):
        track = records[k]
        if (early and track[IDLE] == 0.0) or (not early and track[STREAK] >= min_hits):
            out[m, 0], out[m, 1], out[m, 2], out[m, 3] = _corners(track)
            out[m, 4] = track[ID]
            m += 1
    return out[:m]
