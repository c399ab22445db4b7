"""The bus: ZeroMQ sockets over ipc files, one endpoint a topic (and camera), from the topic table. Never blocks."""

from __future__ import annotations

import math
import os
import select
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import zmq

from common.errors import ConfigError, DeviceError, RingError, WireError
from common.private import make_private
from common.shm import flock_file
from common.stats import Stats
from common.wire import TOPICS, Topic

RECONNECT_MS = 20  # measured: a restarted producer is heard after 9-30 ms, for 4.6 ms/s of CPU while it is away
AT_ONCE, READABLE = int(zmq.NOBLOCK), int(zmq.POLLIN)  # operations on flags of `enum` run in Python
MAX_PATH = 107  # bytes of a unix socket's path


class Message(Protocol):
    """What travels: a class of `common.wire`."""

    def pack(self) -> bytes:
        """Bytes on the wire."""


class _End:
    """A socket and, where it is bound, the lock of its endpoint."""

    def __init__(self, socket: zmq.Socket[bytes], topic: Topic, stats: Stats, lock: int | None) -> None:
        self.socket, self._topic, self._stats, self._lock = socket, topic, stats, lock
        self._unpack = topic.message.unpack

    def close(self) -> None:
        """Close the socket; unsent messages are dropped. A second call does nothing."""
        self.socket.close(linger=0)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


class Sender(_End):
    """One end that sends messages of one topic."""

    def send(self, message: Message) -> bool:
        """Send, without waiting; False (counted) when the queue to a missing receiver is full."""
        try:
            self.socket.send(message.pack(), AT_ONCE)
        except zmq.Again:
            self._stats.drop(f"unsent_{self._topic.name}")
            return False
        return True


class Receiver(_End):
    """One end that hears messages of one topic, from all its producers.

    ZeroMQ makes a socket's descriptor readable only when something comes to a socket that has told its user that there
    is nothing more. So `waiting` may be asked without a system call once the socket has said that, and `Bus.wait` looks
    at the descriptors alone.
    """

    _listens = True
    _first: bytes | None = None  # taken out of the socket by `waiting`
    _empty = False  # the socket has said so, and its descriptor has not been readable since

    def listen(self, wanted: bool) -> None:
        """Hear a topic that many hear, or be deaf to it for a while: then its senders do not even send."""
        if wanted != self._listens:
            self.socket.setsockopt(zmq.SUBSCRIBE if wanted else zmq.UNSUBSCRIBE, b"")
            self._listens, self._empty = wanted, False

    def waiting(self, *, readable: bool = False) -> bool:
        """True when a message is there.

        Args:
            readable: The socket's descriptor is.
        """
        if self._first is None and (readable or not self._empty):
            self._first = self._receive() if readable else self._next()
        return self._first is not None

    def drain(self, most: int = 10_000, *, until: Callable[[Any], bool] | None = None) -> list[Any]:
        """Every message that is there, oldest first, without waiting; foreign bytes are counted and dropped.

        Args:
            most: Leave the rest for later after so many.
            until: Says of a message that it is the newest there can be, or that the rest may wait for the next turn of
                the loop. To ask an empty socket for more takes some 20 us, which would be added to the message's way.
        """
        messages = []
        data, self._first = self._next() if self._first is None else self._first, None
        while data is not None:
            try:
                message = self._unpack(data)
            except WireError:
                self._stats.drop(f"wire_{self._topic.name}")
            else:
                messages.append(message)
                if until is not None and until(message):
                    break
            most -= 1
            data = self._next() if most > 0 else None
        return messages

    def _next(self) -> bytes | None:
        """As `_receive`, but asks first: an exception for each empty socket costs more."""
        if int(self.socket.getsockopt(zmq.EVENTS)) & READABLE:
            return self._receive()
        self._empty = True
        return None

    def _receive(self) -> bytes | None:
        """The next message; None when there is none."""
        try:
            data = self.socket.recv(AT_ONCE)
        except zmq.Again:
            self._empty = True
            return None
        self._empty = False
        return data


