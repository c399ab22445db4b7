"""The plainest ways to hand a frame over, as peers: raw shared memory with a bare handle, and pixels over a queue."""

from __future__ import annotations

import mmap
import os
from types import SimpleNamespace

import msgpack
import numpy as np
import zmq
from numpy.typing import NDArray

from common.shm import SHM, remove_segments, segment_name

Pixels8 = NDArray[np.uint8]


class Raw:
    """Slots in one file and a msgpack handle over ZeroMQ PUSH/PULL: no lease, no epoch, no check. The limit."""

    def __init__(self, cfg: SimpleNamespace) -> None:
        self.cfg = cfg
        self._path = SHM / segment_name(str(cfg.dir), "raw")
        self._bytes = int(np.prod(cfg.shape))
        self._slot = 0

    def setup(self) -> None:
        """Make the file."""
        with self._path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self._bytes * self.cfg.slots)

    def teardown(self) -> None:
        """Remove the file."""
        remove_segments(str(self.cfg.dir))

    def open_producer(self) -> None:
        """Map the file and bind."""
        self._open(zmq.PUSH, bind=True)

    def acquire(self) -> Pixels8:
        """The next slot, whoever reads it."""
        self._slot = (self._slot + 1) % self.cfg.slots
        return self._views[self._slot]

    def publish(self, seq: int, t0: int) -> None:
        """Send a handle as large as the node's."""
        self._socket.send(msgpack.packb((1, "bench", 2**62, self._slot, seq, seq, t0, t0, t0, 0)))

    def close_producer(self) -> None:
        """Close the socket."""
        self._socket.close(0)

    def open_consumer(self) -> None:
        """Map the file and connect."""
        self._open(zmq.PULL, bind=False)

    def recv(self, timeout: float) -> Pixels8 | None:
        """Pixels of the next handle."""
        self._socket.rcvtimeo = int(timeout * 1000)
        try:
            slot: int = msgpack.unpackb(self._socket.recv())[3]
        except zmq.Again:
            return None
        return self._views[slot]

    def release(self) -> None:
        """Nothing is held."""

    def close_consumer(self) -> None:
        """Close the socket."""
        self._socket.close(0)

    def _open(self, kind: int, *, bind: bool) -> None:
        with self._path.open("r+b") as file:
            whole = np.frombuffer(mmap.mmap(file.fileno(), 0), np.uint8)
        size = self._bytes
        self._views = [whole[i * size : (i + 1) * size].reshape(self.cfg.shape) for i in range(self.cfg.slots)]
        self._socket = _socket(self.cfg, kind, bind=bind)


class Pixels:
    """The whole picture through the socket: what people write first."""

    def __init__(self, cfg: SimpleNamespace) -> None:
        self.cfg = cfg

    def setup(self) -> None:
        """Nothing."""

    def teardown(self) -> None:
        """Nothing."""

    def open_producer(self) -> None:
        """Bind."""
        self._pixels = np.zeros(self.cfg.shape, np.uint8)
        self._socket = _socket(self.cfg, zmq.PUSH, bind=True)

    def acquire(self) -> Pixels8:
        """Private memory."""
        return self._pixels

    def publish(self, seq: int, t0: int) -> None:  # noqa: ARG002 - the stamps are in the pixels
        """Send all pixels."""
        self._socket.send(self._pixels.data)

    def close_producer(self) -> None:
        """Close the socket."""
        self._socket.close(0)

    def open_consumer(self) -> None:
        """Connect."""
        self._socket = _socket(self.cfg, zmq.PULL, bind=False)

    def recv(self, timeout: float) -> Pixels8 | None:
        """The next picture."""
        self._socket.rcvtimeo = int(timeout * 1000)
        try:
            return np.frombuffer(self._socket.recv(), np.uint8).reshape(self.cfg.shape)
        except zmq.Again:
            return None

    def release(self) -> None:
        """Nothing is held."""

    def close_consumer(self) -> None:
        """Close the socket."""
        self._socket.close(0)


def _socket(cfg: SimpleNamespace, kind: int, *, bind: bool) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    address = f"ipc://{cfg.dir}/peer.ipc"
    if bind:
        socket.bind(address)
    else:
        socket.connect(address)
    return socket
