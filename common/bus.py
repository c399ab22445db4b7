"""The bus: ZeroMQ sockets over ipc files, one endpoint a topic (and camera), from the topic table. Never blocks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import zmq

from common.config import make_private
from common.errors import ConfigError, DeviceError, RingError, WireError
from common.shm import flock_file
from common.stats import Stats
from common.wire import TOPICS, Topic

RECONNECT_MS = 20  # measured: a restarted producer is heard after 9-30 ms, for 4.6 ms/s of CPU while it is away
MAX_PATH = 107  # bytes of a unix socket's path


class Message(Protocol):
    """What travels: a class of `common.wire`."""

    def pack(self) -> bytes:
        """Bytes on the wire."""


class Sender:
    """One end that sends messages of one topic."""

    def __init__(self, socket: zmq.Socket[bytes], topic: Topic, stats: Stats, lock: int | None) -> None:
        self._socket, self._stats, self._lock = socket, stats, lock
        self._drop = f"unsent_{topic.name}"

    def send(self, message: Message) -> bool:
        """Send, without waiting; False (counted) when the queue to a missing receiver is full."""
        try:
            self._socket.send(message.pack(), zmq.NOBLOCK)
        except zmq.Again:
            self._stats.drop(self._drop)
            return False
        return True

    def close(self) -> None:
        """Close the socket, unsent messages are dropped."""
        self._socket.close(linger=0)
        if self._lock is not None:
            os.close(self._lock)


class Receiver:
    """One end that hears messages of one topic, from all its producers."""

    def __init__(self, socket: zmq.Socket[bytes], topic: Topic, stats: Stats, lock: int | None) -> None:
        self.socket, self._stats, self._lock = socket, stats, lock
        self._unpack = topic.message.unpack
        self._drop = f"wire_{topic.name}"

    def drain(self, most: int = 10_000) -> list[Any]:
        """Every message that is there, oldest first, without waiting; foreign bytes are counted and dropped."""
        messages = []
        for _ in range(most):
            try:
                data = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                messages.append(self._unpack(data))
            except WireError:
                self._stats.drop(self._drop)
        return messages

    def close(self) -> None:
        """Close the socket."""
        self.socket.close(linger=0)
        if self._lock is not None:
            os.close(self._lock)


End = TypeVar("End", "Sender", "Receiver")


class Bus:
    """The sockets of one process. A socket belongs to the thread that made it."""

    def __init__(self, runtime_dir: str | Path, stats: Stats | None = None, realtime_priority: int = 0) -> None:
        """Open no socket yet.

        Args:
            runtime_dir: Where the endpoint files lie, below `bus/`.
            stats: Where drops are counted.
            realtime_priority: Above 0, ZeroMQ's own thread runs under SCHED_FIFO at this priority.
        """
        self._directory = Path(runtime_dir) / "bus"
        self._stats = stats or Stats()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        if realtime_priority:
            self._context.set(zmq.THREAD_SCHED_POLICY, os.SCHED_FIFO)
            self._context.set(zmq.THREAD_PRIORITY, realtime_priority)
        self._ends: list[Sender | Receiver] = []
        self._pollers: dict[tuple[Any, ...], zmq.Poller] = {}

    def publisher(self, topic: str, camera: str = "") -> Sender:
        """The sending end of a topic that many hear.

        Raises:
            DeviceError: Another live process serves this endpoint.
        """
        return self._sender(topic, zmq.PUB, [camera], bind=True)

    def pusher(self, topic: str) -> Sender:
        """One of the sending ends of a topic that one process hears."""
        return self._sender(topic, zmq.PUSH, [""], bind=False)

    def subscriber(self, topic: str, cameras: Iterable[str] = ()) -> Receiver:
        """The hearing end of a topic, for all given cameras in one socket."""
        row = TOPICS[topic]
        socket = self._socket(zmq.SUB, row, list(cameras) if row.per_camera else [""], bind=False)
        socket[0].setsockopt(zmq.SUBSCRIBE, b"")
        return self._keep(Receiver(socket[0], row, self._stats, socket[1]))

    def puller(self, topic: str) -> Receiver:
        """The one hearing end of a topic that many push to.

        Raises:
            DeviceError: Another live process serves this endpoint.
        """
        row = TOPICS[topic]
        return self._keep(Receiver(*self._pair(zmq.PULL, row, [""], bind=True)))

    def wait(self, timeout_ms: int, *receivers: Receiver, fds: Iterable[int] = ()) -> list[Receiver | int]:
        """Wait until something can be received; returns those that can, [] after the time-out."""
        key: tuple[Receiver | int, ...] = (*receivers, *fds)
        poller = self._pollers.get(key)
        if poller is None:
            poller = self._pollers[key] = zmq.Poller()
            for end in key:
                poller.register(end.socket if isinstance(end, Receiver) else end, zmq.POLLIN)
        ready = dict(poller.poll(timeout_ms))
        return [end for end in key if (end.socket if isinstance(end, Receiver) else end) in ready]

    def close(self) -> None:
        """Close all sockets."""
        for end in self._ends:
            end.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _sender(self, topic: str, kind: int, cameras: list[str], *, bind: bool) -> Sender:
        return self._keep(Sender(*self._pair(kind, TOPICS[topic], cameras, bind=bind)))

    def _pair(
        self, kind: int, row: Topic, cameras: list[str], *, bind: bool
    ) -> tuple[zmq.Socket[bytes], Topic, Stats, int | None]:
        socket, lock = self._socket(kind, row, cameras, bind=bind)
        return socket, row, self._stats, lock

    def _socket(self, kind: int, row: Topic, cameras: list[str], *, bind: bool) -> tuple[zmq.Socket[bytes], int | None]:
        make_private(self._directory)
        lock = self._guard(row.name, cameras[0]) if bind else None
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        for camera in cameras:
            endpoint = f"ipc://{self._path(row.name, camera)}"
            if bind:
                socket.bind(endpoint)
            else:
                socket.connect(endpoint)
        return socket, lock

    def _guard(self, topic: str, camera: str) -> int:
        """A lock beside the endpoint: a second live bind on one path would silently take it over."""
        path = self._path(topic, camera)
        try:
            return flock_file(path.with_suffix(".lock"), f"endpoint {path.name} is served already")
        except RingError as error:
            raise DeviceError(str(error)) from error

    def _path(self, topic: str, camera: str) -> Path:
        path = self._directory / (f"{topic}.{camera}.ipc" if camera else f"{topic}.ipc")
        if len(os.fsencode(path)) > MAX_PATH:
            raise ConfigError(f"runtime_dir={str(self._directory.parent)!r}: too long, {path} exceeds {MAX_PATH} bytes")
        return path

    def _keep(self, end: End) -> End:
        self._ends.append(end)
        return end
