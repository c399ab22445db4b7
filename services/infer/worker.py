"""Which frame a worker takes next, and what it does with it.

It hears of every frame of every camera and remembers the newest of each. When idle it takes the camera that was served
least recently, leases the frame, and only then claims it: a claim for a frame that is gone would leave a hole that
track waits for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from common.bus import Receiver
from common.claims import Claims
from common.controls import load_controls
from common.errors import FrameGone, RingError
from common.pixels import Geometry
from common.ring.reader import Lease, RingReader
from common.service import Service
from common.wire import Claim, DetectionResult, FrameHandle

if TYPE_CHECKING:
    from services.infer.camera_motion import CameraMotion
    from services.infer.detector import Detections, Detector
    from services.infer.embedder import Embedder
    from services.infer.gate import MotionGate
    from services.infer.looks import Looks

IDLE_LEASE_NS = 50_000_000  # a lease is kept to the next claim, but no longer than this when idle
WAIT_MS = 100  # for frames; the heartbeat wants a round at least every 200 ms
STALE_NS = 2_000_000_000  # after a long stop the queue holds old handles; do not even try their slots
PREPARE_S = 120.0  # buffers and first run for a new picture size
STILL = (0, np.empty(0, np.float32))  # how the camera moved is not known
RATE_SLACK_NS = 2_000_000  # jitter of capture times, so that 10 of 30 frames a second are 10 and not 7.5


class Worker:
    """One worker's sockets, leases and the newest handle of each camera."""

    def __init__(self, service: Service, claims: Claims) -> None:
        """Connect to the bus."""
        self._service, self._claims, self._stats = service, claims, service.stats
        settings = service.settings
        self._index = int(service.argument)
        self._replay = settings.replay
        self._frames = service.bus.subscriber("frames", settings.cameras)
        self._control = service.bus.subscriber("control")
        self._results = service.bus.pusher("results")
        self._readers = {camera: RingReader(settings, camera) for camera in settings.cameras}
        self._controls = load_controls(settings)
        self._newest: dict[str, FrameHandle] = {}
        self._prepared: set[Geometry] = set()
        self._lease: Lease | None = None
        self._lease_until_ns = 0
        self._gates: dict[str, MotionGate] = {}
        self._motions: dict[str, CameraMotion] = {}
        self._looks: dict[str, Looks] = {}
        self._trouble = ""

    def serve(self, detector: Detector, embedder: Embedder | None) -> None:
        """Serve frames until the process shall stop.

        Args:
            detector: Finds the faces.
            embedder: Tells how they look, when wished.

        Raises:
            DeviceError: The accelerator failed.
            ModelError: The model does not take a camera's picture.
        """
        from services.infer.camera_motion import CameraMotion
        from services.infer.gate import MotionGate

        self._prepared.clear()
        settings = self._service.settings
        gated = [name for name, row in settings.cameras.items() if row.motion_gate and not self._replay]
        self._gates = {name: MotionGate() for name in gated}
        wanted = settings.infer.camera_motion and settings.track.mode == "face"
        self._motions = {name: CameraMotion() for name in settings.cameras} if wanted else {}
        self._looks = self._make_looks(embedder)
        while not self._service.stopping:
            self._service.beat("running", self._trouble or detector.placement.fallback)
            self._hear()
            for handle in self._in_order():
                if self._take(detector, handle):
                    break  # hear again before the next choice

    def _make_looks(self, embedder: Embedder | None) -> dict[str, Looks]:
        if embedder is None:
            return {}
        from services.infer.looks import Looks

        settings = self._service.settings
        return {name: Looks(embedder, settings.infer.min_score) for name in settings.cameras}

    def pause(self, seconds: float, reason: str) -> None:
        """Wait with heartbeats, holding nothing."""
        self._service.placement.ease()
        self._let_go()
        until = time.monotonic() + seconds
        while not self._service.stopping and time.monotonic() < until:
            self._service.beat("waiting", reason)
            self._service.bus.wait(WAIT_MS, self._control)
            self._hear_control()

    def close(self) -> None:
        """Let go of everything but the sockets, which are the service's."""
        self._let_go()
        for reader in self._readers.values():
            reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _hear(self) -> None:
        """Remember the newest handle of each camera; wait only when there is none."""
        heard: Sequence[Receiver | int] = (self._frames, self._control)
        if not self._newest:
            self._service.placement.hurry()
            heard = self._service.bus.wait(self._timeout_ms(), self._frames, self._control)
        if self._frames in heard:
            self._hear_frames()
        if self._control in heard:
            self._hear_control()
        if self._lease is not None and time.monotonic_ns() >= self._lease_until_ns:
            self._let_go()

    def _hear_frames(self) -> None:
        for handle in self._frames.drain():
            if handle.camera in self._readers:
                self._newest[handle.camera] = handle

    def _hear_control(self) -> None:
        for state in self._control.drain():
            self._controls.update((row.camera, row) for row in state.cameras)

    def _timeout_ms(self) -> int:
        if self._lease is None:
            return WAIT_MS
        return max(1, min(WAIT_MS, (self._lease_until_ns - time.monotonic_ns()) // 1_000_000))

    def _in_order(self) -> list[FrameHandle]:
        """The waiting handles, camera served least recently first."""
        return sorted(self._newest.values(), key=lambda handle: self._claims.served_ns(handle.camera))

    def _take(self, detector: Detector, handle: FrameHandle) -> bool:
        """Lease, claim and detect one frame; False when it is not for us."""
        del self._newest[handle.camera]
        interval_ns = self._interval_ns(handle.camera)
        if interval_ns is None or not self._worth_a_try(handle, interval_ns):
            return False
        lease = self._leased(handle)
        if lease is None:
            return False
        try:
            self._prepare(detector, lease.geometry)
            claim = self._claims.take(handle.camera, handle.captured_ns, self._index, interval_ns)
            if claim is None:
                self._stats.drop("claimed_elsewhere")
                return False
            self._keep(lease)
            self._detect(detector, lease, claim)
        finally:
            if lease is not self._lease:
                lease.release()
        return True

    def _interval_ns(self, camera: str) -> int | None:
        """Least time between two detected frames of a camera; None when it is switched off."""
        control = self._controls.get(camera)
        if control is None or self._replay:
            return 0
        if not control.enabled:
            return None
        return max(0, int(1e9 / control.detect_fps) - RATE_SLACK_NS) if control.detect_fps > 0 else 0

    def _worth_a_try(self, handle: FrameHandle, interval_ns: int) -> bool:
        """A look without locks: is the frame new, and due?"""
        before_ns = self._claims.newest_ns(handle.camera)
        if handle.captured_ns // 1_000_000 * 1_000_000 <= before_ns:
            self._stats.drop("claimed_elsewhere")
            return False
        if handle.captured_ns - before_ns < interval_ns:
            self._stats.count("not_due")
            return False
        if time.monotonic_ns() - handle.captured_ns > STALE_NS and not self._replay:
            self._stats.drop("stale")
            return False
        return True

    def _leased(self, handle: FrameHandle) -> Lease | None:
        try:
            lease = self._readers[handle.camera].lease(handle)
        except FrameGone:
            self._stats.drop("overwritten")
            return None
        except RingError as error:
            self._stats.drop("ring")
            self._trouble = str(error)
            return None
        self._trouble = ""
        return lease

    def _prepare(self, detector: Detector, geometry: Geometry) -> None:
        """Buffers for a new picture size, before the claim: nobody waits for them then."""
        if geometry not in self._prepared:
            self._service.placement.ease()
            with self._service.grace(PREPARE_S):
                detector.prepare(geometry)
            self._prepared.add(geometry)

    def _detect(self, detector: Detector, lease: Lease, claim: Claim) -> None:
        """Detect, tell, and keep the lease for a while: whoever hears of the result may want the pixels."""
        handle, geometry = lease.handle, lease.geometry
        found, ran = self._find(detector, lease)
        motion = self._motion(lease, found, ran)
        looks = self._looks.get(handle.camera)
        seen = looks.look(lease.planes, geometry, handle, found) if looks else ()
        finished_ns = time.monotonic_ns()
        self._lease_until_ns = finished_ns + IDLE_LEASE_NS
        self._results.send(
            DetectionResult(handle, claim, geometry.width, geometry.height, finished_ns, *found, *motion, *seen)
        )
        self._stats.count("frames")
        self._stats.count("faces", len(found.scores))
        self._stats.latency("wait", claim.claimed_ns - handle.captured_ns)
        if not ran:
            self._stats.count("still")
            return
        for name, duration_ns in detector.laps._asdict().items():
            self._stats.latency(name, duration_ns)

    def _find(self, detector: Detector, lease: Lease) -> tuple[Detections, bool]:
        """Faces of a frame, and whether the model was run for them: not while the picture stands still."""
        gate, now_ns = self._gates.get(lease.handle.camera), time.monotonic_ns()
        if gate is not None and (known := gate.answer(lease.planes, now_ns)) is not None:
            return known, False
        self._service.placement.ease()
        found = detector.detect(lease.planes, lease.geometry)
        if gate is not None:
            gate.ran(found, now_ns)
        return found, True

    def _motion(self, lease: Lease, found: Detections, ran: bool) -> tuple[int, NDArray[np.float32]]:
        """How the camera moved since the frame before."""
        camera = self._motions.get(lease.handle.camera)
        if camera is None:
            return STILL
        if not ran:  # the gate has just seen that nothing changed
            return camera.stood(lease.handle, found.boxes)
        return camera.follow(lease.planes, lease.handle, found.boxes, lease.geometry.width)

    def _keep(self, lease: Lease) -> None:
        """Hold this lease instead of the one before."""
        self._let_go()
        self._lease = lease

    def _let_go(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()
