"""Messages from the bus, and the header of a ring."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

import numpy as np

from common import config, wire
from common.errors import FrameGone, RingError, WireError
from common.pixels import Geometry, PixelFormat
from common.ring.layout import HEADER, LAYOUT, LINE_BYTES, LINES_START, MAGIC
from common.ring.reader import RingReader
from common.shm import SHM, segment_name
from tools.fuzz.targets import Target

EPOCH = 7
MOST_BYTES = 1 << 22
HANDLE = wire.FrameHandle("door", EPOCH, 1, 2, 3, 4, 5, 6)
BOXES, MARKS = np.array([[1, 2, 30, 40]], np.float32), np.zeros((1, 10), np.float32)
ONE = np.ones(1, np.float32)
EXAMPLES: dict[str, Any] = {
    "FrameHandle": HANDLE,
    "CameraState": wire.CameraState("door", "online", "", 640, 360, 30.0, 30.0, 9, 10),
    "DetectionResult": wire.DetectionResult(HANDLE, wire.Claim(1, 2, 0, -1, 0, 9), 640, 360, 11, BOXES, ONE, MARKS),
    "TrackFrame": wire.TrackFrame(
        HANDLE, 640, 360, 1, 2, 3, ids=np.array([7]), boxes=BOXES, velocities=BOXES, scores=ONE,
        states=np.array([1], np.uint8), shown=np.array([1], np.uint8), detection_index=np.array([0], np.int32),
        hits=np.array([3], np.int32), ages_s=ONE, event_ids=("01J0000000000000000000TEST",), detections=BOXES,
        landmarks=MARKS,
    ),
    "EventNotice": wire.EventNotice(5, 6),
    "ControlState": wire.ControlState((wire.CameraControl("door"),), 1),
    "Command": wire.Command("door", "privacy", "ON"),
}  # fmt: skip


def message(name: str) -> Target:
    """One class of message: it unpacks or raises WireError, and what was unpacked packs and unpacks again."""
    example = EXAMPLES[name]

    def feed(data: bytes) -> None:
        try:
            got = type(example).unpack(data)
        except WireError:
            return
        type(example).unpack(got.pack())

    return Target(feed, [example.pack()])


def ring_header() -> Target:
    """A file in place of a ring: it is attached only when everything that it tells lies inside of it."""
    geometry = Geometry(32, 16, PixelFormat.NV12)
    slots, start, stride = 3, 4096, 4096
    head = HEADER.pack(
        MAGIC, LAYOUT, start, EPOCH, geometry.width, geometry.height, geometry.pixel_format, slots, stride,
        geometry.frame_bytes,
    )  # fmt: skip
    folder = tempfile.mkdtemp(prefix="vedette-fuzz-")
    settings = config.check({"cameras": {"door": {"source": "pattern:64x64@5"}}, "runtime_dir": folder})
    path = SHM / segment_name(settings.runtime_dir, "door", f"{EPOCH:016x}")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def feed(data: bytes) -> None:
        size = start + slots * stride
        if data[:1] == b"\xff":  # another size
            size, data = int.from_bytes(data[1:4], "little") % MOST_BYTES, data[4:]
        elif data[:1] != MAGIC[:1]:  # let the numbers behind the magic be reached
            data = head[:24] + data
        os.ftruncate(fd, 0)
        os.ftruncate(fd, size)
        os.pwrite(fd, data[:size], 0)
        for slot in (-1, 0, slots - 1, slots, 255):
            reader = RingReader(settings, "door")
            try:
                with reader.lease(wire.FrameHandle("door", EPOCH, slot, 0, 1, 1, 1, 1)) as lease:
                    for plane in lease.planes:
                        plane.max()  # the last byte can be read
            except (RingError, FrameGone):
                pass
            finally:
                reader.close()

    def close() -> None:
        os.close(fd)
        path.unlink(missing_ok=True)
        shutil.rmtree(folder)

    whole = head.ljust(LINES_START, b"\0") + bytes(slots * LINE_BYTES)
    return Target(feed, [whole, head[24:], b"\xff\x00\x20\x00" + whole], close)
