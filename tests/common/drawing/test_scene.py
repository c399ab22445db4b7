"""Which frame people see, and how its boxes are marked: a real ring, and results as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from common.drawing import marks
from common.drawing.marks import Kind
from common.drawing.scene import Scene
from common.pixels import Geometry, PixelFormat
from common.ring.writer import RingWriter
from common.settings import Settings
from common.stats import Stats
from common.wire import CONFIRMED, CameraControl, FrameHandle, TrackFrame

FPS = 30
SPEED = 120.0  # pixels a second


class Stage:
    """A camera of which every n-th frame is looked at."""

    def __init__(self, settings: Settings) -> None:
        self.ring = RingWriter(settings, "door", Geometry(320, 240, PixelFormat.BGR))
        self.scene = Scene(settings, "door", CameraControl("door", True, 0.0, False), Stats())
        self.seq, self.handles = 0, list[FrameHandle]()

    def frame(self) -> FrameHandle:
        self.seq += 1
        slot = self.ring.acquire()
        assert slot is not None
        slot.planes[0][:] = 40
        handle = self.ring.publish(slot, seq=self.seq, captured_ns=10**9 + self.seq * 10**9 // FPS, media_ns=0)
        self.scene.on_frame(handle)
        return handle

    def run(self, frames: int, every: int) -> None:
        for _ in range(frames):
            handle = self.frame()
            if self.seq % every == 0:
                self.scene.on_tracks(seen(handle))

    def close(self) -> None:
        self.scene.rest()
        self.ring.close()


def seen(handle: FrameHandle) -> TrackFrame:
    """One face that walks to the right."""
    x = 20 + SPEED * handle.seq / FPS % 200
    box = np.array([[x, 50, x + 40, 100]], np.float32)
    return TrackFrame(
        handle, 320, 240, 1, 2, 3, ids=np.array([7]), boxes=box,
        velocities=np.array([[SPEED, 0, SPEED, 0]], np.float32),
        scores=np.array([0.9], np.float32), states=np.array([CONFIRMED], "u1"), shown=np.array([1], "u1"),
        detection_index=np.array([0], "i4"), hits=np.array([9], "i4"), ages_s=np.array([1], np.float32),
        event_ids=("",), detections=box, landmarks=np.zeros((1, 10), np.float32),
    )  # fmt: skip


@pytest.fixture
def stage(make_settings: Callable[..., Settings]) -> Iterator[Stage]:
    made = Stage(make_settings())
    yield made
    made.close()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[marks.Mark]:
    """What is drawn into the pictures."""
    found: list[marks.Mark] = []
    monkeypatch.setattr("common.drawing.scene.draw.draw", lambda _, boxes: found.extend(boxes))
    return found


def test_with_a_low_detection_rate_every_frame_is_shown_and_its_boxes_are_predicted(stage, drawn):
    stage.run(90, every=15)
    assert stage.scene.follows_frames
    shown = []
    for _ in range(12):
        handle = stage.frame()
        picture = stage.scene.render(320, shown[-1] if shown else 0)
        assert picture is not None
        assert picture.captured_ns == handle.captured_ns
        shown.append(picture.captured_ns)
    assert [mark.kind for mark in drawn] == [Kind.AHEAD] * 12
    steps = np.diff([mark.box[0] for mark in drawn])
    assert steps.sum() == pytest.approx(11 * SPEED / FPS, abs=2)  # the box goes on with the face, frame by frame
    assert (steps >= 3).all()


def test_when_nearly_every_frame_is_looked_at_its_own_faces_are_drawn(stage, drawn):
    stage.run(40, every=2)
    assert not stage.scene.follows_frames
    picture = stage.scene.render(320)
    assert picture is not None
    assert picture.captured_ns == stage.scene.tracks.frame.captured_ns
    assert [mark.kind for mark in drawn] == [Kind.SEEN]


def test_with_privacy_no_frame_is_shown_whose_faces_are_not_known(stage):
    stage.run(90, every=15)
    stage.scene.on_control(CameraControl("door", True, 2.0, True))
    assert not stage.scene.follows_frames


def test_a_restarted_camera_is_judged_anew(stage):
    stage.run(90, every=15)
    stage.ring.close()
    again = Stage.__new__(Stage)
    again.scene, again.seq = stage.scene, 0
    again.ring = stage.ring = RingWriter(stage.scene._settings, "door", Geometry(320, 240, PixelFormat.BGR))
    again.run(1, every=1)
    assert not stage.scene.follows_frames
