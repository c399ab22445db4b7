"""What track needs to go on after it was killed: the trackers in a small file, set right by the event log at start.

The file lies in the runtime directory and may be some tenths of a second old; the log is the truth about which events
have started and ended. A face that the log has and the file has not is taken for one that is away for a moment.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack

from common.errors import DeviceError
from common.eventlog import Event
from services.track.camera import Camera
from services.track.events import Face
from services.track.journal import Journal

VERSION = 1
EVERY_NS = 300_000_000  # unless a track was confirmed or an event began or ended
MISFIT = (ValueError, TypeError, KeyError, IndexError, AttributeError)

log = logging.getLogger(__name__)


class Checkpoint:
    """The file, and when it is written."""

    def __init__(self, runtime_dir: Path, boot_id: str, mode: str) -> None:
        self._path = runtime_dir / "track.checkpoint"
        self._head = {"version": VERSION, "boot_id": boot_id, "mode": mode}
        self._identity: object = None
        self._written_ns = 0
        self._failed = False

    def load(self) -> dict[str, Any]:
        """State of each camera as it was kept last; empty when there is none that fits."""
        try:
            tree = msgpack.unpackb(self._path.read_bytes())
            if {key: tree.get(key) for key in self._head} == self._head:
                return dict(tree["cameras"])
        except FileNotFoundError:
            return {}
        except (OSError, msgpack.UnpackException, *MISFIT) as error:
            log.warning("checkpoint not readable, faces begin anew error=%r", error)
            return {}
        log.info("checkpoint is of another boot, mode or version, faces begin anew")
        return {}

    def save(self, cameras: Mapping[str, Camera], now_ns: int, *, at_once: bool = False) -> None:
        """Keep the state when it has changed and it is time."""
        if not any(camera.changed for camera in cameras.values()):
            return
        identity = [camera.identity() for camera in cameras.values()]
        if not at_once and identity == self._identity and now_ns - self._written_ns < EVERY_NS:
            return
        self._identity, self._written_ns = identity, now_ns
        states = {name: {**camera.state(), "faces": camera.faces.state()} for name, camera in cameras.items()}
        self._write(msgpack.packb({**self._head, "cameras": states}))

    def _write(self, data: bytes) -> None:
        temporary = self._path.with_suffix(".new")
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            temporary.replace(self._path)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("checkpoint not written error=%s", error.strerror)
            self._failed = True


def recover(cameras: Mapping[str, Camera], stored: Mapping[str, Any], journal: Journal, boot: str, now_ns: int) -> None:
    """Bring cameras back to where they were, make the log agree, and let the journal begin."""
    missed: dict[str, list[Event]] = {}
    for name, camera in cameras.items():
        faces = _stored_faces(camera, stored.get(name), now_ns)
        _agree(faces, name, journal, boot)
        camera.adopt(faces.values())
        unknown = {face.event_id for face in camera.faces.open if not _knows(journal, face.event_id)}
        missed[name] = camera.faces.tell_again(unknown)
    kept = [face.event_id for camera in cameras.values() for face in camera.faces.open]
    if kept or stored:
        tracks = sum(len(camera.track_ids) for camera in cameras.values())
        log.info("going on from before the restart tracks=%d events=%d", tracks, len(kept))
    journal.start(kept)
    for events in missed.values():
        journal.put(events)


def _stored_faces(camera: Camera, state: Any, now_ns: int) -> dict[str, Face]:
    """Restore a camera's tracker; gives its faces by event id."""
    if state is None:
        return {}
    try:
        faces = [
            Face(
                **{
                    **row,
                    "box": tuple(row["box"]),
                    "zones": tuple(row["zones"]),
                    "told_zones": tuple(row["told_zones"]),
                }
            )
            for row in state["faces"]
        ]
        camera.restore(state, now_ns)
    except MISFIT as error:
        log.warning("checkpoint does not fit, faces begin anew camera=%s error=%r", camera.name, error)
        return {}
    return {face.event_id: face for face in faces}


def _agree(faces: dict[str, Face], camera: str, journal: Journal, boot: str) -> None:
    """Correct the faces by what the log knows of them."""
    for event_id in list(faces):
        if event_id not in journal.open and _knows(journal, event_id):
            del faces[event_id]  # its end was written after the checkpoint; who is still there begins a new event
    for event in journal.open.values():
        if event.camera != camera or event.boot_id != boot:
            continue
        face = faces.setdefault(event.id, _face(event))
        if not face.started:  # its start was written after the checkpoint
            face.started, face.told_ns = True, event.mono_ns
            face.told_score, face.told_zones = event.best_score, event.zones


def _face(event: Event) -> Face:
    first_ns = event.mono_ns - int(event.duration_s * 1e9)
    return Face(
        event.id, event.track_id, first_ns, event.mono_ns, event.box, event.score, event.best_score, event.zones
    )


def _knows(journal: Journal, event_id: str) -> bool:
    try:
        return journal.knows(event_id)
    except DeviceError:
        return False
