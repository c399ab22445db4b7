"""The assignment of `compiled`: the same pairs as `association.match`, without leaving compiled code."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def compiled(function: Any) -> Any:
    """Compile at the first call, and keep the code beside the module or in the user's cache."""
    return njit(cache=True, error_model="numpy")(function)


@compiled
def pair(pairs: Array, seen: Index, owner: Index, threshold: float) -> bool:
    """Give each track the detection that it overlaps enough.

    Args:
        pairs: Track, detection and IoU of each pair that overlaps, shape (pairs, 3).
        seen: The detection of each track, -1 without one; filled.
        owner: The track of each detection, negative without one; filled.
        threshold: IoU above which a pair counts.

    Returns:
        False when a track or a detection has several; what was filled so far is then of no use.
    """
    for p in range(len(pairs)):
        if pairs[p, 2] > threshold:
            k, j = int(pairs[p, 0]), int(pairs[p, 1])
            if seen[k] >= 0 or owner[j] >= 0:
                return False
            seen[k], owner[j] = j, k
    return True


@compiled
def settle(pairs: Array, seen: Index, owner: Index, n: int, m: int, threshold: float) -> None:
    """Largest sum of IoU, then pairs below the threshold are dropped; sure pairs first, as in `association.match`.

    Args:
        pairs: As in `pair`.
        seen: As in `pair`.
        owner: As in `pair`.
        n: Number of tracks.
        m: Number of detections.
        threshold: Least IoU of a pair that belongs together.
    """
    seen[:n] = -1
    by_track, by_detection = np.zeros(n), np.zeros(m)
    for p in range(len(pairs)):
        k, j = int(pairs[p, 0]), int(pairs[p, 1])
        owner[j] = -1
        by_track[k] += pairs[p, 2]
        by_detection[j] += pairs[p, 2]
    for p in range(len(pairs)):
        k, j = int(pairs[p, 0]), int(pairs[p, 1])
        if 3.0 * pairs[p, 2] > by_track[k] + by_detection[j]:
            seen[k], owner[j] = j, k
    free = pairs[np.array([seen[int(pair[0])] < 0 and owner[int(pair[1])] < 0 for pair in pairs], np.bool_)]
    if len(free):
        _solve(free, seen, owner)
    for p in range(len(pairs)):
        k, j = int(pairs[p, 0]), int(pairs[p, 1])
        if seen[k] == j and pairs[p, 2] < threshold:
            seen[k] = owner[j] = -1


@compiled
def _solve(pairs: Array, seen: Index, owner: Index) -> None:
    """Choose pairs for the largest sum of IoU; a track may also stay alone, at no gain.

    Source:
        Shortest augmenting paths with potentials: Jonker and Volgenant, Computing 1987, section 2.
    """
    rows, columns = np.unique(pairs[:, 0]), np.unique(pairs[:, 1])
    n, m = len(rows), len(columns) + len(rows)  # spare columns, one for each row, come last
    gain = np.zeros((n, m))
    for p in range(len(pairs)):
        gain[np.searchsorted(rows, pairs[p, 0]), np.searchsorted(columns, pairs[p, 1])] = pairs[p, 2]
    price_row, price, taker = np.zeros(n), np.zeros(m + 1), np.full(m + 1, -1)
    for row in range(n):
        _augment(gain, row, price_row, price, taker)
    for j in range(len(columns)):
        if taker[j] >= 0 and gain[taker[j], j] > 0.0:
            k, d = int(rows[taker[j]]), int(columns[j])
            seen[k], owner[d] = d, k


@compiled
def _augment(gain: Array, row: int, price_row: Array, price: Array, taker: Index) -> None:
    """Give one more row a column, by the path on which the others lose least."""
    m = gain.shape[1]
    came, reach, done = np.zeros(m + 1, np.int64), np.full(m + 1, np.inf), np.zeros(m + 1, np.bool_)
    taker[m] = row
    at = m
    while taker[at] >= 0:
        done[at] = True
        one, least, to = taker[at], np.inf, -1
        for j in range(m):
            if not done[j]:
                cost = -gain[one, j] - price_row[one] - price[j]
                if cost < reach[j]:
                    reach[j], came[j] = cost, at
                if reach[j] < least:
                    least, to = reach[j], j
        for j in range(m + 1):
            if done[j]:
                price_row[taker[j]] += least
                price[j] -= least
            else:
                reach[j] -= least
        at = to
    while at != m:
        taker[at] = taker[came[at]]
        at = came[at]
    taker[m] = -1
