"""One camera as people see it: what is heard of it, and its finished pictures, or why there are none.

Every picture that a person sees comes out of `Scene.render`: covered when privacy is on, at any size, for any output.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from common.drawing import draw, marks, picture
from common.drawing.stages import Stages
from common.errors import FrameGone, RingError
from common.pixels import Geometry, PixelFormat, Plane
from common.ring.reader import RingReader
from common.settings import Settings
from common.stats import Stats
from common.wire import TOPICS, CameraControl, CameraState, FrameHandle, TrackFrame

STALE_S = TOPICS["camera"].stale_s
SILENT_S = 3.0  # a camera that says it is online brings frames within this time
PATIENCE_S = 1.0  # results that stay away longer are not waited for
TROUBLE_S = 2.0  # a ring that cannot be read is told for so long
SPARSE = 2.0  # results that come less often than pictures by this factor are not waited for: the picture would stutter
STEPS = 5  # results whose usual distance is taken
NO_RESULTS = "no results from detection"


@dataclass(frozen=True, slots=True)
class Condition:
    """How a camera is: a status as on the bus (or `starting`), and why, in words."""

    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A finished picture, fit to be seen by people; nobody else writes to it.

    Attributes:
        pixels: Shape (height, width, 3), BGR.
        captured_ns: When its frame was captured (monotonic); 0 for a standing picture.
        since_ns: When it could be made: its tracks, or the look at a newest frame (monotonic).
    """

    pixels: Plane
    captured_ns: int
    since_ns: int


