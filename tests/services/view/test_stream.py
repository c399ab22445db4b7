"""Pictures over HTTP, from a real ring, through the real process."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from common.wire import LOST, CameraControl, FrameHandle, TrackFrame

# The synthetic face has the track id 7, whose colour is blue.
FACE = (200, 100, 300, 220)


def blueness(picture: NDArray[np.uint8]) -> NDArray[np.int32]:
    """How blue, and neither grey nor green, each pixel is."""
    wide = picture.astype(np.int32)
    return wide[:, :, 0] - np.maximum(wide[:, :, 1], wide[:, :, 2])


def contrast(picture: NDArray[np.uint8], box: tuple[int, int, int, int]) -> float:
    x1, y1, x2, y2 = box
    part = picture[y1:y2, x1:x2].astype(np.float32)
    return float(np.abs(np.diff(part, axis=1)).mean())


def covered(picture: NDArray[np.uint8], box: tuple[int, int, int, int] = FACE) -> bool:
    """True when the fine pattern inside a box is gone; open, it differs by more than 40 from column to column."""
    x1, y1, x2, y2 = box
    return contrast(picture, (x1 + 6, y1 + 6, x2 - 6, y2 - 6)) < 12


def test_stream_gives_changing_pictures_with_boxes_where_the_faces_are(page, producer) -> None:
    pictures = list(itertools.islice(page.stream(), 6))
    assert all(picture.shape == (360, 640, 3) for picture in pictures)
    assert any(np.abs(pictures[0].astype(int) - picture).max() > 60 for picture in pictures[1:])
    blue = blueness(pictures[-1])
    x1, y1, x2, y2 = FACE
    sides = [
        blue[y1 + 30 : y2 - 30, x1 - 2 : x1 + 4].max(axis=1),
        blue[y1 + 30 : y2 - 30, x2 - 4 : x2 + 2].max(axis=1),
        blue[y1 - 2 : y1 + 4, x1 + 30 : x2 - 30].max(axis=0),
        blue[y2 - 4 : y2 + 2, x1 + 30 : x2 - 30].max(axis=0),
    ]
    assert min(np.median(side) for side in sides) > 25
    assert blue[250:290].max() < 20  # nothing is drawn elsewhere


def test_streams_share_one_encoded_picture(page, producer) -> None:
    streams = [page.stream() for _ in range(5)]
    seen = [[next(stream) for _ in range(8)] for stream in streams]
    assert len(seen) == 5
    totals = page.stats().get("totals", {})
    before, at = totals.get("encoded", 0), page.state()
    assert at["cameras"][0]["viewers"] == 5
    for stream in streams:
        stream.close()
    assert before <= 60  # five viewers of eight pictures each, at 15 a second, would be more when encoded for each


def test_nothing_is_encoded_while_nobody_looks(page, producer, until) -> None:
    next(page.stream())
    until(lambda: page.state()["cameras"][0]["viewers"] == 0)
    until(lambda: page.stats()["totals"].get("encoded") and page.stats()["gauges"]["viewers"] == 0)
    reached = producer.seq
    before = page.stats()["totals"]["encoded"]
    until(lambda: producer.seq > reached + 60)
    assert page.stats()["totals"]["encoded"] == before
    assert producer.leased == 0


def test_snapshot_is_a_jpeg_of_the_camera(page, producer) -> None:
    status, headers, data = page.ask("/snapshot/door.jpg")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert data[:2] == b"\xff\xd8"
    assert not covered(page.snapshot())


def test_privacy_covers_every_detection_and_lost_box_shown_or_not(page, producer, until) -> None:
    low, lost = (20, 20, 80, 90), (400, 150, 470, 240)

    def tracks(handle: FrameHandle) -> TrackFrame:
        return _tracks(handle, low, lost)

    plain = producer.paint

    def paint(seq: int) -> NDArray[np.uint8]:
        picture = plain(seq)
        for x1, y1, x2, y2 in (low, lost):
            picture[y1:y2, x1:x2] = picture[100 : 100 + y2 - y1, 200 : 200 + x2 - x1]
        return picture

    producer.paint, producer.tracks = paint, tracks
    until(lambda: not covered(page.snapshot(), low))
    producer.control = CameraControl("door", privacy=True)
    until(lambda: page.state()["cameras"][0]["controls"]["privacy"])
    for picture in itertools.islice(page.stream(), 5):
        assert covered(picture, FACE)
        assert covered(picture, low)
        assert covered(picture, lost)


def test_privacy_shows_no_frame_without_its_detections(page, producer, until) -> None:
    producer.control = CameraControl("door", privacy=True)
    until(lambda: page.state()["cameras"][0]["controls"]["privacy"])
    producer.tracks = None
    stream = page.stream()
    for _ in range(40):
        picture = next(stream)
        assert covered(picture)
        if picture.shape[0] == 360 and blueness(picture).max() < 40:
            break  # the standing picture that says why
    status, _, _ = page.ask("/snapshot/door.jpg")
    assert status == 503
    stream.close()


def test_without_detection_the_newest_frame_is_shown(page, producer, until) -> None:
    until(lambda: not covered(page.snapshot()))
    producer.tracks = None
    until(lambda: blueness(page.snapshot())[110:210, 195:206].max() < 60)
    pictures = list(itertools.islice(page.stream(), 4))
    assert any(np.abs(pictures[0].astype(int) - picture).max() > 60 for picture in pictures[1:])


def test_newest_mode_moves_boxes_on_by_their_speed(start_view: Callable, produce: Callable, until) -> None:
    page = start_view(picture="newest")
    producer = produce(page)
    first: list[FrameHandle] = []

    def once(handle: FrameHandle) -> TrackFrame | None:
        if first and handle.captured_ns - first[-1].captured_ns < 900e6:
            return None
        first.append(handle)
        return _moving(handle)

    producer.tracks = once
    until(lambda: page.state()["cameras"][0]["status"] == "online")
    places = set()
    for picture in itertools.islice(page.stream(), 25):
        blue = np.flatnonzero(blueness(picture)[250:280].max(axis=0) > 20)
        if len(blue):
            places.add(int(blue[0]) // 10)
    assert len(places) >= 4  # the box moves between two results


def test_stream_says_why_there_is_no_picture_and_comes_back(page, producer, until) -> None:
    stream = page.stream()
    assert not covered(next(stream))
    producer.status, producer.reason, producer.frames = "offline", "no such device", False
    until(lambda: covered(next(stream)))
    until(lambda: page.state()["cameras"][0]["reason"] == "no such device")
    status, _, data = page.ask("/snapshot/door.jpg")
    assert (status, data[:2]) == (503, b"\xff\xd8")
    producer.status, producer.reason, producer.frames = "online", "", True
    until(lambda: not covered(next(stream)))
    stream.close()


def test_paused_camera_shows_that_it_is_switched_off(page, producer, until) -> None:
    producer.control = CameraControl("door", enabled=False)
    until(lambda: page.state()["cameras"][0]["status"] == "disabled")
    assert covered(page.snapshot())


def test_restarted_capture_is_picked_up(page, producer, produce: Callable, until) -> None:
    stream = page.stream()
    next(stream)
    producer.close()
    produce(page)
    for _ in range(20):
        picture = next(stream)
    assert not covered(picture)
    stream.close()


def test_slow_viewer_neither_holds_a_slot_nor_another_viewer(page, producer, until) -> None:
    slow = page.connect()
    slow.request("GET", "/stream/door.mjpg")
    slow.getresponse()  # and reads nothing more
    pictures = list(itertools.islice(page.stream(), 45))
    assert len(pictures) == 45
    until(lambda: producer.leased == 0)
    slow.close()
    until(lambda: page.state()["cameras"][0]["viewers"] == 0)


def test_stages_and_statistics_tell_where_the_time_goes(page, producer, until) -> None:
    stream = page.stream()
    for _ in range(25):
        next(stream)
    latency = page.state()["cameras"][0]["latency_ms"]
    stream.close()
    assert set(latency) == {"capture", "wait", "infer", "track", "draw", "send", "total"}
    parts = sum(latency[name]["p50"] for name in latency if name != "total")
    assert parts < 4 * latency["total"]["p50"] + 5
    until(lambda: {"draw", "send"} <= set(page.stats()["latency_ms"]))


def _tracks(handle: FrameHandle, low: tuple[int, ...], lost: tuple[int, ...]) -> TrackFrame:
    boxes = np.array([FACE, lost], np.float32)
    now = handle.published_ns
    return TrackFrame(
        handle, 640, 360, now, now, now,
        ids=np.array([7, 8], np.int64), boxes=boxes, velocities=np.zeros((2, 4), np.float32),
        scores=np.array([0.9, 0.2], np.float32), states=np.array([1, LOST], np.uint8),
        shown=np.array([1, 0], np.uint8), detection_index=np.array([0, -1], np.int32),
        hits=np.array([9, 9], np.int32), ages_s=np.array([1, 1], np.float32), event_ids=("", ""),
        detections=np.array([FACE, low], np.float32), landmarks=np.zeros((0, 10), np.float32),
    )  # fmt: skip


def _moving(handle: FrameHandle) -> TrackFrame:
    now = handle.published_ns
    one = np.ones(1, np.int32)
    return TrackFrame(
        handle, 640, 360, now, now, now,
        ids=np.array([7], np.int64), boxes=np.array([[50, 240, 110, 290]], np.float32),
        velocities=np.array([[300, 0, 300, 0]], np.float32), scores=np.array([0.9], np.float32),
        states=np.array([1], np.uint8), shown=np.array([1], np.uint8), detection_index=0 * one, hits=one,
        ages_s=np.array([1], np.float32), event_ids=("",), detections=np.array([[50, 240, 110, 290]], np.float32),
        landmarks=np.zeros((0, 10), np.float32),
    )  # fmt: skip
