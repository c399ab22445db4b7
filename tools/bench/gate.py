"""A gate in front of a TCP server: shut it, and nobody gets through; freeze it, and what is said gets nowhere."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

CHUNK = 65_536
LOOK_S = 0.05


class Gate:
    """Passes connections on to a port of this machine, from a port of its own.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._peers: dict[socket.socket, socket.socket] = {}
        self._shut, self._frozen, self._closed = threading.Event(), threading.Event(), threading.Event()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)
        self._thread.start()

    def shut(self) -> None:
        """End every connection, and each new one at once."""
        self._shut.set()

    def freeze(self) -> None:
        """Take bytes, answer nothing, pass nothing on."""
        self._frozen.set()

    def open(self) -> None:
        """Let everything through again."""
        self._shut.clear()
        self._frozen.clear()

    def close(self) -> None:
        """End."""
        self._closed.set()
        self._thread.join(5)
        self._drop_all()
        self._listener.close()
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            if self._shut.is_set():
                self._drop_all()
            if self._frozen.is_set():
                self._closed.wait(LOOK_S)
                continue
            for key, _ in self._selector.select(LOOK_S):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._pass_on(key.fileobj)

    def _accept(self) -> None:
        caller, _ = self._listener.accept()
        try:
            if self._shut.is_set():
                raise ConnectionRefusedError
            server = socket.create_connection(("127.0.0.1", self._target), timeout=2)
        except OSError:
            caller.close()
            return
        for one, other in ((caller, server), (server, caller)):
            one.settimeout(5)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, source: socket.socket) -> None:
        if source not in self._peers:
            return
        try:
            data = source.recv(CHUNK)
            if data:
                self._peers[source].sendall(data)
                return
        except OSError:
            pass
        self._drop(source)

    def _drop(self, source: socket.socket) -> None:
        for one in (source, self._peers.get(source)):
            if one is not None and self._peers.pop(one, None) is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(one)
                one.close()

    def _drop_all(self) -> None:
        for one in list(self._peers):
            self._drop(one)
