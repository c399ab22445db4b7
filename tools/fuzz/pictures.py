"""Pictures and clips from cameras that lie: damaged ones are counted or refused."""

from __future__ import annotations

import io
import os
from pathlib import Path

import av
import numpy as np

from common.errors import DeviceError
from common.settings import CameraSettings
from common.stats import Stats
from services.capture.file import FileSource
from services.capture.jpeg import JpegDecoder
from services.capture.source import EndOfStream, GeometryChanged
from tools.fuzz.targets import Target

MOST_FRAMES = 8


def _clip(codec: str, container: str, frames: int) -> bytes:
    """A short moving ramp of 64x48 pixels."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for k in range(frames):
            ramp = np.add.outer(np.arange(48), np.arange(64)) + 9 * k
            picture = np.repeat(ramp[:, :, None] & 255, 3, axis=2).astype(np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode())
    return out.getvalue()


def jpeg() -> Target:
    """Motion JPEG from a camera."""
    av.logging.set_level(av.logging.PANIC)
    decoder = JpegDecoder()

    def feed(data: bytes) -> None:
        picture = decoder.decode(data)
        assert picture is None or picture.width > 0

    return Target(feed, [_clip("mjpeg", "mjpeg", 1)])


def video() -> Target:
    """A file of any bytes in place of a clip: its pictures come, or one of the errors that capture waits for."""
    av.logging.set_level(av.logging.PANIC)
    fd = os.memfd_create("clip")
    path = Path(f"/proc/self/fd/{fd}")

    def feed(data: bytes) -> None:
        os.ftruncate(fd, 0)
        os.pwrite(fd, data, 0)
        source = FileSource(str(path), CameraSettings(source="file:x", loop=False), Stats(), paced=False)
        try:
            geometry = source.open()
            pixels = np.empty(geometry.frame_bytes, np.uint8)
            for _ in range(MOST_FRAMES):
                if source.wait():
                    source.read(geometry.planes(pixels))
        except (DeviceError, EndOfStream, GeometryChanged):
            pass
        finally:
            source.close()

    seeds = [
        _clip("mpeg4", "mp4", 3),
        _clip("libx264", "h264", 3),
        _clip("mjpeg", "avi", 3),
        _clip("mpeg4", "matroska", 2),
    ]
    return Target(feed, seeds, lambda: os.close(fd))
