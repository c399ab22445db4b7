"""The live tracks as one table: births, deaths, ids, snapshots and checkpoints; what both modes share.

A row of the table is one quantity of all tracks, a column is one track, oldest first. The first rows are the Kalman
filter's, then the counters below, then what a mode adds of its own.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from services.track import kalman
from services.track.boxes import usable
from services.track.tracks import Tracks

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

ID, SCORE, DETECTION, HITS, STREAK, AGE, IDLE = range(kalman.ROWS, kalman.ROWS + 7)
STILL: Final[Array] = np.eye(2, 3)
NONE: Final[Index] = np.empty(0, np.int64)
COUNTERS_END: Final = kalman.ROWS + 7


class Population(ABC):
    """Live tracks and the steps that every mode takes with them.

    Attributes:
        ignored: Number of detections so far that were no usable box.
        size: Width and height of the picture; None when not known.
    """

    rows: ClassVar[int] = COUNTERS_END

    def __init__(self) -> None:
        self.ignored = 0
        self.size: tuple[int, int] | None = None
        self._frames = 0
        self._last_id = 0
        self._dt = 1.0
        self._motion: Array | None = None
        self._table: Array = np.empty((self.rows, 0))
        self._blank: Array = np.zeros((self.rows, 1))
        self._blank[HITS] = 1.0

    def update(self, detections: Array, dt: float = 1.0, motion: Array | None = None) -> Array:
        """Take one frame's detections and give the tracks to show.

        Args:
            detections: Shape (N, 5): box xyxy in pixels, score; N may be 0. Rows that are not finite or have no area
                are counted in `ignored` and left out.
            dt: Time since the last update in nominal frames.
            motion: How the camera moved since the last update, affine map of pixels, shape (2, 3); None: not known.

        Returns:
            Shape (M, 5): box xyxy in pixels, track id.
        """
        self._advance(detections.T.copy(), dt, motion)
        shown = self._shown().nonzero()[0]
        out = np.empty((5, len(shown)))
        out[:4] = self._places(self._table).take(shown, 1)
        out[4] = self._table[ID].take(shown)
        return out.T

    def step(self, boxes: Array, scores: Array, dt: float = 1.0, motion: Array | None = None) -> Tracks:
        """Take one frame's detections and give every live track.

        Args:
            boxes: Shape (N, 4), xyxy in pixels; N may be 0. Rows that are not finite or have no area are counted in
                `ignored` and left out.
            scores: Shape (N,).
            dt: Time since the last update in nominal frames.
            motion: How the camera moved since the last update, affine map of pixels, shape (2, 3); None: not known.
        """
        self._advance(np.concatenate((boxes.T, scores[None]), dtype=np.float64), dt, motion)
        return self.tracks

    def take_over(self, track_id: int, former: int) -> None:
        """A new track is the face that was known as `former`, and goes on with that id; a lost one of it ends."""
        table = self._table
        table[ID, table[ID] == track_id] = former
        old = (table[ID] == former).nonzero()[0][:-1]
        self._table = np.delete(table, old, axis=1)

    @property
    def tracks(self) -> Tracks:
        """Every live track after the last step."""
        return self._snapshot(self._table)

    def predict(self, dt: float) -> Tracks:
        """The tracks as they would be `dt` nominal frames from now, without a detection; nothing is changed."""
        ahead = self._table.copy()
        self._go_on(ahead, dt)
        ahead[DETECTION] = -1.0
        return self._snapshot(ahead)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on after a restart, as plain lists and numbers."""
        return {
            "frames": self._frames,
            "last_id": self._last_id,
            "ignored": self.ignored,
            "dt": self._dt,
            "table": self._table.tolist(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state()` of the same mode gave.

        Raises:
            ValueError: `state` is of another mode or version.
        """
        table = np.array(state["table"], dtype=np.float64)
        if table.ndim != 2 or len(table) != self.rows:
            raise ValueError(f"checkpoint has {len(table)} rows, this tracker has {self.rows}")
        self._frames, self._last_id = int(state["frames"]), int(state["last_id"])
        self.ignored, self._dt = int(state["ignored"]), float(state["dt"])
        self._table = table

    @abstractmethod
    def _move(self, table: Array, dt: float) -> None:
        """Predict in place, `dt` nominal frames on."""

    @abstractmethod
    def _measure(self, xyxy: Array) -> Array:
        """What the filter measures of boxes, shape (4, n) both."""

    @abstractmethod
    def _associate(self, xyxy: Array, boxes: Array, scores: Array) -> Index:
        """Match and correct; return the detections that start a track. `boxes` is what `_measure` gave."""

    @abstractmethod
    def _newborn(self, born: Array, boxes: Array) -> None:
        """Fill the mode's rows of new tracks from what was measured."""

    @abstractmethod
    def _corners(self, table: Array) -> Array:
        """Boxes of the filter, xyxy, shape (4, n)."""

    def _places(self, table: Array) -> Array:
        """Boxes as they are told, xyxy, shape (4, n): those of the filter unless a mode knows better."""
        return self._corners(table)

    @abstractmethod
    def _alive(self) -> Mask:
        """Which tracks live on."""

    @abstractmethod
    def _shown(self) -> Mask:
        """Which tracks a viewer is shown."""

    @abstractmethod
    def _states(self, shown: Mask) -> NDArray[np.uint8]:
        """TENTATIVE, CONFIRMED or LOST for each track."""

    def _warp(self, table: Array, motion: Array) -> None:  # noqa: B027
        """Take the motion of the camera into account in place, after `_move`; a mode may leave it."""

    def _advance(self, detections: Array, dt: float, motion: Array | None = None) -> None:
        index = usable(detections)
        if index is not None:
            self.ignored += detections.shape[1] - len(index)
            detections = detections.take(index, 1)
        xyxy, scores = detections[:4], detections[4]
        self._frames += 1
        self._dt = dt
        if self._table.shape[1]:
            self._move(self._table, dt)
        self._motion = motion
        if motion is not None:
            self._warp(self._table, motion)
        boxes = self._measure(xyxy)
        new = self._associate(xyxy, boxes, scores)
        if new.size:
            self._begin(xyxy, boxes, scores, new)
        alive = self._alive()
        if np.count_nonzero(alive) < len(alive):
            self._table = self._table.compress(alive, 1)
        if index is not None:  # tell them by their place before the unusable ones were taken out
            matched = (self._table[DETECTION] >= 0.0).nonzero()[0]
            self._table[DETECTION, matched] = index[self._table[DETECTION, matched].astype(np.int64)]

    def _count(self, t: Index, d: Index, scores: Array) -> tuple[Index, Array]:
        """Note that track `t` was seen as detection `d`, and that the others were not seen.

        Returns:
            The detection of each track, -1 without one, and 1 with one and 0 without one.
        """
        table = self._table
        seen = np.empty(table.shape[1], np.int64)
        seen.fill(-1)
        seen[t] = d
        weight = np.zeros(len(seen))
        weight[t] = 1.0
        table[DETECTION] = seen
        table[HITS : STREAK + 1] += weight
        table[STREAK] *= weight
        table[IDLE][t] = 0.0
        table[SCORE][t] = scores[d]
        return seen, weight

    def _begin(self, xyxy: Array, boxes: Array, scores: Array, new: Index) -> None:
        """Start a track for each detection in `new`, in an order that does not depend on theirs."""
        if len(new) > 1:
            new = new[np.lexsort(xyxy[:, new])]
        born = self._blank.repeat(len(new), 1)
        born[ID] = np.arange(self._last_id + 1, self._last_id + 1 + len(new))
        born[SCORE] = scores[new]
        born[DETECTION] = new
        self._newborn(born, boxes.take(new, 1))
        self._last_id += len(new)
        self._table = np.concatenate((self._table, born), axis=1)

    def _go_on(self, table: Array, dt: float) -> None:
        """Predict in place, while the camera moves on as it did."""
        self._move(table, dt)
        if self._motion is not None and self._dt > 0.0:
            self._warp(table, STILL + (self._motion - STILL) * (dt / self._dt))

    def _snapshot(self, table: Array) -> Tracks:
        ahead = table.copy()
        self._go_on(ahead, 1.0)
        shown = self._shown()
        return Tracks(
            ids=table[ID].astype(np.int64),
            boxes=np.ascontiguousarray(self._places(table).T),
            scores=table[SCORE].copy(),
            states=self._states(shown),
            hits=table[HITS].astype(np.int32),
            ages_frames=table[AGE].copy(),
            time_since_update=table[IDLE].copy(),
            velocities=np.ascontiguousarray((self._corners(ahead) - self._corners(table)).T),
            detection_index=table[DETECTION].astype(np.int32),
            shown=shown,
        )
