"""The best view of a face, from real frames in a real ring."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from common.pixels import Geometry, PixelFormat
from common.ring.writer import RingWriter

TOPIC = "vedette/hall/door/snapshot"


def scene(sharp: bool) -> NDArray[np.uint8]:
    """A frame of 640x480 with a texture where the test's faces are."""
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    noise[..., 2] = 255 - noise[..., 2] // 8  # reddish, so that a swap of colours shows
    noise[..., 0] //= 8
    return noise if sharp else cv2.GaussianBlur(noise, (31, 31), 0)


@pytest.fixture
def camera(broker, make_node, listen) -> Iterator[Callable[..., Any]]:
    """Builds a node with a ring: `camera(PixelFormat.BGR)` gives node, listener and a function that shows a face."""
    writers: list[RingWriter] = []

    def build(pixel_format: PixelFormat = PixelFormat.BGR, **tree: Any) -> Any:
        node = make_node(broker.port, **tree)
        writer = RingWriter.create(node.settings, "door", Geometry(640, 480, pixel_format))
        writers.append(writer)

        def show(event: str, *, sharp: bool = True, faces: int = 1) -> None:
            slot = writer.acquire()
            assert slot is not None
            fill(slot.planes, scene(sharp), pixel_format)
            node.see("door", faces, writer.publish(slot, 1, time.monotonic_ns(), 0), event)

        node.online()
        return node, listen(broker.port), show

    yield build
    for writer in writers:
        writer.close()


def fill(planes: list[NDArray[np.uint8]], picture: NDArray[np.uint8], pixel_format: PixelFormat) -> None:
    i420 = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
    y, u, v = i420[:480], i420[480:600].reshape(240, 320), i420[600:].reshape(240, 320)
    match pixel_format:
        case PixelFormat.BGR:
            planes[0][:] = picture
        case PixelFormat.GRAY:
            planes[0][:] = y
        case PixelFormat.I420:
            planes[0][:], planes[1][:], planes[2][:] = y, u, v
        case PixelFormat.NV12:
            planes[0][:], planes[1][:] = y, np.dstack((u, v))
        case PixelFormat.YUYV:
            planes[0][..., 0] = y
            planes[0][:, 0::2, 1] = np.repeat(u, 2, axis=0)
            planes[0][:, 1::2, 1] = np.repeat(v, 2, axis=0)


def decode(data: Any) -> NDArray[np.uint8]:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("pixel_format", list(PixelFormat))
def test_a_face_is_cut_out_of_every_pixel_format(camera, until, pixel_format) -> None:
    node, listener, show = camera(pixel_format)
    until(lambda: (show("01A"), isinstance(listener.last(TOPIC), bytes))[1], "picture")
    picture = decode(listener.last(TOPIC))
    assert picture.shape == (296, 206, 3)  # a face of 128x192 at (64, 48), with 30 % on the sides that have room
    blue, _, red = picture.reshape(-1, 3).mean(axis=0)
    assert pixel_format == PixelFormat.GRAY or red > blue + 100
    message = next(message for message in listener.messages if message.topic == TOPIC and message.payload)
    assert message.qos == 1
    until(lambda: list((node.dir / "snapshots/door").glob("01A.jpg")), "file")


def test_a_sharper_view_replaces_a_blurred_one_and_not_the_other_way(camera, until) -> None:
    node, _, show = camera()
    file = node.dir / "snapshots/door/01A.jpg"
    until(lambda: (show("01A", sharp=False), file.exists())[1], "first view")
    blurred = file.read_bytes()
    until(lambda: (show("01A"), file.read_bytes() != blurred)[1], "better view")
    sharp = file.read_bytes()
    show("01A", sharp=False)
    until(lambda: (show("01B"), (node.dir / "snapshots/door/01B.jpg").exists())[1], "next face")
    assert file.read_bytes() == sharp


def test_a_face_that_is_only_predicted_gets_no_picture(camera, until) -> None:
    node, _, show = camera()
    show("")
    until(lambda: (show("01A"), (node.dir / "snapshots/door/01A.jpg").exists())[1], "one with an event")
    assert [path.name for path in (node.dir / "snapshots/door").glob("*.jpg")] == ["01A.jpg"]


def test_privacy_removes_stored_and_retained_pictures_and_covers_the_next(camera, until) -> None:
    node, listener, show = camera()
    until(lambda: (show("01A"), isinstance(listener.last(TOPIC), bytes))[1], "picture")
    clear = decode(listener.last(TOPIC))

    def is_covered(path: Path) -> bool:
        return edges(decode(path.read_bytes())) < edges(clear) / 20

    listener.tell("vedette/hall/door/privacy/set", "ON")
    until(lambda: listener.last(TOPIC) == "", "retained picture removed")
    until(lambda: all(is_covered(path) for path in (node.dir / "snapshots").glob("*/01A.jpg")), "removed, or covered")
    until(lambda: (show("01B"), isinstance(listener.last(TOPIC), bytes))[1], "covered picture")
    assert edges(decode(listener.last(TOPIC))) < edges(clear) / 20
    until(lambda: is_covered(node.dir / "snapshots/door/01B.jpg"), "file")


