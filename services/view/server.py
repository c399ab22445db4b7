"""The web server in a thread of its own, on a socket that is bound first."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
import time
from typing import Any

import uvicorn

from common.errors import ConfigError, DeviceError
from services.view.patience import CONNECTIONS, Connection, end_the_late

SILENT_S = 4.0
TICK_S = 0.2  # how often the server's loop proves that it comes round
UNSENT_BYTES = 128 * 1024  # in the kernel for a slow viewer: older pictures are skipped, not queued
TCP_NOTSENT_LOWAT = 25  # Linux; Python 3.11 has no name for it


class Server:
    """Serves an ASGI application until closed."""

    def __init__(self, application: Any, host: str, port: int) -> None:
        """Bind the port and begin.

        Raises:
            DeviceError: The port is taken; says by whom.
            ConfigError: The address is none of this machine, or the port needs rights.
        """
        self._socket = bind(host, port)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # odd requests of strangers must not fill the log
        config = uvicorn.Config(
            application,
            http=Connection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=16 * 1024,
        )
        self._server = uvicorn.Server(config)
        self._alive_at = time.monotonic()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), name="server", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> bool:
        """True when the server's thread has ended or does not come round any more."""
        return not self._thread.is_alive() or time.monotonic() - self._alive_at > SILENT_S

    def close(self) -> None:
        """End it; viewers must have been sent away before."""
        self._server.should_exit = True
        self._thread.join(2.0)
        self._socket.close()

    async def _serve(self) -> None:
        ticking = asyncio.create_task(self._tick())
        try:
            await self._server.serve([self._socket])
        finally:
            ticking.cancel()

    async def _tick(self) -> None:
        """Close what only waits, and prove that the loop goes round.

        uvicorn's own notice of time goes by the wall clock and stops when that goes back.
        """
        while True:
            self._alive_at = time.monotonic()
            end_the_late(self._server.server_state.connections)
            await asyncio.sleep(TICK_S)


def bind(host: str, port: int, section: str = "view") -> socket.socket:
    """A bound socket.

    Raises:
        DeviceError: The port is taken.
        ConfigError: It cannot be bound for good.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigError(f"{section}.host={host!r}: {error.strerror}") from error
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES)  # accepted connections inherit it
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.bind(address)
        made.listen()  # another program may have bound it too; who listens first has it
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise DeviceError(f"{host}:{port} is taken by {_holder(port)}") from error
        raise ConfigError(f"{section}.host={host!r}, {section}.port={port}: {error.strerror}") from error
    return made


def _holder(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    import psutil  # only for this message: 0.8 MB

    try:
        for row in psutil.net_connections("tcp"):
            if row.status == psutil.CONN_LISTEN and tuple(row.laddr)[1:] == (port,) and row.pid:
                return f"process {row.pid} ({psutil.Process(row.pid).name()})"
    except psutil.Error:
        pass
    return "another program"
