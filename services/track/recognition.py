"""Knows a face again by how it looks, when an embedder tells that: of those that are there and those that left lately.

Place and motion come first, in the tracker; this only asks whose face a new track is, before anybody was told of it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.track.tracks import Tracks

Vector = NDArray[np.float64]

BLEND: Final = 0.3  # weight of a new view; the rest is what was known
SECOND_NS: Final = 1_000_000_000


class Recognition:
    """Of one camera."""

    def __init__(self, recall_s: float, likeness: float, min_hits: int) -> None:
        """Know nobody.

        Args:
            recall_s: Seconds that a face that left is remembered.
            likeness: Least cosine of two views of one person; it depends on the embedder.
            min_hits: Detections after which a track has been told of, and keeps its id.
        """
        self._recall_ns = int(recall_s * SECOND_NS)
        self._likeness, self._min_hits = likeness, max(min_hits, 2)
        self._known: dict[int, Vector] = {}
        self._seen_ns: dict[int, int] = {}

    def look(
        self, tracks: Tracks, looked: NDArray[np.int32], vectors: NDArray[np.float32], at_ns: int
    ) -> dict[int, int]:
        """Take a frame.

        Args:
            tracks: All live tracks of the frame.
            looked: Detections whose looks are told, shape (k,).
            vectors: Their looks, shape (k, d).
            at_ns: Time of the frame.

        Returns:
            For each new track that is a face known from before: the id that it had.
        """
        if not len(looked) and not self._known:
            return {}
        here = set(tracks.ids[tracks.detection_index >= 0].tolist())
        self._seen_ns.update((known, at_ns) for known in self._known.keys() & here)
        self._forget(at_ns)
        former: dict[int, int] = {}
        for row, vector in zip(looked.tolist(), vectors.astype(np.float64), strict=True):
            length = float(np.linalg.norm(vector))
            columns = np.flatnonzero(tracks.detection_index == row)
            if not len(columns) or not 0.0 < length < np.inf:
                continue
            column = int(columns[0])
            track_id = int(tracks.ids[column])
            if track_id not in self._known and tracks.hits[column] < self._min_hits:
                known = self._most_like(vector / length, here)
                if known is not None:
                    former[track_id] = track_id = known
                    here.add(known)
            self._learn(track_id, vector / length, at_ns)
        return former

    def _most_like(self, view: Vector, here: set[int]) -> int | None:
        """The face that is not here now and looks most alike, if alike enough."""
        alike = {
            known: float(view @ vector)
            for known, vector in self._known.items()
            if known not in here and len(vector) == len(view)
        }
        best = max(alike, key=lambda known: alike[known], default=None)
        return best if best is not None and alike[best] >= self._likeness else None

    def _learn(self, track_id: int, view: Vector, at_ns: int) -> None:
        known = self._known.get(track_id)
        if known is not None and len(known) == len(view):
            view = (1.0 - BLEND) * known + BLEND * view
            view /= max(float(np.linalg.norm(view)), 1e-9)
        self._known[track_id], self._seen_ns[track_id] = view, at_ns

    def _forget(self, at_ns: int) -> None:
        for known in [known for known, seen_ns in self._seen_ns.items() if at_ns - seen_ns > self._recall_ns]:
            del self._known[known], self._seen_ns[known]
