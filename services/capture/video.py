"""Decoded pictures of PyAV: their geometry and their way into the ring. With `file` and `stream` the users of PyAV."""

from __future__ import annotations

from typing import cast

import av
import numpy as np
from numpy.typing import NDArray

from common.errors import DeviceError
from common.pixels import Geometry, PixelFormat, Plane
from services.capture.source import copy_planes

NATIVE = {"yuv420p": PixelFormat.I420, "yuvj420p": PixelFormat.I420, "nv12": PixelFormat.NV12}


def picture_geometry(width: int, height: int, format_name: str) -> Geometry:
    """Geometry in the ring of a decoded picture; odd sizes lose their last row or column."""
    return Geometry(width & ~1, height & ~1, NATIVE.get(format_name, PixelFormat.I420))


def copy_picture(picture: av.VideoFrame, geometry: Geometry, into: list[Plane]) -> None:
    """Copy a picture's planes once, straight into the slot; formats that the ring has not are converted first."""
    if NATIVE.get(picture.format.name) != geometry.pixel_format:
        picture = picture.reformat(format="yuv420p")
    copy_planes(into, [_plane(picture, index, target) for index, target in enumerate(into)])


def _plane(picture: av.VideoFrame, index: int, target: Plane) -> NDArray[np.uint8]:
    plane = picture.planes[index]
    rows: NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    if target.ndim == 2:
        return rows
    channels: int = target.shape[2]
    pixels: NDArray[np.uint8] = rows[:, : plane.line_size // channels * channels].reshape(len(rows), -1, channels)
    return pixels


def decoder(stream: av.VideoStream) -> None:
    """Slice threads: they add no delay; the automatic choice adds two packets.

    Raises:
        DeviceError: Nothing here decodes this stream.
    """
    codec = cast("av.VideoCodecContext | None", stream.codec_context)  # PyAV's types do not tell that it may be None
    if codec is None:
        raise DeviceError("its video is of a kind that cannot be decoded here")
    codec.thread_type = "SLICE"
    codec.thread_count = 2
