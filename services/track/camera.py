"""One camera: its clock, its tracker and its faces; results go in, tracks and events come out."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.eventlog import Event
from common.settings import Settings
from common.wire import DetectionResult, TrackFrame
from services.track.clock import CameraClock, Step
from services.track.events import Face, Faces
from services.track.recognition import Recognition
from services.track.tracks import CONFIRMED, Tracker, Tracks
from services.track.zones import Zones

NO_BOXES, NO_SCORES = np.empty((0, 4)), np.empty(0)


class Camera:
    """Follows the faces of one camera.

    Attributes:
        name: Name of the camera.
        clock: Its time.
        faces: Its faces.
        active: Results may come: it is neither gone nor switched off.
        changed: Something is to be kept since `state()` was called.
    """

    def __init__(self, name: str, settings: Settings, boot_id: str) -> None:
        track = settings.track
        self.name = name
        self.active = True
        self.changed = False
        self.clock = CameraClock(track.max_age, replay=settings.replay)
        zones = Zones(settings.cameras[name], settings.events.zone_point)
        self.faces = Faces(name, zones, settings.events, track.min_hits, boot_id)
        self._settings, self._replay = settings, settings.replay
        self._tracker = make_tracker(settings)
        self._tracks = self._tracker.tracks
        self._recognition = Recognition(track.recall_s, track.likeness, track.min_hits)
        self._size = (1, 1)

    def take(self, result: DetectionResult, now_ns: int) -> list[Event]:
        """Follow the faces to the next frame; returns what is to be told."""
        motion = self._motion(result)
        step = self.clock.advance(result.frame, now_ns)
        self._size = (max(result.width, 1), max(result.height, 1))
        self._tracker.size = self._size
        events: list[Event] = []
        if step.broken:  # who was not seen for so long is gone, even if somebody stands in the same place
            events = self._pass(step)
            step, motion = Step(step.at_ns, 0.0, broken=False), None
        boxes, scores = result.boxes.astype(np.float64), result.scores.astype(np.float64)
        tracks = self._recognise(self._tracker.step(boxes, scores, step.dt, motion), result, step)
        return events + self._observe(tracks, step)

    def tick(self, now_ns: int) -> list[Event]:
        """Let faces end when results have stopped; returns what is to be told. In a replay only its end counts."""
        if not self._replay or not self.active:
            step = self.clock.pass_silence(now_ns, patient=self.active) if len(self._tracks) else None
            if step is not None:
                return self._pass(step)
        if not self.faces.open or (self._replay and self.active):
            return []
        events = self.faces.tick(self.clock.now_ns(now_ns))
        self.changed = self.changed or bool(events)
        return events

    def end(self, now_ns: int) -> list[Event]:
        """Let every face end now; returns what is to be told."""
        self.changed = True
        return self.faces.end(self.clock.now_ns(now_ns))

    def frame(self, result: DetectionResult) -> TrackFrame:
        """Everything that is known of the frame that was taken last."""
        tracks, fps = self._tracks, self.clock.fps
        return TrackFrame(
            result.frame,
            result.width,
            result.height,
            result.claim.claimed_ns,
            result.finished_ns,
            time.monotonic_ns(),
            ids=tracks.ids,
            boxes=tracks.boxes.astype(np.float32),
            velocities=(tracks.velocities * fps).astype(np.float32),
            scores=tracks.scores.astype(np.float32),
            states=tracks.states,
            shown=tracks.shown.astype(np.uint8),
            detection_index=tracks.detection_index,
            hits=tracks.hits,
            ages_s=(tracks.ages_frames / fps).astype(np.float32),
            event_ids=self.faces.event_ids(tracks.ids.tolist()),
            detections=result.boxes,
            landmarks=result.landmarks,
        )

    @property
    def shown(self) -> int:
        """Number of confirmed faces that a viewer is shown."""
        tracks = self._tracks
        return int(np.count_nonzero(tracks.shown & (tracks.states == CONFIRMED)))

    @property
    def ignored(self) -> int:
        """Detections so far that were no usable box."""
        return self._tracker.ignored

    def identity(self) -> frozenset[tuple[int, str]]:
        """What a restart must not lose: confirmed tracks with their events."""
        tracks = self._tracks
        ids = tracks.ids[tracks.states == CONFIRMED].tolist()
        return frozenset(zip(ids, self.faces.event_ids(ids), strict=True))

    def state(self) -> dict[str, Any]:
        """What a restart needs."""
        self.changed = False
        return {"clock": self.clock.state(), "tracker": self._tracker.state(), "size": self._size}

    def restore(self, state: dict[str, Any], now_ns: int) -> None:
        """Go on from `state()`; the faces are restored apart.

        Raises:
            ValueError, KeyError, TypeError, IndexError: It does not fit; nothing of it was taken.
        """
        tracker = make_tracker(self._settings)
        clock = CameraClock(self._settings.track.max_age, replay=self._replay)
        tracker.restore(state["tracker"])
        clock.restore(state["clock"], now_ns)
        width, height = map(int, state["size"])
        self._tracks = tracker.tracks
        self._tracker, self.clock, self._size = tracker, clock, (width, height)

    @property
    def track_ids(self) -> list[int]:
        """Live tracks."""
        ids: list[int] = self._tracks.ids.tolist()
        return ids

    def adopt(self, faces: Iterable[Face]) -> None:
        """Go on with faces from before a restart."""
        self.faces.restore(faces, self.track_ids)
        self.changed = True

    def _motion(self, result: DetectionResult) -> NDArray[np.float64] | None:
        """How the camera moved since the frame that was taken last; None when the worker cannot tell.

        A worker compares with the frame that it saw last itself: with several workers that is often an older one.
        """
        if not result.moved_since or not self.clock.is_last(result.frame.epoch, result.moved_since):
            return None
        motion = result.motion.astype(np.float64).reshape(2, 3)
        return motion if np.isfinite(motion).all() else None

    def _recognise(self, tracks: Tracks, result: DetectionResult, step: Step) -> Tracks:
        """Give new tracks the id that their face had before."""
        former = self._recognition.look(tracks, result.looked, result.vectors, step.at_ns)
        for track_id, known in former.items():
            self._tracker.take_over(track_id, known)
        return self._tracker.tracks if former else tracks

    def _pass(self, step: Step) -> list[Event]:
        return self._observe(self._tracker.step(NO_BOXES, NO_SCORES, step.dt), step)

    def _observe(self, tracks: Tracks, step: Step) -> list[Event]:
        self._tracks, self.changed = tracks, True
        return self.faces.observe(tracks, step.at_ns, self.clock.fps, *self._size)


def make_tracker(settings: Settings) -> Tracker:
    """The tracker of `track.mode`."""
    track, start_score = settings.track, settings.infer.min_score
    if track.mode == "sort":
        from services.track.sort import Sort

        return Sort(track.max_age, track.min_hits, track.iou_threshold)
    from services.track.face import FaceTracker

    low_score = min(track.low_score, start_score)
    return FaceTracker(track.max_age, track.min_hits, track.iou_threshold, start_score=start_score, low_score=low_score)