class _Wait:
    """Some receivers and descriptors that are waited for together."""

    def __init__(self, ends: Iterable[Receiver | int]) -> None:
        self._receivers = [end for end in ends if isinstance(end, Receiver)]
        self._ends = {end.socket.fileno() if isinstance(end, Receiver) else end: end for end in ends}
        self._poll = select.poll()
        for fd in self._ends:
            self._poll.register(fd, select.POLLIN)

    def wait(self, timeout_ms: int) -> list[Receiver | int]:
        """See `Bus.wait`."""
        ready: list[Receiver | int] = [receiver for receiver in self._receivers if receiver.waiting()]
        end = time.monotonic() + timeout_ms / 1000
        while True:
            found = self._poll.poll(0 if ready else timeout_ms)
            for fd, _ in found:
                who = self._ends[fd]
                if who not in ready and (isinstance(who, int) or who.waiting(readable=True)):
                    ready.append(who)
            if ready or not found:
                return ready
            timeout_ms = max(math.ceil((end - time.monotonic()) * 1000), 0)  # a socket had news of its connections


End = TypeVar("End", Sender, Receiver)


class Bus:
    """The sockets of one process. A socket belongs to the thread that made it."""

    def __init__(
        self,
        runtime_dir: str | Path,
        stats: Stats | None = None,
        realtime_priority: int = 0,
        cores: Iterable[int] = (),
    ) -> None:
        """Open no socket yet.

        Args:
            runtime_dir: Where the endpoint files lie, below `bus/`.
            stats: Where drops are counted.
            realtime_priority: Above 0, ZeroMQ's own thread runs under SCHED_FIFO at this priority.
            cores: Where ZeroMQ's own thread runs; empty: where this process does.
        """
        self._directory = Path(runtime_dir) / "bus"
        self._stats = stats or Stats()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        if realtime_priority:
            self._context.set(zmq.THREAD_SCHED_POLICY, os.SCHED_FIFO)
            self._context.set(zmq.THREAD_PRIORITY, realtime_priority)
        for core in cores:
            self._context.set(zmq.THREAD_AFFINITY_CPU_ADD, core)
        self._ends: list[Sender | Receiver] = []
        self._waits: dict[tuple[Any, ...], _Wait] = {}

    def publisher(self, topic: str, camera: str = "") -> Sender:
        """The sending end of a topic that many hear.

        Raises:
            DeviceError: Another live process serves this endpoint.
        """
        return self._open(Sender, zmq.PUB, topic, [camera], bind=True)

    def pusher(self, topic: str) -> Sender:
        """One of the sending ends of a topic that one process hears."""
        return self._open(Sender, zmq.PUSH, topic, (), bind=False)

    def subscriber(self, topic: str, cameras: Iterable[str] = ()) -> Receiver:
        """The hearing end of a topic, for all given cameras in one socket."""
        receiver = self._open(Receiver, zmq.SUB, topic, cameras, bind=False)
        receiver.socket.setsockopt(zmq.SUBSCRIBE, b"")
        return receiver

    def puller(self, topic: str) -> Receiver:
        """The one hearing end of a topic that many push to.

        Raises:
            DeviceError: Another live process serves this endpoint.
        """
        return self._open(Receiver, zmq.PULL, topic, (), bind=True)

    def wait(self, timeout_ms: int, *receivers: Receiver, fds: Iterable[int] = ()) -> list[Receiver | int]:
        """Wait until something can be received; returns those that can, [] after the time-out."""
        key: tuple[Receiver | int, ...] = (*receivers, *fds)
        wait = self._waits.get(key)
        if wait is None:
            wait = self._waits[key] = _Wait(key)
        return wait.wait(timeout_ms)

    def close(self) -> None:
        """Close all sockets."""
        for end in self._ends:
            end.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _open(self, end: type[End], kind: int, topic: str, cameras: Iterable[str], *, bind: bool) -> End:
        """Socket of a topic, bound or connected to the endpoints of these cameras."""
        make_private(self._directory)
        row = TOPICS[topic]
        names = list(cameras) if row.per_camera else [""]
        lock = self._guard(topic, names[0]) if bind else None
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        for name in names:
            endpoint = f"ipc://{self._path(topic, name)}"
            if bind:
                socket.bind(endpoint)
            else:
                socket.connect(endpoint)
        made = end(socket, row, self._stats, lock)
        self._ends.append(made)
        return made

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
