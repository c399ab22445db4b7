"""The part of the Video4Linux2 interface that capture needs: structures and request numbers of <linux/videodev2.h>.

Source:
    The kernel's documentation, userspace-api/media/v4l.
"""

from __future__ import annotations

import ctypes
import fcntl
from ctypes import c_int32, c_long, c_uint8, c_uint32, c_ulong

CAPTURE = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
MMAP, USERPTR = 1, 2  # V4L2_MEMORY_MMAP, V4L2_MEMORY_USERPTR
FIELD_NONE = 1
CAP_VIDEO_CAPTURE, CAP_STREAMING, CAP_DEVICE_CAPS = 0x1, 0x04000000, 0x80000000
FLAG_ERROR = 0x40
FLAG_TIMESTAMP_MASK, FLAG_TIMESTAMP_MONOTONIC = 0xE000, 0x2000


class Capability(ctypes.Structure):
    """struct v4l2_capability."""

    _fields_ = (
        ("driver", c_uint8 * 16), ("card", c_uint8 * 32), ("bus_info", c_uint8 * 32), ("version", c_uint32),
        ("capabilities", c_uint32), ("device_caps", c_uint32), ("reserved", c_uint32 * 3),
    )  # fmt: skip


class FormatDescription(ctypes.Structure):
    """struct v4l2_fmtdesc."""

    _fields_ = (
        ("index", c_uint32), ("type", c_uint32), ("flags", c_uint32), ("description", c_uint8 * 32),
        ("pixelformat", c_uint32), ("mbus_code", c_uint32), ("reserved", c_uint32 * 3),
    )  # fmt: skip


class PixFormat(ctypes.Structure):
    """struct v4l2_pix_format."""

    _fields_ = tuple(
        (name, c_uint32)
        for name in (
            "width", "height", "pixelformat", "field", "bytesperline", "sizeimage", "colorspace", "priv", "flags",
            "ycbcr_enc", "quantization", "xfer_func",
        )
    )  # fmt: skip


class _FormatUnion(ctypes.Union):
    _fields_ = (("pix", PixFormat), ("raw", c_uint8 * 200), ("aligned", ctypes.c_void_p))


class Format(ctypes.Structure):
    """struct v4l2_format."""

    _fields_ = (("type", c_uint32), ("fmt", _FormatUnion))


class Fraction(ctypes.Structure):
    """struct v4l2_fract."""

    _fields_ = (("numerator", c_uint32), ("denominator", c_uint32))


class CaptureParameters(ctypes.Structure):
    """struct v4l2_captureparm."""

    _fields_ = (
        ("capability", c_uint32), ("capturemode", c_uint32), ("timeperframe", Fraction), ("extendedmode", c_uint32),
        ("readbuffers", c_uint32), ("reserved", c_uint32 * 4),
    )  # fmt: skip


class _ParametersUnion(ctypes.Union):
    _fields_ = (("capture", CaptureParameters), ("raw", c_uint8 * 200))


class StreamParameters(ctypes.Structure):
    """struct v4l2_streamparm."""

    _fields_ = (("type", c_uint32), ("parm", _ParametersUnion))


class RequestBuffers(ctypes.Structure):
    """struct v4l2_requestbuffers."""

    _fields_ = (
        ("count", c_uint32), ("type", c_uint32), ("memory", c_uint32), ("capabilities", c_uint32),
        ("flags", c_uint8), ("reserved", c_uint8 * 3),
    )  # fmt: skip


class TimeVal(ctypes.Structure):
    """struct timeval."""

    _fields_ = (("tv_sec", c_long), ("tv_usec", c_long))


class TimeCode(ctypes.Structure):
    """struct v4l2_timecode."""

    _fields_ = (
        ("type", c_uint32), ("flags", c_uint32), ("frames", c_uint8), ("seconds", c_uint8), ("minutes", c_uint8),
        ("hours", c_uint8), ("userbits", c_uint8 * 4),
    )  # fmt: skip


class _Memory(ctypes.Union):
    _fields_ = (("offset", c_uint32), ("userptr", c_ulong), ("planes", ctypes.c_void_p), ("fd", c_int32))


class Buffer(ctypes.Structure):
    """struct v4l2_buffer."""

    _fields_ = (
        ("index", c_uint32), ("type", c_uint32), ("bytesused", c_uint32), ("flags", c_uint32), ("field", c_uint32),
        ("timestamp", TimeVal), ("timecode", TimeCode), ("sequence", c_uint32), ("memory", c_uint32), ("m", _Memory),
        ("length", c_uint32), ("reserved2", c_uint32), ("request_fd", c_int32),
    )  # fmt: skip


def _request(direction: int, number: int, size: int) -> int:
    """An ioctl number: direction (1 write, 2 read), size, letter V, number."""
    return direction << 30 | size << 16 | ord("V") << 8 | number


QUERYCAP = _request(2, 0, ctypes.sizeof(Capability))
ENUM_FMT = _request(3, 2, ctypes.sizeof(FormatDescription))
S_FMT = _request(3, 5, ctypes.sizeof(Format))
REQBUFS = _request(3, 8, ctypes.sizeof(RequestBuffers))
QUERYBUF = _request(3, 9, ctypes.sizeof(Buffer))
QBUF = _request(3, 15, ctypes.sizeof(Buffer))
DQBUF = _request(3, 17, ctypes.sizeof(Buffer))
STREAMON = _request(1, 18, ctypes.sizeof(c_int32))
STREAMOFF = _request(1, 19, ctypes.sizeof(c_int32))
S_PARM = _request(3, 22, ctypes.sizeof(StreamParameters))


def fourcc(text: str) -> int:
    """A pixel format's number from its four letters."""
    return int.from_bytes(text.encode("ascii"), "little")


def ioctl(fd: int, request: int, argument: ctypes.Structure | c_int32) -> None:
    """Ask the driver; the argument is filled in place.

    Raises:
        OSError: The driver refuses.
    """
    fcntl.ioctl(fd, request, argument, True)
