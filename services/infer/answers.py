"""What a worker makes of a frame beside the run of the model, and what it remembers of each camera for that.

The motion gate says whether the model has to be run, the camera's motion and the looks of faces go with the answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from common.ring.reader import Lease
from common.settings import Settings
from common.wire import Claim, DetectionResult
from services.infer.camera_motion import CameraMotion
from services.infer.detector import Detections
from services.infer.gate import MotionGate

if TYPE_CHECKING:
    from services.infer.embedder import Embedder
    from services.infer.looks import Looks

STILL = (0, np.empty(0, np.float32))  # how the camera moved is not known


class Answers:
    """The gates, motions and looks of all cameras, in one worker."""

    def __init__(self, settings: Settings, embedder: Embedder | None) -> None:
        """Know nothing yet.

        Args:
            settings: Of the node.
            embedder: Tells how faces look, when wished.
        """
        gated = [name for name, row in settings.cameras.items() if row.motion_gate and not settings.replay]
        self._gates = {name: MotionGate(fine=settings.infer.regions) for name in gated}
        wanted = settings.infer.camera_motion and settings.track.mode == "face"
        self._motions = {name: CameraMotion() for name in settings.cameras} if wanted else {}
        self._looks = _make_looks(settings, embedder)

    def known(self, lease: Lease) -> Detections | None:
        """Faces of a frame without a run of the model, while the picture stands still; None when it has to look."""
        gate = self._gates.get(lease.handle.camera)
        return None if gate is None else gate.answer(lease.planes, time.monotonic_ns())

    def ran(self, lease: Lease, found: Detections, sweep: int | None = 0) -> None:
        """Take what the model found in the frame that `known` was asked about.

        Args:
            lease: Of the frame.
            found: Its faces.
            sweep: Runs that it takes to look at all of a picture; None when this one cannot be compared with others.
        """
        gate = self._gates.get(lease.handle.camera)
        if gate is not None:
            gate.ran(found, time.monotonic_ns(), sweep)

    def make(self, lease: Lease, claim: Claim, found: Detections, ran: bool) -> DetectionResult:
        """The result of a frame.

        Args:
            lease: Of the frame.
            claim: Of the frame.
            found: Its faces.
            ran: Whether the model was run for them.
        """
        handle, geometry = lease.handle, lease.geometry
        motion = self._motion(lease, found, ran)
        looks = self._looks.get(handle.camera)
        seen = looks.look(lease.planes, geometry, handle, found) if looks else ()
        finished_ns = time.monotonic_ns()
        return DetectionResult(handle, claim, geometry.width, geometry.height, finished_ns, *found, *motion, *seen)

    def _motion(self, lease: Lease, found: Detections, ran: bool) -> tuple[int, NDArray[np.float32]]:
        """How the camera moved since the frame before."""
        camera = self._motions.get(lease.handle.camera)
        if camera is None:
            return STILL
        if not ran:  # the gate has just seen that nothing changed
            return camera.stood(lease.handle, found.boxes)
        return camera.follow(lease.planes, lease.handle, found.boxes, lease.geometry.width)


def _make_looks(settings: Settings, embedder: Embedder | None) -> dict[str, Looks]:
    if embedder is None:
        return {}
    from services.infer.looks import Looks

    return {name: Looks(embedder, settings.infer.min_score) for name in settings.cameras}