def edges(picture: NDArray[np.uint8]) -> float:
    """Number of different pixels side by side, which a mosaic has few of."""
    return float(np.mean(np.abs(np.diff(picture.astype(int), axis=1)) > 16))


def test_pictures_of_before_are_removed_when_privacy_was_configured_meanwhile(camera, make_node, broker, until) -> None:
    node, listener, show = camera()
    until(lambda: (show("01A"), isinstance(listener.last(TOPIC), bytes))[1], "picture")
    node.stop()
    node.close()
    make_node(broker.port, cameras={"door": {"source": "pattern:64x48@30", "privacy": True}})
    until(lambda: listener.last(TOPIC) == "", "retained picture removed")
    until(lambda: not list((node.dir / "snapshots").glob("*/*.jpg")), "file removed")
    assert listener.last(TOPIC) == ""


def test_the_picture_is_back_after_a_restart_of_node_and_broker(camera, broker, listen, until) -> None:
    node, listener, show = camera()
    until(lambda: (show("01A"), isinstance(listener.last(TOPIC), bytes))[1], "picture")
    node.kill()
    broker.kill()
    broker.start()
    node.start()
    node.online()
    late = listen(broker.port)
    until(lambda: isinstance(late.last(TOPIC), bytes), "picture")
    assert late.last(TOPIC) == listener.last(TOPIC)


def test_stored_pictures_are_bounded(camera, until) -> None:
    node, _, show = camera(events={"keep_snapshots": 3})
    folder = node.dir / "snapshots/door"
    for index in range(6):
        event = f"01A{index}"
        until(lambda event=event: (show(event), (folder / f"{event}.jpg").exists())[1], event)
    kept = until(lambda: len(kept := sorted(folder.glob("*.jpg"))) == 3 and kept, "bounded")
    assert [path.name for path in kept] == ["01A3.jpg", "01A4.jpg", "01A5.jpg"]


def test_a_frame_that_is_gone_is_counted(camera, until) -> None:
    node, _, _ = camera()
    gone = until(lambda: (node.see("door", event="01A"), node.report["drops"].get("snapshot_frame_gone"))[1], "counted")
    assert gone >= 1
    assert not list((node.dir / "snapshots").glob("*/*.jpg"))


STILL = "vedette/hall/door/still"


@pytest.mark.parametrize("pixel_format", [PixelFormat.BGR, PixelFormat.NV12])
def test_a_still_shows_the_frame_with_its_boxes(camera, until, pixel_format) -> None:
    _, listener, show = camera(pixel_format, publish={"stills_s": 1, "stills_width": 320})
    until(lambda: (show("01A"), isinstance(listener.last(STILL), bytes))[1], "still")
    picture = decode(listener.last(STILL))
    assert picture.shape == (240, 320, 3)
    plain = cv2.resize(scene(True), (320, 240), interpolation=cv2.INTER_AREA).astype(int)
    edge = np.abs(picture[24:120, 31:34].astype(int) - plain[24:120, 31:34]).mean()
    elsewhere = np.abs(picture[150:230, 150:300].astype(int) - plain[150:230, 150:300]).mean()
    assert edge > 2 * elsewhere, "a box is drawn around the face at (32, 24)"
    first = len(listener.on(STILL))
    until(lambda: (show("01A", faces=2), len(listener.on(STILL)) > first)[1], "another one when somebody comes")


def test_privacy_takes_the_still_back_and_covers_the_next(camera, until) -> None:
    _, listener, show = camera(publish={"stills_s": 0.5, "stills_width": 640})
    until(lambda: (show("01A"), isinstance(listener.last(STILL), bytes))[1], "still")
    open_picture = decode(listener.last(STILL))
    before = len(listener.on(STILL))
    listener.tell("vedette/hall/door/privacy/set", "ON")
    until(lambda: "" in listener.on(STILL)[before:], "taken back")
    at = before + listener.on(STILL)[before:].index("")
    until(lambda: (show("01A"), len(listener.on(STILL)) > at + 1)[1], "covered still")
    covered = decode(listener.on(STILL)[at + 1])
    face = slice(80, 210), slice(90, 170)
    assert open_picture[face].std(axis=(0, 1)).max() > 3 * covered[face].std(axis=(0, 1)).max(), "the face is a mosaic"


def test_stills_can_be_switched_off(camera, until) -> None:
    _, listener, show = camera(publish={"stills_s": 0})
    until(lambda: (show("01A"), isinstance(listener.last(TOPIC), bytes))[1], "snapshot")
    assert not listener.on(STILL)
    config = listener.last("homeassistant/device/vedette_hall_door/config")
    assert "still" not in config["components"]
