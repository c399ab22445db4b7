"""One camera as people see it: which frame is shown, with which boxes, or why there is none."""

from __future__ import annotations

import time
from dataclasses import dataclass

from common.errors import FrameGone, RingError
from common.pixels import Geometry, PixelFormat, Plane
from common.ring import RingReader
from common.settings import Settings
from common.stats import Stats
from common.wire import TOPICS, CameraControl, CameraState, FrameHandle, TrackFrame
from services.view import draw, marks, picture
from services.view.pace import Pace
from services.view.stages import Stages
from services.view.viewers import Channel

STALE_S = TOPICS["camera"].stale_s
SILENT_S = 3.0  # a camera that says it is online brings frames within this time
PATIENCE_S = 1.0  # results that stay away longer are not waited for
PLACEHOLDER_S = 2.0  # a standing picture is sent again, so that a viewer knows the line is alive
NO_RESULTS = "no results from detection"


@dataclass(frozen=True, slots=True)
class Condition:
    """How a camera is: a status as on the bus (or `starting`), and why, in words."""

    status: str
    reason: str


class Scene:
    """Hears of one camera and, while somebody looks, makes its pictures."""

    def __init__(self, settings: Settings, name: str, control: CameraControl, channel: Channel, stats: Stats) -> None:
        self._settings, self._name, self._stats = settings, name, stats
        self._reader = RingReader(settings, name)
        self.channel, self.control, self.stages = channel, control, Stages()
        self.state: CameraState | None = None
        self.tracks: TrackFrame | None = None
        self._newest: FrameHandle | None = None
        self._born = time.monotonic()
        self._heard_at = self._framed_at = self._tracked_at = 0.0
        self._pace = Pace(settings.view.fps)
        self._drawn_ns = 0
        self._standing: tuple[str, float] = ("", 0.0)
        self._size = picture.view_size(Geometry(1280, 720, PixelFormat.BGR), settings.view.width)

    @property
    def faces(self) -> int:
        """Boxes that a viewer is shown now."""
        tracks = self.tracks
        return int(tracks.shown.sum()) if tracks is not None and time.monotonic() - self._tracked_at < 2.0 else 0

    @property
    def follows_frames(self) -> bool:
        """True when the next picture comes with a frame, not with its results."""
        return not self.control.privacy and (self._settings.view.picture == "newest" or self._results_are_late())

    def on_frame(self, handle: FrameHandle) -> None:
        """A frame lies in the ring."""
        self._newest, self._framed_at = handle, time.monotonic()
        if self.follows_frames:
            self._pace.arrived(self._framed_at)

    def on_tracks(self, tracks: TrackFrame) -> None:
        """The faces of a frame are known."""
        if not self.follows_frames:
            self._pace.arrived(time.monotonic())
        self.tracks, self._tracked_at = tracks, time.monotonic()
        self.stages.tracked(tracks)

    def on_state(self, state: CameraState) -> None:
        """The camera tells how it is."""
        self.state, self._heard_at = state, time.monotonic()

    def on_control(self, control: CameraControl) -> None:
        """A switch may have been turned; an uncovered picture is not shown any more once privacy is on."""
        if control.privacy and not self.control.privacy:
            self.channel.clear()
            self._drawn_ns = 0
        self.control = control

    def condition(self) -> Condition:
        """How the camera is now."""
        state, now = self.state, time.monotonic()
        if not self.control.enabled:
            return Condition("disabled", "switched off")
        silent_s = now - (self._heard_at or self._born)
        if silent_s > STALE_S:
            return Condition("offline", f"its capture process has been silent for {silent_s:.0f} s")
        if state is None:
            return Condition("starting", "waiting for its capture process")
        if state.status == "online" and now - max(self._framed_at, self._born) > SILENT_S:
            return Condition("online", "no frames arrive")
        return Condition(state.status, state.reason)

    def step(self) -> None:
        """Make the next picture when it is time and somebody looks."""
        if not self.channel.viewers:
            self._rest()
            return
        condition = self.condition()
        if condition.status != "online" or condition.reason == "no frames arrive":
            self._stand(condition.status, condition.reason)
        elif self._pace.is_due(time.monotonic()):
            try:
                self._show()
            except RingError as error:
                self._stand("error", str(error))

    def close(self) -> None:
        """Let go of the ring."""
        self.channel.close()
        self._reader.close()

    def _rest(self) -> None:
        if self._drawn_ns or self._standing[0] or self.channel.latest is not None:
            self.channel.clear()
            self._reader.close()
            self._drawn_ns, self._standing = 0, ("", 0.0)
            self._pace.restart()

    def _show(self) -> None:
        tracks = self.tracks
        if not self.follows_frames:
            if self._results_are_late():
                self._stand("private", "privacy is on, and detection brings no results")
            elif tracks is not None and tracks.frame.captured_ns > self._drawn_ns:
                self._show_known(tracks)
        elif self._newest is not None and self._newest.captured_ns > self._drawn_ns:
            self._show_newest(self._newest)

    def _show_known(self, tracks: TrackFrame) -> None:
        """The very frame that the tracks belong to; when it is gone, the newest one, but never with privacy on."""
        try:
            shown = self._take(tracks.frame)
        except FrameGone:
            self._stats.drop("frame_gone")
            self._drawn_ns = tracks.frame.captured_ns
            if not self.control.privacy and self._newest is not None:
                self._show_newest(self._newest)
            return
        size = (shown.shape[1], shown.shape[0])
        boxes = marks.marks_of(tracks, size)
        if self.control.privacy:
            picture.cover(shown, marks.covered_boxes(tracks, size))
            boxes = [marks.without_landmarks(mark) for mark in boxes]
        draw.draw(shown, boxes)
        self._send(shown, tracks.frame.captured_ns, tracks.tracked_ns)

    def _show_newest(self, handle: FrameHandle) -> None:
        """The newest frame with boxes moved on to its time."""
        begun_ns = time.monotonic_ns()
        try:
            shown = self._take(handle)
        except FrameGone:
            self._stats.drop("frame_gone")
            return
        if self.tracks is not None:
            ahead_s = (handle.captured_ns - self.tracks.frame.captured_ns) / 1e9
            draw.draw(shown, marks.marks_of(self.tracks, (shown.shape[1], shown.shape[0]), ahead_s))
        if self._results_are_late():
            draw.badge(shown, NO_RESULTS)
        self._send(shown, handle.captured_ns, begun_ns)

    def _take(self, handle: FrameHandle) -> Plane:
        """The frame at view size; its slot is held for the scaling only."""
        with self._reader.lease(handle) as lease:
            self._size = picture.view_size(lease.geometry, self._settings.view.width)
            return picture.shrink(lease.planes, lease.geometry, self._size)

    def _send(self, shown: Plane, captured_ns: int, since_ns: int) -> None:
        jpeg = picture.encode(shown, self._settings.view.quality)
        encoded_ns = time.monotonic_ns()
        self._drawn_ns, self._standing = captured_ns, ("", 0.0)
        self._pace.shown(encoded_ns / 1e9)
        self._stats.count("encoded")
        self._stats.latency("draw", encoded_ns - since_ns)
        self.stages.add("draw", encoded_ns - since_ns)
        self.channel.show(jpeg, captured_ns, encoded_ns)

    def _stand(self, status: str, reason: str) -> None:
        """Show why there is no picture; encoded anew only when the words change."""
        words, now = f"{status}: {reason}", time.monotonic()
        latest = self.channel.latest
        if words == self._standing[0] and latest is not None:
            if now - self._standing[1] >= PLACEHOLDER_S:
                self._standing = (words, now)
                self.channel.show(latest.jpeg, 0, time.monotonic_ns())
            return
        self._standing = (words, now)
        shown = draw.placeholder(self._size, self._name, status, reason)
        self._stats.count("encoded")
        self.channel.show(picture.encode(shown, self._settings.view.quality), 0, time.monotonic_ns())

    def _results_are_late(self) -> bool:
        detect_fps = self.control.detect_fps
        patience_s = max(PATIENCE_S, 2.5 / detect_fps if detect_fps > 0 else 0.0)
        return time.monotonic() - max(self._tracked_at, self._born) > patience_s
