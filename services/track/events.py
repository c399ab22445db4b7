"""The life of each face of a camera: when it is told that one appeared, that something changed, and that it left.

A face is told of once: from its `start` to its one `end` it has one id, also when the tracker had to give it a new
number because it was hidden for a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from common.eventlog import Event
from common.settings import EventSettings
from services.track.tracks import CONFIRMED, Tracks
from services.track.ulid import new_ulid
from services.track.zones import Zones

Box = tuple[float, float, float, float]
SECOND_NS = 1_000_000_000
CHANGE_S = 1.0  # changes are told at most so often: a face on the border of a zone must not flood the log
BETTER = 0.05  # rise of the best score that is worth telling
NEAR = 1.0  # how far a face may have moved while it was away, in widths and heights of its box
RESIZED = 3.0  # and how much its area may have changed


@dataclass(slots=True)
class Face:
    """A confirmed face.

    Attributes:
        event_id: Id of its event.
        track_id: Track that it is now; the last one while it is away.
        first_ns: First detection.
        seen_ns: Last detection.
        box: Last seen place, xywh in 0..1 of the frame.
        score: Of the last detection.
        best_score: Of all detections.
        zones: Names of the zones it is in.
        started: Its start was told.
        told_ns: When something was told last.
        told_score: Best score that was told.
        told_zones: Zones that were told.
        away: Its track has ended; it may come back.
    """

    event_id: str
    track_id: int
    first_ns: int
    seen_ns: int
    box: Box
    score: float
    best_score: float
    zones: tuple[str, ...] = ()
    started: bool = False
    told_ns: int = 0
    told_score: float = 0.0
    told_zones: tuple[str, ...] = ()
    away: bool = False


class Faces:
    """All faces of one camera."""

    def __init__(
        self,
        camera: str,
        zones: Zones,
        settings: EventSettings,
        min_hits: int,
        boot_id: str,
        wall_offset_ns: Callable[[], int] = lambda: time.time_ns() - time.monotonic_ns(),
    ) -> None:
        """Begin without a face.

        Args:
            camera: Name of the camera.
            zones: Its zones and masks.
            settings: Which faces are told.
            min_hits: Detections that a face needs, also where the tracker shows it sooner.
            boot_id: Id of the system's boot.
            wall_offset_ns: Gives wall time less monotonic time.
        """
        self._camera, self._zones, self._settings, self._min_hits = camera, zones, settings, min_hits
        self._boot_id, self._wall_offset_ns = boot_id, wall_offset_ns
        self._faces: dict[int, Face] = {}
        self._away: list[Face] = []

    def observe(self, tracks: Tracks, at_ns: int, fps: float, width: int, height: int) -> list[Event]:
        """Take what the tracker has at a frame.

        Args:
            tracks: All its live tracks.
            at_ns: Time of the frame, monotonic.
            fps: Nominal frames a second.
            width: Columns of the frame in pixels.
            height: Rows of the frame in pixels.

        Returns:
            What is to be told, in order.
        """
        ids = tracks.ids.tolist()
        live = set(ids)
        self._part([track_id for track_id in self._faces if track_id not in live])
        seen = [row for row, index in enumerate(tracks.detection_index.tolist()) if index >= 0]
        states, hits = tracks.states.tolist(), tracks.hits.tolist()
        known = [row for row in seen if ids[row] in self._faces]
        fresh = [
            row
            for row in seen
            if ids[row] not in self._faces and states[row] == CONFIRMED and hits[row] >= self._min_hits
        ]
        events: list[Event] = []
        for row in (*known, *fresh):  # who is here first, then who may be back
            events += self._see(tracks, row, at_ns, fps, (width, height))
        return events + self.tick(at_ns)

    def tick(self, at_ns: int) -> list[Event]:
        """End what has been away for too long at this time."""
        limit_ns = self._settings.reattach_s * SECOND_NS
        ended = [face for face in self._away if at_ns - face.seen_ns >= limit_ns]
        if not ended:
            return []
        self._away = [face for face in self._away if at_ns - face.seen_ns < limit_ns]
        return [self._tell("end", face, at_ns) for face in ended]

    def end(self, at_ns: int) -> list[Event]:
        """End every face at this time."""
        ended = self.open
        self._faces, self._away = {}, []
        return [self._tell("end", face, at_ns) for face in ended]

    def event_ids(self, track_ids: Iterable[int]) -> tuple[str, ...]:
        """Id of the event of each track; empty where none has started."""
        faces = (self._faces.get(track_id) for track_id in track_ids)
        return tuple(face.event_id if face is not None and face.started else "" for face in faces)

    @property
    def open(self) -> list[Face]:
        """Faces whose start was told and whose end was not."""
        return [face for face in (*self._faces.values(), *self._away) if face.started]

    def state(self) -> list[dict[str, Any]]:
        """What a restart needs."""
        return [asdict(face) for face in (*self._faces.values(), *self._away)]

    def restore(self, faces: Iterable[Face], track_ids: Iterable[int]) -> None:
        """Go on with faces; those without a live track are away."""
        live = set(track_ids)
        for face in faces:
            if face.track_id in live and face.track_id not in self._faces and not face.away:
                self._faces[face.track_id] = face
            elif face.started:
                face.away = True
                self._away.append(face)

    def tell_again(self, event_ids: Container[str]) -> list[Event]:
        """The start of open faces once more, for a log that has missed it."""
        return [self._tell("start", face, face.told_ns) for face in self.open if face.event_id in event_ids]

    def _part(self, track_ids: Iterable[int]) -> None:
        """Tracks have ended; what was not told yet is forgotten."""
        for track_id in track_ids:
            face = self._faces.pop(track_id)
            if face.started:
                face.away = True
                self._away.append(face)

    def _see(self, tracks: Tracks, row: int, at_ns: int, fps: float, size: tuple[int, int]) -> list[Event]:
        track_id, score = int(tracks.ids[row]), float(tracks.scores[row])
        box = _relative(tracks.boxes[row].tolist(), *size)
        face = self._faces.get(track_id)
        if face is None:
            first_ns = at_ns - int(float(tracks.ages_frames[row]) / fps * SECOND_NS)
            face = self._back(track_id, box, first_ns, at_ns) or self._new(first_ns, at_ns, box, score)
            face.track_id, face.away = track_id, False
            self._faces[track_id] = face
        face.seen_ns, face.box, face.score = at_ns, box, score
        face.best_score = max(face.best_score, score)
        face.zones = self._zones.at(box)
        if not face.started:
            return [self._tell("start", face, at_ns)] if self._may_start(face) else []
        return [self._tell("update", face, at_ns)] if self._is_news(face) else []

    def _new(self, first_ns: int, at_ns: int, box: Box, score: float) -> Face:
        return Face(new_ulid(at_ns + self._wall_offset_ns()), 0, first_ns, at_ns, box, score, score)

    def _back(self, track_id: int, box: Box, first_ns: int, at_ns: int) -> Face | None:
        """The face that had this track, or vanished near this place before the new track began."""
        limit_ns = self._settings.reattach_s * SECOND_NS
        unseen = [face for face in self._faces.values() if face.started and face.seen_ns < at_ns]
        missing = [
            face for face in (*self._away, *unseen) if face.seen_ns < first_ns and at_ns - face.seen_ns < limit_ns
        ]
        same = [(0.0, face) for face in missing if face.track_id == track_id]  # known again by its looks
        near = same or [(distance, face) for face in missing if (distance := _distance(face.box, box)) is not None]
        if not near:
            return None
        face = min(near, key=lambda pair: pair[0])[1]
        if face.away:
            self._away.remove(face)
        else:
            del self._faces[face.track_id]
        return face

    def _may_start(self, face: Face) -> bool:
        wanted = self._settings
        return (
            face.seen_ns - face.first_ns >= wanted.min_duration_s * SECOND_NS
            and face.best_score >= wanted.min_score
            and face.box[3] >= wanted.min_size
            and not self._zones.masked(face.box)
        )

    def _is_news(self, face: Face) -> bool:
        since_s = (face.seen_ns - face.told_ns) / SECOND_NS
        changed = face.zones != face.told_zones or face.best_score >= face.told_score + BETTER
        return since_s >= self._settings.update_s or (changed and since_s >= min(CHANGE_S, self._settings.update_s))

    def _tell(self, kind: Any, face: Face, at_ns: int) -> Event:
        face.started, face.told_ns = True, at_ns
        face.told_score, face.told_zones = face.best_score, face.zones
        return Event(
            rowid=0,
            id=face.event_id,
            seq=0,
            type=kind,
            camera=self._camera,
            track_id=face.track_id,
            time_ns=at_ns + self._wall_offset_ns(),
            mono_ns=at_ns,
            boot_id=self._boot_id,
            box=face.box,
            score=face.score,
            best_score=face.best_score,
            duration_s=(face.seen_ns - face.first_ns) / SECOND_NS,
            zones=face.zones,
        )


def _relative(xyxy: list[float], width: int, height: int) -> Box:
    """Box in pixels as xywh in 0..1, cut at the edges of the frame."""
    x1, x2 = (min(max(value / width, 0.0), 1.0) for value in (xyxy[0], xyxy[2]))
    y1, y2 = (min(max(value / height, 0.0), 1.0) for value in (xyxy[1], xyxy[3]))
    return x1, y1, x2 - x1, y2 - y1


def _distance(before: Box, after: Box) -> float | None:
    """How far a face has moved, squared, in sizes of its box; None when that is too far, or it changed too much."""
    w, h = max(before[2], after[2]), max(before[3], after[3])
    areas = sorted((before[2] * before[3], after[2] * after[3]))
    if areas[0] <= 0 or areas[1] > RESIZED * areas[0]:
        return None
    x = (before[0] + before[2] / 2 - after[0] - after[2] / 2) / w
    y = (before[1] + before[3] / 2 - after[1] - after[3] / 2) / h
    return x * x + y * y if max(abs(x), abs(y)) <= NEAR else None
