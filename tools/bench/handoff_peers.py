"""The plainest ways to hand a frame over, as peers: raw shared memory with a bare handle, and pixels over a queue."""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import os
import time
from types import SimpleNamespace
from typing import Any

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


class Iceoryx2:
    """Loaned samples of iceoryx2 and its event, waited for: the peer in compiled code."""

    def __init__(self, cfg: SimpleNamespace) -> None:
        self.cfg = cfg
        self._bytes = int(np.prod(cfg.shape))

    @staticmethod
    def there() -> bool:
        """True when the package is installed; it has no wheel for AArch64."""
        return importlib.util.find_spec("iceoryx2") is not None

    def setup(self) -> None:
        """Nothing: whoever comes first makes the service."""

    def teardown(self) -> None:
        """Nothing: the library cleans up."""

    def open_producer(self) -> None:
        """Make the publisher and the notifier."""
        self._open()
        self._publisher = self._service.publisher_builder().initial_max_slice_len(self._bytes).create()
        self._notifier = self._event.notifier_builder().create()

    def acquire(self) -> Pixels8:
        """A loaned sample."""
        self._sample = self._publisher.loan_slice_uninit(self._bytes)
        return self._view(self._sample)

    def publish(self, seq: int, t0: int) -> None:  # noqa: ARG002 - the stamps are in the pixels
        """Send it and wake the reader."""
        self._sample.assume_init().send()
        self._notifier.notify()

    def close_producer(self) -> None:
        """Nothing: the process ends."""

    def open_consumer(self) -> None:
        """Make the subscriber and the listener."""
        self._open()
        self._subscriber = self._service.subscriber_builder().create()
        self._listener = self._event.listener_builder().create()
        self._taken: Any = None

    def recv(self, timeout: float) -> Pixels8 | None:
        """Pixels of the next sample."""
        end = time.monotonic() + timeout
        while (sample := self._subscriber.receive()) is None:
            if time.monotonic() > end:
                return None
            self._listener.timed_wait(self._library.Duration.from_millis(500))
        self._taken = sample
        return self._view(sample)

    def release(self) -> None:
        """Give the sample back."""
        if self._taken is not None:
            self._taken.delete()
            self._taken = None

    def close_consumer(self) -> None:
        """Nothing: the process ends."""

    def _open(self) -> None:
        self._library = library = importlib.import_module("iceoryx2")
        library.set_log_level(library.LogLevel.Error)
        self._node = library.NodeBuilder.new().create(library.ServiceType.Ipc)
        name = library.ServiceName.new(f"{self.cfg.dir.name}/pixels")
        builder = self._node.service_builder(name).publish_subscribe(library.Slice[ctypes.c_uint8])
        self._service = builder.subscriber_max_buffer_size(self.cfg.slots).open_or_create()
        self._event = self._node.service_builder(name).event().open_or_create()

    def _view(self, sample: Any) -> Pixels8:
        raw = (ctypes.c_uint8 * self._bytes).from_address(sample.payload_ptr)
        return np.frombuffer(memoryview(raw), np.uint8).reshape(self.cfg.shape)


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
