"""The best picture of each face: taken from the ring while its frame is there, judged and kept by a thread of its own.

The loop only copies the pixels of promising views. Whatever was copied before privacy was switched on is thrown away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from common.errors import FrameGone, RingError
from common.ring.reader import RingReader
from common.settings import Settings
from common.stats import Stats
from common.wire import TrackFrame
from services.publish.bestview import Crop, cut, promise, region
from services.publish.state import Retained
from services.publish.store import SnapshotStore
from services.publish.topics import Topics

BETTER = 1.1  # a new best view must be so much better
LOOK_S = 0.2  # between two looks at one face
MOST_WAITING = 8  # crops that wait for the thread
FORGET_S = 60.0  # an event that was not seen for so long has ended
RETRY_S = 1.0  # after a picture could not be removed
TELL_S = 0.5  # between two retained pictures of one camera

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Face:
    quality: float = 0.0
    look_at: float = 0.0
    seen_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _View:
    camera: str
    event_id: str
    period: int  # raised whenever privacy is switched
    covered: bool
    promise: float
    crop: Crop


@dataclass(frozen=True, slots=True)
class _Picture:
    view: _View
    quality: float
    data: bytes


@dataclass(frozen=True, slots=True)
class _Privacy:
    camera: str
    covered: bool


@dataclass(frozen=True, slots=True)
class _Forget:
    event_ids: tuple[str, ...]


class Snapshots:
    """Hears the tracks, gives the retained picture of each camera."""

    def __init__(self, settings: Settings, retained: Retained, topics: Topics, stats: Stats) -> None:
        self._settings, self._retained, self._topics, self._stats = settings, retained, topics, stats
        self._store = SnapshotStore(Path(settings.state_dir), settings.events)
        self._readers = {name: RingReader(settings, name) for name in settings.cameras}
        self._faces: dict[str, _Face] = {}
        self._covered: dict[str, bool] = {}
        self._period = dict.fromkeys(settings.cameras, 0)
        self._newest = dict.fromkeys(settings.cameras, "")
        self._fresh: dict[str, bytes] = {}
        self._tell_at = dict.fromkeys(settings.cameras, 0.0)
        self._told = dict.fromkeys(settings.cameras, "")  # whose picture is retained
        self._unwanted: set[str] = set()
        self._asked_to_forget = self._forgot = 0  # jobs; each number belongs to one thread
        self._jobs: SimpleQueue[_View | _Privacy | _Forget | None] = SimpleQueue()
        self._done: deque[_Picture] = deque()
        self._thread = threading.Thread(target=self._work, name="snapshots", daemon=True)
        self._thread.start()
        self._forget_at = 0.0

    def begin(self, camera: str, *, privacy: bool) -> None:
        """Take over what earlier runs left; call it once a camera before anything else."""
        self._covered[camera] = privacy
        if privacy and not self._store.covered(camera):
            self.set_privacy(camera, True)
            return
        if not privacy:
            self._jobs.put(_Privacy(camera, False))
        event_id, picture = self._store.latest(camera) if self._settings.publish.snapshots else ("", b"")
        if picture:
            self._told[camera] = event_id
            self._retained.put(self._topics.camera(camera, "snapshot"), picture)

    def set_privacy(self, camera: str, covered: bool) -> None:
        """Privacy was switched: pictures of before are removed when it is on now."""
        self._covered[camera] = covered
        self._period[camera] += 1
        self._faces.clear()
        self._fresh.pop(camera, None)
        self._jobs.put(_Privacy(camera, covered))
        if covered:
            self._retained.put(self._topics.camera(camera, "snapshot"), b"")

    def forget(self, event_ids: Iterable[str]) -> None:
        """Remove the pictures of these events, kept and retained, and take none of them any more."""
        ids = tuple(event_ids)
        self._unwanted.update(ids)
        self._asked_to_forget += 1
        self._jobs.put(_Forget(ids))
        for camera, told in self._told.items():
            if self._newest[camera] in self._unwanted:
                self._fresh.pop(camera, None)
            if told in self._unwanted:
                self._retained.put(self._topics.camera(camera, "snapshot"), b"")

    @property
    def forgotten(self) -> bool:
        """No picture waits to be removed."""
        return self._forgot == self._asked_to_forget

    def look(self, frame: TrackFrame) -> None:
        """Copy the views of this frame that promise to be better than what there is."""
        camera = frame.frame.camera
        if not self._settings.publish.snapshots or camera not in self._readers:
            return
        now = time.monotonic()
        for row, event_id in enumerate(frame.event_ids):
            if event_id and frame.shown[row] and event_id not in self._unwanted:
                self._newest[camera] = max(self._newest[camera], event_id)  # ulids sort by time
                face = self._faces.setdefault(event_id, _Face())
                face.seen_at = now
                if now >= face.look_at:
                    self._consider(frame, row, face, now)

    def step(self) -> None:
        """Tell the pictures that are ready."""
        now = time.monotonic()
        while self._done:
            picture = self._done.popleft()
            view = picture.view
            if (
                view.period == self._period[view.camera]
                and view.event_id == self._newest[view.camera]
                and view.event_id not in self._unwanted
            ):
                self._fresh[view.camera] = picture.data
        for camera in [name for name in self._fresh if now >= self._tell_at[name]]:
            self._tell_at[camera], self._told[camera] = now + TELL_S, self._newest[camera]
            self._retained.put(self._topics.camera(camera, "snapshot"), self._fresh.pop(camera))
        if now >= self._forget_at:
            self._forget_at = now + FORGET_S
            self._faces = {key: face for key, face in self._faces.items() if now - face.seen_at < FORGET_S}

    def close(self) -> None:
        """Let the thread finish what it has."""
        self._jobs.put(None)
        self._thread.join(1.0)

    def _consider(self, frame: TrackFrame, row: int, face: _Face, now: float) -> None:
        hope = promise(frame, row)
        if hope <= face.quality * BETTER:
            return
        part = region(frame.boxes[row], frame.width, frame.height, self._settings.publish.snapshot_margin)
        if part is None or self._jobs.qsize() >= MOST_WAITING:
            self._stats.drop("snapshot_busy", 0 if part is None else 1)
            return
        camera = frame.frame.camera
        try:
            with self._readers[camera].lease(frame.frame) as lease:
                crop = cut(lease, part, frame.boxes[row])
        except FrameGone:
            self._stats.drop("snapshot_frame_gone")
            return
        except RingError:
            self._stats.drop("snapshot_ring")
            return
        face.look_at = now + LOOK_S
        view = _View(camera, frame.event_ids[row], self._period[camera], self._covered[camera], hope, crop)
        self._jobs.put(view)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._do(job)
            except OSError as error:
                self._stats.drop("snapshot_not_kept")
                log.debug("picture not kept error=%s", error)
                if isinstance(job, _Forget):
                    log.warning("pictures are not removed, tried again error=%s", error)
                    time.sleep(RETRY_S)
                    self._jobs.put(job)

    def _do(self, job: _View | _Privacy | _Forget) -> None:
        match job:
            case _Privacy():
                self._privacy(job)
            case _Forget():
                self._store.forget(job.event_ids)
                self._forgot += 1
            case _View():
                self._judge(job)

    def _privacy(self, job: _Privacy) -> None:
        if job.covered:
            self._store.cover(job.camera)
        else:
            self._store.uncover(job.camera)

    def _judge(self, view: _View) -> None:
        from services.publish.pictures import jpeg, sharpness

        face = self._faces.get(view.event_id)
        quality = view.promise * sharpness(view.crop)
        if (
            view.event_id in self._unwanted
            or face is None
            or view.period != self._period[view.camera]
            or quality <= face.quality * BETTER
        ):
            return
        publish = self._settings.publish
        data = jpeg(view.crop, publish.snapshot_height, publish.snapshot_quality, covered=view.covered)
        face.quality = quality
        self._stats.count("snapshots")
        try:
            self._store.write(view.camera, view.event_id, data)
        finally:  # kept before it is told: what somebody has seen is there after a restart
            self._done.append(_Picture(view, quality, data))