class Scene:
    """Hears of one camera, and makes its pictures when asked."""

    def __init__(self, settings: Settings, name: str, control: CameraControl, stats: Stats) -> None:
        self.name, self.control, self.stages = name, control, Stages()
        self._settings, self._stats = settings, stats
        self._reader = RingReader(settings, name)
        self.state: CameraState | None = None
        self.tracks: TrackFrame | None = None
        self._newest: FrameHandle | None = None
        self._geometry = Geometry(1280, 720, PixelFormat.BGR)
        self._born = time.monotonic()
        self._heard_at = self._framed_at = self._tracked_at = 0.0
        self._trouble: tuple[float, str] = (0.0, "")
        self._gone_ns = 0
        self._steps: deque[tuple[float, int]] = deque(maxlen=STEPS)
        self.on_arrival: list[Callable[[float], None]] = []  # told when something new could be shown
        self.on_privacy: list[Callable[[], None]] = []  # told when what was shown must not be seen any more

    @property
    def faces(self) -> int:
        """Boxes that a viewer is shown now."""
        tracks = self.tracks
        return int(tracks.shown.sum()) if tracks is not None and time.monotonic() - self._tracked_at < 2.0 else 0

    @property
    def follows_frames(self) -> bool:
        """True when the next picture comes with a frame, not with its results."""
        newest = self._settings.view.picture == "newest"
        return not self.control.privacy and (newest or self._results_are_sparse() or self._results_are_late())

    def on_frame(self, handle: FrameHandle) -> None:
        """A frame lies in the ring."""
        self._newest, self._framed_at = handle, time.monotonic()
        if self.follows_frames:
            self._arrived(self._framed_at)

    def on_tracks(self, tracks: TrackFrame) -> None:
        """The faces of a frame are known."""
        now = time.monotonic()
        if not self.follows_frames:
            self._arrived(now)
        before, self.tracks, self._tracked_at = self.tracks, tracks, now
        self._note_step(before, tracks)
        self.stages.tracked(tracks)

    def on_state(self, state: CameraState) -> None:
        """The camera tells how it is."""
        now = time.monotonic()
        if self.state is None or state.seq != self.state.seq:
            self._framed_at = now  # the frames themselves are not listened to while nobody looks
        self.state, self._heard_at = state, now

    def on_control(self, control: CameraControl) -> None:
        """A switch may have been turned; an uncovered picture is not shown any more once privacy is on."""
        turned_on = control.privacy and not self.control.privacy
        self.control = control
        if turned_on:
            for withdraw in self.on_privacy:
                withdraw()

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

    def standing(self) -> Condition | None:
        """Why there is no picture now; None when there should be one."""
        condition, now = self.condition(), time.monotonic()
        if condition.status != "online" or condition.reason == "no frames arrive":
            return condition
        if self.control.privacy and self._results_are_late():
            return Condition("private", "privacy is on, and detection brings no results")
        if now - self._trouble[0] < TROUBLE_S and self._trouble[1]:
            return Condition("error", self._trouble[1])
        return None

    def size(self, width: int) -> tuple[int, int]:
        """Width and height of a picture of at most so many columns."""
        return picture.view_size(self._geometry, width)

    def render(self, width: int | tuple[int, int], after_ns: int = 0) -> Shown | None:
        """The picture to show now.

        Args:
            width: Columns at most; such a picture is never larger than its frame. Or width and height of the room that
                it shall fill, larger than its frame if need be.
            after_ns: Capture time of the picture that was shown last; there is no older one after it.

        Returns:
            None when there is nothing newer.
        """
        try:
            if not self.follows_frames:
                return self._known(width, after_ns)
            return self._ahead(width, after_ns)
        except RingError as error:
            self._trouble = (time.monotonic(), str(error))
            return None

    def rest(self) -> None:
        """Let go of the ring while nobody looks."""
        self._reader.close()

    def _arrived(self, now: float) -> None:
        for tell in self.on_arrival:
            tell(now)

    def _known(self, width: int | tuple[int, int], after_ns: int) -> Shown | None:
        """The very frame that the tracks belong to; when it is gone, the newest one, but never with privacy on."""
        tracks = self.tracks
        if tracks is None or tracks.frame.captured_ns <= after_ns or tracks.frame.captured_ns == self._gone_ns:
            return None
        try:
            pixels = self._take(tracks.frame, width)
        except FrameGone:
            self._stats.drop("frame_gone")
            self._gone_ns = tracks.frame.captured_ns
            return None if self.control.privacy else self._ahead(width, after_ns)
        size = (pixels.shape[1], pixels.shape[0])
        boxes = marks.marks_of(tracks, size)
        if self.control.privacy:
            picture.cover(pixels, marks.covered_boxes(tracks, size))
            boxes = [marks.without_landmarks(mark) for mark in boxes]
        draw.draw(pixels, boxes)
        return Shown(pixels, tracks.frame.captured_ns, tracks.tracked_ns)

    def _ahead(self, width: int | tuple[int, int], after_ns: int) -> Shown | None:
        """The newest frame with boxes moved on to its time."""
        begun_ns, handle = time.monotonic_ns(), self._newest
        if handle is None or handle.captured_ns <= after_ns:
            return None
        try:
            pixels = self._take(handle, width)
        except FrameGone:
            self._stats.drop("frame_gone")
            return None
        if self.tracks is not None:
            ahead_s = (handle.captured_ns - self.tracks.frame.captured_ns) / 1e9
            draw.draw(pixels, marks.marks_of(self.tracks, (pixels.shape[1], pixels.shape[0]), ahead_s))
        if self._results_are_late():
            draw.badge(pixels, NO_RESULTS)
        return Shown(pixels, handle.captured_ns, begun_ns)

    def _take(self, handle: FrameHandle, width: int | tuple[int, int]) -> Plane:
        """The frame at the wished size; its slot is held for the scaling only."""
        begun_ns = time.monotonic_ns()
        with self._reader.lease(handle) as lease:
            self._geometry = lease.geometry
            geometry = lease.geometry
            if isinstance(width, int):
                size = picture.view_size(geometry, width)
            else:
                size = picture.fitted_size(geometry, width)
            pixels = picture.shrink(lease.planes, geometry, size)
        self._stats.latency("lease", time.monotonic_ns() - begun_ns)
        return pixels

    def _note_step(self, before: TrackFrame | None, tracks: TrackFrame) -> None:
        """Remember how far a result is from the one before: in seconds, and in frames of the camera."""
        if before is None or before.frame.epoch != tracks.frame.epoch:
            self._steps.clear()
            return
        frames = tracks.frame.seq - before.frame.seq
        if frames > 0:
            self._steps.append(((tracks.frame.captured_ns - before.frame.captured_ns) / 1e9, frames))

    def _results_are_sparse(self) -> bool:
        """Whether only few frames are looked at (a low `detect_fps`, a slow model): boxes are then moved on between."""
        if len(self._steps) < STEPS:
            return False
        step_s = median(seconds for seconds, _ in self._steps)
        frame_s = median(seconds / frames for seconds, frames in self._steps)
        return step_s > SPARSE * max(frame_s, 1.0 / self._settings.view.fps)

    def _results_are_late(self) -> bool:
        detect_fps = self.control.detect_fps
        patience_s = max(PATIENCE_S, 2.5 / detect_fps if detect_fps > 0 else 0.0)
        return time.monotonic() - max(self._tracked_at, self._born) > patience_s
