"""Connections of the web server that hold a place without asking for anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 200
REQUEST_S = 10.0  # for a request to come whole, head and body


class Connection(H11Protocol):
    """A connection that knows how long it has kept us waiting, and makes room when there are too many."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._since = time.monotonic()

    @property
    def waiting_s(self) -> float:
        """How long the request that should come has not come whole; 0 while one is answered."""
        answers = self.cycle is not None and not self.cycle.response_complete
        if answers and self.conn.their_state is not h11.SEND_BODY:
            return 0.0
        return time.monotonic() - self._since

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the place of whoever has kept us waiting longest when all are taken."""
        if len(self.connections) >= CONNECTIONS - 1:
            send_away(self.connections)
        super().connection_made(transport)

    def on_response_complete(self) -> None:
        """The next request may come."""
        self._since = time.monotonic()
        super().on_response_complete()


def send_away(connections: set[Any]) -> None:
    """Close the connection that has kept us waiting longest, if any does, and take it out."""
    longest = max((one for one in connections if isinstance(one, Connection)), key=_waiting_s, default=None)
    if longest is not None and longest.waiting_s:
        connections.discard(longest)  # many may come before asyncio tells that this one is lost
        longest.transport.abort()


def end_the_late(connections: Iterable[Any]) -> None:
    """Close what has waited for too long; call it now and then."""
    for one in list(connections):
        if isinstance(one, Connection) and one.waiting_s > REQUEST_S:
            one.transport.abort()


def _waiting_s(connection: Connection) -> float:
    return connection.waiting_s
