"""The loop of track: results in, tracks out, and the life of each face into the event log."""

from __future__ import annotations

import time
from collections.abc import Iterable

from common.bus import Receiver
from common.controls import load_controls
from common.eventlog import boot_id
from common.service import Service
from common.wire import CameraState, ControlState, DetectionResult
from services.track.camera import Camera
from services.track.checkpoint import Checkpoint, recover
from services.track.journal import Journal
from services.track.order import Order

WAIT_MS = 100
STALE_NS = 200_000_000  # results older than this are followed, but only the last of a camera is announced
OPEN_S = 30.0  # a log on a slow card that was cut off in mid-write
ASK_S = 1.0  # for supervisord's answer at the end


class Track:
    """All cameras of the node, and the sockets."""

    def __init__(self, service: Service) -> None:
        settings, bus = service.settings, service.bus
        boot = boot_id()
        self._service, self._stats = service, service.stats
        self._order = Order()
        self._late = 0
        self._cameras = {name: Camera(name, settings, boot) for name in settings.cameras}
        self._ignored = dict.fromkeys(self._cameras, 0)
        self._gone: set[str] = set()
        self._disabled = {name for name, row in load_controls(settings).items() if not row.enabled}
        with service.grace(OPEN_S):
            self._journal = Journal(
                service.state_dir,
                settings.events,
                service.stats,
                bus.publisher("events"),
                service.pulse("journal"),
                service.placement.help_out,  # a start waits for its row to be on disk
            )
        self._checkpoint = Checkpoint(service.runtime_dir, boot, settings.track.mode)
        self._tracks = bus.publisher("tracks")
        recover(self._cameras, self._checkpoint.load(), self._journal, boot, time.monotonic_ns())
        self._results = bus.puller("results")
        self._camera_states = bus.subscriber("camera", settings.cameras)
        self._controls = bus.subscriber("control")

    def run(self) -> None:
        """Work until asked to stop."""
        try:
            while not self._service.stopping:
                self._hear(self._wait())
                self._follow(self._take())
                self._tick()
                problem = self._journal.problem
                self._service.beat("running", problem)
            if self._node_ends():
                self._end_all()
        finally:
            self._checkpoint.save(self._cameras, time.monotonic_ns(), at_once=True)
            self._journal.close()

    def _wait(self) -> list[Receiver | int]:
        deadline_ns = self._order.deadline_ns()
        timeout_ms = WAIT_MS
        if deadline_ns is not None:
            timeout_ms = min(max(-(-(deadline_ns - time.monotonic_ns()) // 1_000_000), 0), WAIT_MS)
        return self._service.bus.wait(timeout_ms, self._results, self._camera_states, self._controls)

    def _hear(self, ready: list[Receiver | int]) -> None:
        """Learn which cameras are there, and how fast they are."""
        if self._camera_states in ready:
            for state in self._camera_states.drain():
                self._on_camera(state)
        if self._controls in ready:
            for control in self._controls.drain():
                self._on_control(control)
        for name, camera in self._cameras.items():
            camera.active = name not in self._gone and name not in self._disabled

    def _on_camera(self, state: CameraState) -> None:
        camera = self._cameras.get(state.camera)
        if camera is None:
            return
        camera.clock.announce(state.nominal_fps)
        (self._gone.discard if state.status == "online" else self._gone.add)(state.camera)

    def _on_control(self, control: ControlState) -> None:
        self._disabled = {row.camera for row in control.cameras if not row.enabled}

    def _take(self) -> list[DetectionResult]:
        """Results that are next in order."""
        ready: list[DetectionResult] = []
        for result in self._results.drain(until=DetectionResult.is_just_sent):
            self._stats.count("results")
            camera = self._cameras.get(result.frame.camera)
            if camera is None:
                self._stats.drop("unknown_camera")
                continue
            ready += self._order.push(result, time.monotonic_ns(), camera.clock.period_ns)
        ready += self._order.due(time.monotonic_ns())
        self._stats.drop("late", self._order.late - self._late)
        self._late = self._order.late
        return ready

    def _follow(self, results: list[DetectionResult]) -> None:
        """Give results to the trackers, and tell at once what they found; everything slow comes after that."""
        last = {result.frame.camera: index for index, result in enumerate(results)}
        replay = self._service.settings.replay
        for index, result in enumerate(results):
            name, now_ns = result.frame.camera, time.monotonic_ns()
            camera = self._cameras[name]
            again = camera.clock.knows(result.frame)
            if again and not replay:
                self._stats.drop("late")
                continue
            events = [] if again else camera.take(result, now_ns)
            if replay or last[name] == index or now_ns - result.finished_ns <= STALE_NS:
                self._announce(camera, result)
            else:
                self._stats.drop("stale")
            self._journal.put(events)
        self._report({self._cameras[name] for name in last})

    def _announce(self, camera: Camera, result: DetectionResult) -> None:
        self._tracks.send(camera.frame(result))
        now_ns = time.monotonic_ns()
        self._stats.count("frames")
        self._stats.latency("track", now_ns - result.finished_ns)
        self._stats.latency("age", now_ns - result.frame.captured_ns)

    def _tick(self) -> None:
        """What time alone brings about."""
        now_ns = time.monotonic_ns()
        for camera in self._cameras.values():
            self._journal.put(camera.tick(now_ns))
        self._report(camera for camera in self._cameras.values() if camera.changed)
        self._checkpoint.save(self._cameras, now_ns)
        if not self._journal.alive:
            raise RuntimeError("the thread of the event log has ended")

    def _node_ends(self) -> bool:
        """The whole node ends; else only this process is restarted, and its faces go on."""
        from common.supervisor import Supervisor  # not worth its memory before the last moment

        return Supervisor(self._service.runtime_dir, ASK_S).stopping()

    def _end_all(self) -> None:
        """Nobody will look any more: every face has left."""
        now_ns = time.monotonic_ns()
        for camera in self._cameras.values():
            self._journal.put(camera.end(now_ns))

    def _report(self, cameras: Iterable[Camera]) -> None:
        for camera in cameras:
            self._stats.gauge(f"faces.{camera.name}", camera.shown)
            ignored = camera.ignored
            self._stats.drop("bad_boxes", max(ignored - self._ignored[camera.name], 0))
            self._ignored[camera.name] = ignored


def main(service: Service) -> None:
    """Run until asked to stop."""
    Track(service).run()
