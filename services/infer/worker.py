"""Which frames a worker takes next, and what it does with them.

It hears of every frame of every camera and remembers the newest of each. When idle it takes the camera that was served
least recently, leases the frame, and only then claims it: a claim for a frame that is gone would leave a hole that
track waits for. Up to `infer.max_batch` frames that are there already, one a camera, go through the model in one run;
none is ever waited for. Results are sent in the order of the claims: track goes by that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from common.bus import Receiver
from common.claims import Claims
from common.controls import load_controls
from common.errors import FrameGone, RingError
from common.pixels import Geometry
from common.ring.reader import Lease, RingReader
from common.service import Service
from common.wire import Claim, FrameHandle

if TYPE_CHECKING:
    from services.infer.answers import Answers
    from services.infer.detector import Detections, Detector
    from services.infer.embedder import Embedder
    from services.infer.regions import Regions

IDLE_LEASE_NS = 50_000_000  # a lease is kept to the next claim, but no longer than this when idle
WAIT_MS = 100  # for frames; the heartbeat wants a round at least every 200 ms
STALE_NS = 2_000_000_000  # after a long stop the queue holds old handles; do not even try their slots
PREPARE_S = 120.0  # buffers and first run for a new picture size
RATE_SLACK_NS = 2_000_000  # jitter of capture times, so that 10 of 30 frames a second are 10 and not 7.5


@dataclass(frozen=True, slots=True)
class _Taken:
    """A claimed frame; `known` are its faces when the model need not be run for them."""

    lease: Lease
    claim: Claim
    known: Detections | None


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
        self._leases: list[Lease] = []
        self._lease_until_ns = 0
        self._regions: dict[str, Regions] = {}
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
        from services.infer.answers import Answers

        self._prepared.clear()
        self._regions = self._make_regions(detector)
        answers = Answers(self._service.settings, embedder)
        while not self._service.stopping:
            self._service.beat("running", self._trouble or detector.placement.fallback)
            self._hear()
            batch = self._collect(detector, answers)
            if batch:
                self._answer(detector, answers, batch)

    def _make_regions(self, detector: Detector) -> dict[str, Regions]:
        if not self._service.settings.infer.regions:
            return {}
        from services.infer.regions import Regions

        return {name: Regions(detector) for name in self._service.settings.cameras}

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
        if self._leases and time.monotonic_ns() >= self._lease_until_ns:
            self._let_go()

    def _hear_frames(self) -> None:
        enough = FrameHandle.is_just_sent if len(self._readers) == 1 else None  # the choice is among all cameras
        for handle in self._frames.drain(until=enough):
            if handle.camera in self._readers:
                self._newest[handle.camera] = handle

    def _hear_control(self) -> None:
        for state in self._control.drain():
            self._controls.update((row.camera, row) for row in state.cameras)

    def _timeout_ms(self) -> int:
        if not self._leases:
            return WAIT_MS
        return max(1, min(WAIT_MS, (self._lease_until_ns - time.monotonic_ns()) // 1_000_000))

    def _in_order(self) -> list[FrameHandle]:
        """The waiting handles, camera served least recently first."""
        return sorted(self._newest.values(), key=lambda handle: self._claims.served_ns(handle.camera))

    def _collect(self, detector: Detector, answers: Answers) -> list[_Taken]:
        """Claim frames for one run: as many as there are, at most `detector.batch` that the model has to look at."""
        batch: list[_Taken] = []
        for handle in self._in_order():
            taken = self._take(detector, answers, handle, batch)
            if taken is None:
                continue
            batch.append(taken)
            running = sum(frame.known is None for frame in batch)
            if running in {0, detector.batch}:  # a still picture in front waits for nobody
                break
        return batch

    def _take(
        self, detector: Detector, answers: Answers, handle: FrameHandle, batch: Sequence[_Taken]
    ) -> _Taken | None:
        """Lease and claim one frame; None when it is not for us, or not for this batch."""
        del self._newest[handle.camera]
        interval_ns = self._interval_ns(handle.camera)
        if interval_ns is None or not self._worth_a_try(handle, interval_ns):
            return None
        lease = self._leased(handle)
        if lease is None:
            return None
        claim = None
        try:
            if batch and not self._fits(detector, lease.geometry, batch[0].lease.geometry):
                self._newest[handle.camera] = handle  # for the next run
                return None
            self._prepare(self._regions.get(handle.camera, detector), lease.geometry)
            claim = self._claims.take(handle.camera, handle.captured_ns, self._index, interval_ns)
        finally:
            if claim is None:
                lease.release()
        if claim is None:
            self._stats.drop("claimed_elsewhere")
            return None
        self._keep(lease, first=not batch)
        return _Taken(lease, claim, answers.known(lease))

    def _fits(self, detector: Detector, geometry: Geometry, first: Geometry) -> bool:
        """True when frames of a geometry can go into one run with the first one, and nobody waits for their buffers."""
        return geometry in self._prepared and detector.input_size(geometry) == detector.input_size(first)

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

    def _prepare(self, detector: Detector | Regions, geometry: Geometry) -> None:
        """Buffers for a new picture size, before the claim: nobody waits for them then."""
        if geometry not in self._prepared:
            self._service.placement.ease()
            with self._service.grace(PREPARE_S):
                detector.prepare(geometry)
            self._prepared.add(geometry)

    def _answer(self, detector: Detector, answers: Answers, batch: Sequence[_Taken]) -> None:
        """Detect, tell, and keep the leases for a while: whoever hears of the results may want the pixels."""
        found = iter(self._run(detector, [frame.lease for frame in batch if frame.known is None]))
        for frame in batch:
            faces = frame.known if frame.known is not None else next(found)
            if frame.known is None:
                regions = self._regions.get(frame.lease.handle.camera)
                answers.ran(frame.lease, faces, regions.sweep if regions else 0)
            else:
                self._stats.count("still")
            result = answers.make(frame.lease, frame.claim, faces, ran=frame.known is None)
            self._results.send(result)
            self._lease_until_ns = result.finished_ns + IDLE_LEASE_NS
            self._stats.count("frames")
            self._stats.count("faces", len(faces.scores))
            self._stats.latency("wait", frame.claim.claimed_ns - frame.lease.handle.captured_ns)

    def _run(self, detector: Detector, leases: Sequence[Lease]) -> list[Detections]:
        """Faces of frames that the model has to look at, by one run."""
        if not leases:
            return []
        self._service.placement.ease()
        if self._regions:
            found = [self._regions[lease.handle.camera].detect(lease.planes, lease.geometry) for lease in leases]
        else:
            found = detector.detect_all([(lease.planes, lease.geometry) for lease in leases])
        if len(leases) > 1:
            self._stats.count("batched", len(leases))
        for name, duration_ns in detector.laps._asdict().items():
            self._stats.latency(name, duration_ns)
        return found

    def _keep(self, lease: Lease, *, first: bool) -> None:
        """Hold this lease, the first one of a batch instead of those before."""
        if first:
            self._let_go()
        self._leases.append(lease)

    def _let_go(self) -> None:
        while self._leases:
            self._leases.pop().release()
