"""An annotated still of each camera now and then: the picture that a viewer of the page would see, for dashboards.

A thread of its own takes the frame, draws and encodes, so that no track waits for a picture. What was begun before
privacy was switched on is thrown away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

from common.pulse import Pulse
from common.settings import Settings
from common.stats import Stats
from common.wire import CameraControl, TrackFrame
from services.publish.state import Retained
from services.publish.topics import Topics

if TYPE_CHECKING:
    from common.drawing.scene import Scene

CHANGE_S = 1.0  # another number of faces is worth a still, but not more often

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Job:
    tracks: TrackFrame
    period: int  # raised whenever privacy is switched
    covered: bool


class Stills:
    """Hears the tracks, gives the retained still of each camera."""

    def __init__(self, settings: Settings, retained: Retained, topics: Topics, stats: Stats, pulse: Pulse) -> None:
        self._settings, self._retained, self._topics, self._stats, self._pulse = (
            settings,
            retained,
            topics,
            stats,
            pulse,
        )
        self._on = settings.publish.stills_s > 0
        self._covered = dict.fromkeys(settings.cameras, False)
        self._period = dict.fromkeys(settings.cameras, 0)
        self._asked_at = dict.fromkeys(settings.cameras, float("-inf"))
        self._faces = dict.fromkeys(settings.cameras, 0)
        self._seen: dict[str, frozenset[str]] = {}  # events whose faces the retained still of a camera may show
        self._busy: set[str] = set()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: deque[tuple[_Job, bytes]] = deque()
        self._thread = threading.Thread(target=self._work, name="stills", daemon=True)
        if self._on:
            self._thread.start()

    def set_privacy(self, camera: str, covered: bool) -> None:
        """Privacy was switched, or this is how it stands at the start."""
        self._covered[camera] = covered
        self._period[camera] += 1
        self._asked_at[camera] = float("-inf")
        if covered and self._on:
            self._take_back(camera)

    def forget(self, event_ids: Iterable[str]) -> None:
        """Take back the stills that may show these faces."""
        wanted = set(event_ids)
        for camera, seen in list(self._seen.items()):
            if seen & wanted:
                self._period[camera] += 1
                self._take_back(camera)

    def look(self, frame: TrackFrame) -> None:
        """Ask for a still of this frame when it is time."""
        camera = frame.frame.camera
        if not self._on or camera not in self._period or camera in self._busy:
            return
        now, faces = time.monotonic(), int(frame.shown.sum())
        wait_s = self._settings.publish.stills_s
        if faces != self._faces[camera]:
            wait_s = min(wait_s, CHANGE_S)
        if now - self._asked_at[camera] < wait_s:
            return
        self._asked_at[camera], self._faces[camera] = now, faces
        self._busy.add(camera)
        self._jobs.put(_Job(frame, self._period[camera], self._covered[camera]))

    def step(self) -> None:
        """Tell the stills that are ready."""
        while self._done:
            job, data = self._done.popleft()
            camera = job.tracks.frame.camera
            self._busy.discard(camera)
            if data and job.period == self._period[camera]:
                self._seen[camera] = frozenset(job.tracks.event_ids)
                self._retained.put(self._topics.camera(camera, "still"), data)

    def close(self) -> None:
        """End the thread."""
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _take_back(self, camera: str) -> None:
        self._seen.pop(camera, None)
        self._retained.put(self._topics.camera(camera, "still"), b"")

    def _work(self) -> None:
        scenes: dict[str, Scene] = {}
        while (job := self._jobs.get()) is not None:
            with self._pulse.work():
                self._done.append((job, self._draw(job, scenes)))

    def _draw(self, job: _Job, scenes: dict[str, Scene]) -> bytes:
        from common.drawing.picture import encode
        from common.drawing.scene import Scene

        camera, publish = job.tracks.frame.camera, self._settings.publish
        if camera not in scenes:
            scenes[camera] = Scene(self._settings, camera, CameraControl(camera), self._stats)
        scene = scenes[camera]
        scene.on_control(replace(scene.control, privacy=job.covered))
        scene.on_frame(job.tracks.frame)
        scene.on_tracks(job.tracks)
        shown = scene.render(publish.stills_width)
        scene.rest()
        if shown is None:
            self._stats.drop("still_frame_gone")
            return b""
        self._stats.count("stills")
        return encode(shown.pixels, publish.snapshot_quality)
