"""With privacy on, no pixel of a face leaves the process: hostile frames, every output, compared pixel by pixel.

Each face is a fine pattern of black and white that stands nowhere else: where it can be made out, a face is seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from common.wire import CONFIRMED, LOST, TENTATIVE, CameraControl, FrameHandle, TrackFrame
from tools.bench.private import free_port

# Where faces stand in a frame, by what the node knows of them.
SEEN = (200, 100, 300, 220)
LOW = (20, 20, 80, 90)  # a detection that no track took
TENTATIVE_ONLY = (330, 30, 380, 90)
HELD = (400, 150, 470, 240)  # lost: a predicted box without a detection
HIDDEN = (520, 220, 580, 300)  # a confirmed track that is not shown
EDGE = (600, 0, 640, 50)  # cut by the border
FACES = (SEEN, LOW, TENTATIVE_ONLY, HELD, HIDDEN, EDGE)
CELL = 4


def checkered(_seq: int) -> NDArray[np.uint8]:
    """A grey picture whose faces are a fine pattern of black and white."""
    picture = np.full((360, 640, 3), 110, np.uint8)
    for x1, y1, x2, y2 in FACES:
        cells = (np.indices((y2 - y1, x2 - x1)) // CELL).sum(axis=0) % 2 * 255
        picture[y1:y2, x1:x2] = cells[:, :, None]
    return picture


def known(handle: FrameHandle) -> TrackFrame:
    """Every kind of knowledge at once."""
    now = handle.published_ns
    boxes = np.array([SEEN, TENTATIVE_ONLY, HELD, HIDDEN], np.float32)
    return TrackFrame(
        handle, 640, 360, now, now, time.monotonic_ns(),
        ids=np.array([7, 8, 9, 10], np.int64), boxes=boxes, velocities=np.full((4, 4), 50, np.float32),
        scores=np.array([0.9, 0.6, 0.3, 0.9], np.float32),
        states=np.array([CONFIRMED, TENTATIVE, LOST, CONFIRMED], np.uint8), shown=np.array([1, 0, 0, 0], np.uint8),
        detection_index=np.array([0, 1, -1, -1], np.int32), hits=np.ones(4, np.int32),
        ages_s=np.ones(4, np.float32), event_ids=("",) * 4,
        detections=np.array([SEEN, TENTATIVE_ONLY, LOW, EDGE], np.float32), landmarks=np.zeros((0, 10), np.float32),
    )  # fmt: skip


def open_faces(picture: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
    """Faces of whose pattern at least a fiftieth can be seen; neither a mosaic nor a letter looks like it."""
    scale = picture.shape[1] / 640
    found = []
    for box in FACES:
        x1, y1, x2, y2 = (round(value * scale) for value in box)
        grey = picture[y1:y2, x1:x2].astype(np.float32).mean(axis=2)
        step = max(1, round(CELL * scale))
        here, right, below = (
            grey[: -2 * step, : -2 * step],
            grey[: -2 * step, step:-step],
            grey[step:-step, : -2 * step],
        )
        next_right, next_below = grey[: -2 * step, 2 * step :], grey[2 * step :, : -2 * step]
        flips = (np.abs(here - right) > 100) & (np.abs(here - below) > 100)  # both neighbours have the other colour
        flips &= (np.abs(here - next_right) < 60) & (np.abs(here - next_below) < 60)  # and the next ones have it again
        if flips.mean() > 0.02:
            found.append(box)
    return found


@pytest.fixture
def hostile(start_view: Callable, produce: Callable, until: Callable) -> Any:
    """A page with every output, and a camera full of faces."""
    page = start_view(rtsp={"enabled": True, "port": free_port()}, fps=30)
    page.producer = produce(page, paint=checkered, tracks=known)
    until(lambda: page.state()["cameras"][0]["status"] == "online")
    return page


def switch(page: Any, until: Callable, *, on: bool) -> None:
    page.producer.control = CameraControl("door", privacy=on)
    until(lambda: page.state()["cameras"][0]["controls"]["privacy"] is on)


def h264(page: Any) -> Iterator[NDArray[np.uint8]]:
    url = f"rtsp://127.0.0.1:{page.settings.rtsp.port}/door"
    with av.open(url, options={"rtsp_transport": "tcp"}, timeout=20) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="bgr24")


def test_without_privacy_every_face_is_open(hostile: Any, until: Callable) -> None:
    """The measure sees what it is to see, in both codecs."""
    until(lambda: open_faces(hostile.snapshot()) == list(FACES))
    pictures = h264(hostile)
    assert open_faces(next(pictures)) == list(FACES)
    pictures.close()


def test_every_output_covers_every_box_from_the_switch_on(hostile: Any, until: Callable) -> None:
    stream, video = hostile.stream(), h264(hostile)
    assert open_faces(next(stream)) == open_faces(next(video)) == list(FACES)
    switch(hostile, until, on=True)
    # what had left before the switch comes first; from the first covered picture on nothing is open any more
    for pictures in (stream, video):
        until(lambda pictures=pictures: open_faces(next(pictures)) == [])
        for _ in range(25):
            assert open_faces(next(pictures)) == []
    for _ in range(10):
        assert open_faces(hostile.snapshot()) == []
    stream.close()
    video.close()
    late = h264(hostile)  # who joins now gets a key picture
    assert open_faces(next(late)) == []
    late.close()


@pytest.mark.parametrize("picture", ["matched", "newest"])
def test_frames_without_results_are_never_shown(
    start_view: Callable, produce: Callable, until: Callable, picture: str
) -> None:
    page = start_view(picture=picture, rtsp={"enabled": True, "port": free_port()})
    page.producer = produce(page, paint=checkered, control=CameraControl("door", privacy=True))
    every = 0

    def some(handle: FrameHandle) -> TrackFrame | None:
        nonlocal every
        every += 1
        return known(handle) if every % 7 == 0 else None  # six of seven frames have no results, or get them never

    page.producer.tracks = some
    until(lambda: page.state()["cameras"][0]["controls"]["privacy"])
    stream = page.stream()
    for _ in range(12):
        assert open_faces(next(stream)) == []
    page.producer.tracks = None
    video = h264(page)
    for _ in range(8):
        assert open_faces(next(stream)) == []
        assert open_faces(next(video)) == []
    stream.close()
    video.close()


@pytest.mark.parametrize("wild", [np.nan, np.inf, -np.inf, 1e30])
def test_box_that_is_no_box_covers_the_whole_picture(hostile: Any, until: Callable, wild: float) -> None:
    def broken(handle: FrameHandle) -> TrackFrame:
        good = known(handle)
        detections = good.detections.copy()
        detections[:] = wild
        boxes = np.full_like(good.boxes, wild)
        return TrackFrame(
            handle, 640, 360, good.claimed_ns, good.finished_ns, good.tracked_ns, good.ids, boxes, good.velocities,
            good.scores, good.states, good.shown, good.detection_index, good.hits, good.ages_s, good.event_ids,
            detections, good.landmarks,
        )  # fmt: skip

    switch(hostile, until, on=True)
    hostile.producer.tracks = broken
    for _ in range(6):
        assert open_faces(hostile.snapshot()) == []


def test_restart_with_privacy_shows_nothing_in_between(hostile: Any, start_view: Callable, until: Callable) -> None:
    from common.controls import save_controls

    switch(hostile, until, on=True)
    save_controls(hostile.settings, {"door": CameraControl("door", privacy=True)})
    hostile.producer.controls = False  # publish is away: nobody tells the switch again
    hostile.process.kill()
    hostile.process.wait(10)
    again = start_view(port=hostile.port, rtsp={"enabled": True, "port": hostile.settings.rtsp.port})
    until(lambda: again.stats().get("pid") == again.process.pid and again.stats()["state"] == "running")
    stream = again.stream()
    for _ in range(15):
        assert open_faces(next(stream)) == []
    stream.close()
