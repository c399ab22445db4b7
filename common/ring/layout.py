"""The file of a ring: what lies where in it, and how its bytes are reserved."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from pathlib import Path

from common.errors import RingError

MAGIC = b"VEDRING\0"
LAYOUT = 1
HEADER = struct.Struct("<8sIIQIIIIQQ")  # magic, layout, header bytes, epoch, w, h, format, slots, stride, frame bytes
LINES_START = 256  # first per-slot line; slots below 256 keep lock bytes and lines apart
LINE_BYTES = 64  # one cache line a slot: generation (8 bytes), rest free


def align(size: int) -> int:
    """The size, rounded up to whole pages."""
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def allocate(path: Path, size: int) -> int:
    """File of `size` bytes that are really there, opened for writing.

    Raises:
        RingError: No room (says how much is needed and available) or no right.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RingError(f"{path}: {error.strerror}") from error
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        os.close(fd)
        if error.errno != errno.ENOSPC:
            raise RingError(f"{path}: {error.strerror}") from error
        room = os.statvfs(path.parent)
        raise RingError(
            f"{path.parent} is too small: the ring needs {size} bytes, {room.f_bavail * room.f_frsize} are available; "
            f"enlarge it (mount -o remount,size=...), or use a smaller picture or fewer infer.max_workers"
        ) from error
    return fd
