"""The loop of one camera: open the source, fill the ring, tell the others; a camera that is away is a state."""

from __future__ import annotations

import contextlib
import random
import time

from common.controls import load_controls
from common.errors import DeviceError, RingError
from common.fleet import ring_slots
from common.ring.writer import RingWriter, WriteSlot
from common.service import Service
from common.wire import CameraState, CameraStatus
from services.capture.opening import Opening
from services.capture.replay import Replay
from services.capture.source import EndOfStream, Filler, GeometryChanged, Source, Stamp, make_source

FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0
STATE_S = 1.0  # how often the camera's state is told
LONG_S = 1.0  # an opening that takes longer is told
LOAD_GRACE_S = 30.0  # a source's library, read from a slow card
IDLE_MS = 100


class Capture:
    """One camera's process."""

    def __init__(self, service: Service) -> None:
        self._service, self._camera = service, service.argument
        self._settings = service.settings.cameras[self._camera]
        self._frames = service.bus.publisher("frames", self._camera)
        self._states = service.bus.publisher("camera", self._camera)
        self._control = service.bus.subscriber("control")
        self._enabled = load_controls(service.settings)[self._camera].enabled
        self._status: CameraStatus = "offline"
        self._reason = "starting"
        self._size = (0, 0)
        self._nominal_fps = 0.0
        self._seq = 0
        self._told = (0.0, 0)
        self._fps = 0.0
        self._replay = Replay(service, self._camera) if service.settings.replay else None

    def run(self) -> None:
        """Play sources until the process is asked to end."""
        retry_s = FIRST_RETRY_S
        while not self._service.stopping:
            if not self._enabled:
                self._idle("disabled", "switched off", 1.0)
                continue
            with self._service.grace(LOAD_GRACE_S):
                source = make_source(self._settings, self._service.stats, paced=self._replay is None)
            began = time.monotonic()
            opening = Opening(source)
            try:
                self._play(source, opening)
            except EndOfStream as end:
                self._tell("ended", str(end))
                self._rest("ended", str(end))
            except GeometryChanged as change:
                self._tell("offline", str(change))
            except (DeviceError, RingError) as error:
                if time.monotonic() - began > LAST_RETRY_S:
                    retry_s = FIRST_RETRY_S
                self._idle("offline", str(error), retry_s * random.uniform(0.75, 1.25))
                retry_s = min(retry_s * 2, LAST_RETRY_S)
            finally:
                opening.close()

    def _play(self, source: Source, opening: Opening) -> None:
        """Frames of a source into a ring of its own, once it is open."""
        geometry = opening.wait(self._still_opening)
        if geometry is None:
            return
        self._size, self._nominal_fps = (geometry.width, geometry.height), source.nominal_fps
        filler = source if isinstance(source, Filler) else None
        with RingWriter(self._service.settings, self._camera, geometry, self._slots(filler)) as ring:
            direct = filler if filler is not None and filler.begin(ring) else None
            self._tell("online", "")
            while not self._service.stopping and self._enabled:
                self._service.beat()
                self._hear()
                self._tell_in_time()
                if not source.wait():
                    continue
                if direct is not None:
                    self._publish(ring, *direct.take())
                else:
                    self._pass_on(source, ring)

    def _slots(self, filler: Filler | None) -> int:
        """Slots of the ring: what all others need, and what the device holds."""
        settings = self._service.settings
        spare = filler.spare_slots if filler is not None else 0
        return ring_slots(settings.infer.max_workers, settings.optional) + spare

    def _still_opening(self, seconds: float) -> bool:
        """Life goes on meanwhile; False when nobody wants the camera any more."""
        if seconds > LONG_S:
            self._service.beat("waiting", f"opening the camera for {seconds:.0f} s")
        else:
            self._service.beat("starting", "opening the camera")
        self._hear()
        self._tell_in_time()
        return not self._service.stopping and self._enabled

    def _pass_on(self, source: Source, ring: RingWriter) -> None:
        stats = self._service.stats
        slot = ring.acquire()
        if slot is None:
            stats.drop("no_slot")
            source.skip()
            return
        stamp = source.read(slot.planes)
        if stamp is None:
            ring.abandon(slot)
            stats.drop("damaged")
            return
        self._publish(ring, slot, stamp)

    def _publish(self, ring: RingWriter, slot: WriteSlot, stamp: Stamp) -> None:
        stats = self._service.stats
        self._seq += 1
        handle = ring.publish(slot, self._seq, stamp.captured_ns, stamp.media_ns)
        stats.count("frames")
        if self._replay is not None:
            self._replay.deliver(handle, self._frames, self._tell_in_time)
            return
        self._frames.send(handle)
        stats.latency("capture", time.monotonic_ns() - stamp.captured_ns)

    def _hear(self) -> None:
        for state in self._control.drain():
            for row in state.cameras:
                if row.camera == self._camera:
                    self._enabled = row.enabled

    def _idle(self, status: CameraStatus, reason: str, seconds: float) -> None:
        """Wait, with the reason said, unless the switch is turned meanwhile."""
        self._tell(status, reason)
        enabled, end = self._enabled, time.monotonic() + seconds
        while not self._service.stopping and self._enabled == enabled and time.monotonic() < end:
            self._service.beat("running" if status == "disabled" else "waiting", reason)
            self._service.bus.wait(IDLE_MS, self._control)
            self._hear()
            self._tell_in_time()

    def _rest(self, status: CameraStatus, reason: str) -> None:
        """Nothing more will come: stay, so that the state is known, until asked to end or switched off and on."""
        while not self._service.stopping and self._enabled:
            self._idle(status, reason, 1.0)

    def _tell_in_time(self) -> None:
        if time.monotonic() - self._told[0] >= STATE_S:
            self._tell(self._status, self._reason)

    def _tell(self, status: CameraStatus, reason: str) -> None:
        now, (before, seq) = time.monotonic(), self._told
        if now - before >= 0.5:
            self._fps = round((self._seq - seq) / (now - before), 2)
            self._told = (now, self._seq)
        self._status, self._reason = status, reason
        width, height = self._size
        state = CameraState(
            self._camera, status, reason, width, height, self._fps if status == "online" else 0.0,
            self._nominal_fps, self._seq, time.monotonic_ns(),
        )  # fmt: skip
        self._states.send(state)


def main(service: Service) -> None:
    """Run one camera."""
    with contextlib.suppress(KeyboardInterrupt):
        Capture(service).run()
