"""What is told of each camera: its status, how many faces it sees, and whether somebody is there."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from common.settings import Settings
from common.stats import Stats
from common.wire import TOPICS, CameraControl, CameraState, TrackFrame
from services.publish.events import rfc3339
from services.publish.link import Link
from services.publish.payloads import CameraStats, TrackRow, TracksPayload
from services.publish.state import Retained
from services.publish.topics import OFF, ON, Topics

STALE_S = TOPICS["camera"].stale_s
STALE_PERIODS = 3  # results that a camera detected at a low rate may miss
ENCODE = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode  # `dumps` makes an encoder each time
STATES: tuple[Literal["tentative", "confirmed", "lost"], ...] = ("tentative", "confirmed", "lost")  # by wire number


@dataclass(slots=True)
class _Camera:
    status: Literal["online", "offline", "disabled"] = "offline"
    fps: float = 0.0
    heard_at: float = 0.0
    tracked_at: float = 0.0
    faces: int = 0
    seen_at: float = float("-inf")
    sent_ns: int = 0


class Cameras:
    """The retained state of every camera, and the stream of its tracks."""

    def __init__(self, settings: Settings, link: Link, retained: Retained, topics: Topics, stats: Stats) -> None:
        self._link, self._retained, self._topics, self._stats = link, retained, topics, stats
        self._off_delay_s = settings.events.off_delay_s
        self._tracks = settings.publish.tracks
        hz = settings.publish.tracks_hz
        self._interval_ns = int(1e9 / hz) if hz else 0
        now = time.monotonic()
        self._cameras = {name: _Camera(heard_at=now) for name in settings.cameras}
        for name in self._cameras:
            self._tell(name)

    def on_tracks(self, frame: TrackFrame) -> None:
        """Tell the tracks of a frame at once, and the number of faces when it changed."""
        camera = self._cameras.get(frame.frame.camera)
        if camera is None:
            return
        if self._tracks:
            self._tell_tracks(camera, frame)
        camera.tracked_at = time.monotonic()
        faces = int(np.count_nonzero(frame.shown))
        if faces:
            camera.seen_at = camera.tracked_at
        if faces != camera.faces:
            camera.faces = faces
            self._tell(frame.frame.camera)

    def on_state(self, state: CameraState) -> None:
        """A capture process says how its camera is."""
        camera = self._cameras.get(state.camera)
        if camera is None:
            return
        camera.heard_at, camera.fps = time.monotonic(), state.fps
        camera.status = "offline" if state.status == "ended" else state.status
        if camera.status != "online":
            camera.faces = 0
        self._tell(state.camera)

    def look(self, controls: dict[str, CameraControl]) -> None:
        """Notice silence, and the end of the off delay; call it a few times a second."""
        now = time.monotonic()
        for name, camera in self._cameras.items():
            if now - camera.heard_at > STALE_S:
                camera.status, camera.fps, camera.faces = "offline", 0.0, 0
            detect_fps = controls[name].detect_fps
            if now - camera.tracked_at > max(STALE_S, STALE_PERIODS / detect_fps if detect_fps else 0):
                camera.faces = 0
            self._tell(name)

    def end(self) -> None:
        """The node ends: every camera is away and nobody is seen."""
        for name, camera in self._cameras.items():
            camera.status, camera.fps, camera.faces, camera.seen_at = "offline", 0.0, 0, float("-inf")
            self._tell(name)

    def summary(self) -> dict[str, CameraStats]:
        """Status, frame rate and faces by camera."""
        return {
            name: {"status": camera.status, "fps": round(camera.fps, 1), "faces": camera.faces}
            for name, camera in self._cameras.items()
        }

    def _tell(self, name: str) -> None:
        camera = self._cameras[name]
        there = camera.faces > 0 or time.monotonic() - camera.seen_at < self._off_delay_s
        self._retained.put(self._topics.camera(name, "status"), camera.status)
        self._retained.put(self._topics.camera(name, "faces"), str(camera.faces))
        self._retained.put(self._topics.camera(name, "occupancy"), ON if there else OFF)

    def _tell_tracks(self, camera: _Camera, frame: TrackFrame) -> None:
        captured_ns = frame.frame.captured_ns
        if captured_ns - camera.sent_ns < self._interval_ns * 0.9:  # frames jitter around the wished rate
            return
        topic = self._topics.camera(frame.frame.camera, "tracks")
        if self._link.send(topic, ENCODE(tracks_payload(frame)), qos=0, json=True):
            camera.sent_ns = captured_ns
            self._stats.latency("publish", time.monotonic_ns() - captured_ns)
            self._stats.count("tracks")


def tracks_payload(frame: TrackFrame) -> TracksPayload:
    """The shown tracks of a frame, boxes as x, y, width, height in 0..1."""
    captured_ns = frame.frame.captured_ns
    wall_ns = time.time_ns() - (time.monotonic_ns() - captured_ns)
    columns = (frame.shown, frame.ids, frame.boxes, frame.scores, frame.states)
    tracks: list[TrackRow] = [
        {
            "id": track_id,
            "box": _fractions(box, frame.width, frame.height),
            "score": round(score, 3),
            "state": STATES[state],
        }
        for shown, track_id, box, score, state in zip(*(column.tolist() for column in columns), strict=True)
        if shown
    ]
    return {
        "v": 1,
        "camera": frame.frame.camera,
        "seq": frame.frame.seq,
        "captured_ns": captured_ns,
        "time": rfc3339(wall_ns),
        "tracks": tracks,
    }


def _fractions(xyxy: list[float], width: int, height: int) -> list[float]:
    """Box in pixels as x, y, width, height in 0..1. Plain numbers: for the few faces of a frame numpy is dearer."""
    x1, x2 = (min(max(value / width, 0.0), 1.0) for value in (xyxy[0], xyxy[2]))
    y1, y2 = (min(max(value / height, 0.0), 1.0) for value in (xyxy[1], xyxy[3]))
    return [round(value, 4) for value in (x1, y1, x2 - x1, y2 - y1)]
