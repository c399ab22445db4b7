"""Shared memory files of a node: their names, who owns them, and the byte locks on them."""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import os
import struct
from pathlib import Path

from common.errors import RingError

SHM = Path("/dev/shm")  # noqa: S108 - the files are made O_EXCL with mode 0600
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of the 64-bit ABI: type, whence, start, length, pid


def segment_name(runtime_dir: str, owner: str, suffix: str = "") -> str:
    """File name of a segment: node (by its runtime directory), camera or purpose, epoch; dots between them."""
    node = hashlib.sha256(runtime_dir.encode()).hexdigest()[:10]
    return ".".join(["vedette", node, owner, *([suffix] if suffix else [])])


def segments(runtime_dir: str, owner: str = "") -> list[Path]:
    """Files in /dev/shm that belong to a node, or to one camera of it."""
    return sorted(SHM.glob(segment_name(runtime_dir, owner) + (".*" if owner else "*")))


def remove_segments(runtime_dir: str) -> int:
    """Remove everything a node left in /dev/shm; only when none of its processes runs. Returns how many files."""
    found = segments(runtime_dir)
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


@functools.cache
def lock_bytes(kind: int, byte: int) -> bytes:
    """The lock request for one byte: F_RDLCK, F_WRLCK or F_UNLCK."""
    return _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0)


def try_lock(fd: int, request: bytes) -> bool:
    """Take an open-file-description lock without waiting; False when another holds it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            return False
        raise
    return True


def unlock(fd: int, byte: int) -> None:
    """Give the lock on a byte free."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock_bytes(fcntl.F_UNLCK, byte))


def flock_file(path: Path, complaint: str) -> int:
    """Hold a lock file for the life of this process; the kernel frees it when the process dies.

    Returns:
        The descriptor that holds the lock.

    Raises:
        RingError: Another process holds it; the message is `complaint` and that process's id.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise RingError(f"{complaint} by process {holder} ({path})") from None
    os.ftruncate(fd, 0)
    os.write(fd, str(os.getpid()).encode())
    return fd
