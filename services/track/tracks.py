"""The snapshot that a tracker hands out: every live track as one row of parallel arrays."""

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

TENTATIVE: Final = 0
CONFIRMED: Final = 1
LOST: Final = 2
STATE_NAMES: Final = ("tentative", "confirmed", "lost")


@dataclass(frozen=True, slots=True)
class Tracks:
    """All live tracks after an update, tentative and lost ones too; K rows, oldest track first.

    Attributes:
        ids: Track ids, shape (K,), int64, from 1, never reused.
        boxes: Boxes xyxy in pixels, shape (K, 4), float64; predicted where `detection_index` is -1.
        scores: Score of the last matched detection, shape (K,), float64.
        states: TENTATIVE, CONFIRMED or LOST, shape (K,), uint8. A confirmed track stays CONFIRMED while it is shown
            without a detection, and is LOST after that.
        hits: Number of matched detections, shape (K,), int32.
        ages_frames: Time since birth in nominal frames, shape (K,), float64.
        time_since_update: Time since the last matched detection in nominal frames, shape (K,), float64.
        velocities: Change of `boxes` per nominal frame, shape (K, 4), float64, px.
        detection_index: Row of this step's detections that was matched, else -1, shape (K,), int32.
        shown: True for the rows that a viewer is shown, which are the rows of `update()`, shape (K,), bool.
    """

    ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    states: NDArray[np.uint8]
    hits: NDArray[np.int32]
    ages_frames: NDArray[np.float64]
    time_since_update: NDArray[np.float64]
    velocities: NDArray[np.float64]
    detection_index: NDArray[np.int32]
    shown: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of live tracks."""
        return len(self.ids)


class Tracker(Protocol):
    """What the service needs of a tracker; `Sort` and `FaceTracker` both have it."""

    ignored: int
    size: tuple[int, int] | None

    @property
    def tracks(self) -> Tracks:
        """Every live track after the last step."""

    def step(
        self,
        boxes: NDArray[np.float64],
        scores: NDArray[np.float64],
        dt: float = 1.0,
        motion: NDArray[np.float64] | None = None,
    ) -> Tracks:
        """Take one frame's detections; see `Sort.step`."""

    def update(self, detections: NDArray[np.float64], dt: float = 1.0) -> NDArray[np.float64]:
        """Take one frame's detections as (N, 5) and give the shown tracks as (M, 5); see `Sort.update`."""

    def take_over(self, track_id: int, former: int) -> None:
        """A new track goes on with an id that it had before."""

    def predict(self, dt: float) -> Tracks:
        """The tracks as they would be `dt` nominal frames from now, nothing changed."""

    def state(self) -> dict[str, Any]:
        """Everything needed to go on after a restart, as plain lists and numbers."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state()` gave."""
