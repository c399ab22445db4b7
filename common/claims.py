"""Who detects which frame: one word a camera in a small shared file, changed by the workers alone.

A worker leases a frame, then claims it here: it takes the camera's byte lock, compares the frame's time with the word,
stores the new word in one aligned 8-byte store, and unlocks. Capture and track never touch this file.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import secrets
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from common.errors import RingError
from common.private import make_private
from common.settings import Settings
from common.shm import SHM, lock_bytes, segment_name, try_lock, unlock
from common.wire import Claim

MAGIC = b"VEDCLAIM"
HEADER = struct.Struct("<8sQ16sI")  # magic, random id, boot and cameras, number of cameras
LINES_START = 4096
LINE_WORDS = 8  # one cache line a camera: claim word, time of the last service
NUMBER_BITS, OWNER_BITS = 20, 4  # claim number, worker; the rest is captured time in ms (34 years)
NUMBERS = 1 << NUMBER_BITS
TRIES = 3
RETRY_S = 100e-6  # measured: the longest honest hold is 0.5 ms, the usual one 5-8 us


class Claims:
    """The claims file, as one worker sees it."""

    def __init__(self, settings: Settings) -> None:
        """Open the file, or make it when it is absent, from before a reboot, or of other cameras.

        Raises:
            RingError: It cannot be made or opened.
        """
        self._index = {camera: index for index, camera in enumerate(settings.cameras)}
        path = SHM / segment_name(settings.runtime_dir, "claims")
        self._fd = _open(path, settings)
        size = os.fstat(self._fd).st_size
        self._map = mmap.mmap(self._fd, size, mmap.MAP_SHARED)
        self.claims_id: int = HEADER.unpack_from(self._map)[1]
        self._words = memoryview(self._map)[LINES_START:].cast("Q")

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """As the constructor."""
        return cls(settings)

    def served_ns(self, camera: str) -> int:
        """When a worker last took a frame of the camera; a hint for fairness, read without the lock."""
        return self._words[self._index[camera] * LINE_WORDS + 1]

    def newest_ns(self, camera: str) -> int:
        """Captured time of the newest claimed frame, milliseconds precise; a hint, read without the lock."""
        return (self._words[self._index[camera] * LINE_WORDS] >> (NUMBER_BITS + OWNER_BITS)) * 1_000_000

    def take(self, camera: str, captured_ns: int, worker: int, min_interval_ns: int = 0) -> Claim | None:
        """Claim a leased frame.

        Args:
            camera: Name of the camera.
            captured_ns: When the frame was captured; must be newer than the newest claimed one by a millisecond.
            worker: Index of this worker, 0 to 15.
            min_interval_ns: Least time to the newest claimed frame (`detect_fps`).

        Returns:
            The claim, or None: another worker has this frame or a newer one, it is too early, or the lock was held.
        """
        index = self._index[camera]
        if not self._lock(index):
            return None
        try:
            place = index * LINE_WORDS
            word = self._words[place]
            before_ms = word >> (NUMBER_BITS + OWNER_BITS)
            captured_ms = captured_ns // 1_000_000
            if captured_ms <= before_ms or (before_ms and captured_ns - before_ms * 1_000_000 < min_interval_ns):
                return None
            number = (word + 1) % NUMBERS
            self._words[place] = captured_ms << (NUMBER_BITS + OWNER_BITS) | worker << NUMBER_BITS | number
        finally:
            unlock(self._fd, index)
        now = time.monotonic_ns()
        self._words[place + 1] = now
        previous = (word >> NUMBER_BITS) % (1 << OWNER_BITS) if word else -1
        return Claim(self.claims_id, number, worker, previous, before_ms, now)

    def close(self) -> None:
        """Let go of the file."""
        self._words.release()
        self._map.close()
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _lock(self, index: int) -> bool:
        request = lock_bytes(fcntl.F_WRLCK, index)
        for attempt in range(TRIES):
            if try_lock(self._fd, request):
                return True
            if attempt + 1 < TRIES:
                time.sleep(RETRY_S)
        return False


def claim_distance(number: int, before: int) -> int:
    """How much later a claim number is than another, signed, modulo its 20 bits."""
    return (number - before + NUMBERS // 2) % NUMBERS - NUMBERS // 2


def _identity(settings: Settings) -> bytes:
    """16 bytes that change with the boot and with the cameras."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    return hashlib.sha256(boot + "\0".join(settings.cameras).encode()).digest()[:16]


def _open(path: Path, settings: Settings) -> int:
    """Descriptor of a fit claims file, made under a lock when there is none."""
    guard = os.open(
        make_private(Path(settings.runtime_dir)) / "claims.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)  # held for the few calls below only
        fd = _existing(path, settings)
        return fd if fd is not None else _make(path, settings)
    except OSError as error:
        raise RingError(f"{path}: {error.strerror}") from error
    finally:
        os.close(guard)


def _existing(path: Path, settings: Settings) -> int | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    head = os.pread(fd, HEADER.size, 0)
    if len(head) == HEADER.size and os.fstat(fd).st_size == _size(settings):
        magic, _, identity, cameras = HEADER.unpack(head)
        if magic == MAGIC and identity == _identity(settings) and cameras == len(settings.cameras):
            return fd
    os.close(fd)
    return None


def _make(path: Path, settings: Settings) -> int:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, _size(settings))
        os.pwrite(fd, HEADER.pack(MAGIC, secrets.randbits(63), _identity(settings), len(settings.cameras)), 0)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        os.close(fd)
        raise
    return fd


def _size(settings: Settings) -> int:
    return LINES_START + max(1, len(settings.cameras)) * LINE_WORDS * 8
