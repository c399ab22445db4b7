"""The network's loop in a thread of its own: the RTSP server and the pushes of all cameras."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from typing import Any

from common.errors import ConfigError, DeviceError
from common.settings import Settings
from common.stats import Stats
from services.view.access import Brake, is_loopback
from services.view.rtsp.connection import Connection
from services.view.rtsp.messages import HEAD_BYTES, answer
from services.view.rtsp.push import Push, Target
from services.view.rtsp.stream import Stream
from services.view.server import bind

CLIENTS = 32  # connections at once
RETRY_S = 3.0  # between two tries of a port that is taken

log = logging.getLogger(__name__)


def rtsp_password(settings: Settings) -> str | None:
    """The password that clients need: the own one, else that of the page.

    Raises:
        ConfigError: Other machines could see the pictures without one, or it is empty.
    """
    rtsp = settings.rtsp
    password = rtsp.password if rtsp.password is not None else settings.view.password
    if password is not None and not password:
        raise ConfigError("rtsp.password: it is empty; choose one, or leave the key out")
    if rtsp.enabled and password is None and not is_loopback(rtsp.host):
        raise ConfigError(
            f"rtsp.host={rtsp.host!r}: seen from other machines, the streams need a password; add the line\n"
            f'  rtsp: {{enabled: true, host: "{rtsp.host}", password_file: rtsp-password.txt}}\n'
            f"or keep rtsp.host: 127.0.0.1"
        )
    return password


class Rtsp:
    """Serves and pushes until closed.

    Attributes:
        streams: The sinks, by camera: of all when serving, else of those that are pushed.
        problem: Why it does not serve; empty when it does.
    """

    def __init__(self, settings: Settings, stats: Stats, wake_fd: int) -> None:
        """Begin.

        Raises:
            ConfigError: Wrong address or password.
        """
        self._settings, self._password = settings.rtsp, rtsp_password(settings)
        self._loop = asyncio.new_event_loop()
        cameras = [name for name in settings.cameras if settings.rtsp.enabled or settings.rtsp.push.get(name)]
        self.streams = {name: Stream(settings.rtsp, stats, self._loop, wake_fd) for name in cameras}
        self.pushes = [
            Push(name, Target.of(url), self.streams[name], settings.rtsp.fps)
            for name in cameras
            for url in settings.rtsp.push.get(name, ())
        ]
        self.problem = ""
        self._brake = Brake()
        self._clients: dict[Connection, None] = {}  # in the order in which they came
        self._server: asyncio.Server | None = None
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._loop.run_forever, name="rtsp", daemon=True)
        self._thread.start()
        for push in self.pushes:
            asyncio.run_coroutine_threadsafe(push.run(), self._loop)
        self.step()

    @property
    def failed(self) -> bool:
        """True when the thread has ended, or an encoder hangs."""
        return not self._thread.is_alive() or any(stream.is_stuck for stream in self.streams.values())

    def step(self) -> None:
        """Bind the port, or try it again.

        Raises:
            ConfigError: The address is none of this machine, or the port needs rights.
        """
        if self._server is not None or not self._settings.enabled or time.monotonic() < self._retry_at:
            return
        try:
            sock = bind(self._settings.host, self._settings.port, "rtsp")
        except DeviceError as error:
            self.problem, self._retry_at = str(error), time.monotonic() + RETRY_S
            return
        sock.setblocking(False)
        starting = asyncio.start_server(self._serve, sock=sock, limit=HEAD_BYTES)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(5)
        self.problem = ""
        log.info("rtsp serves host=%s port=%d", self._settings.host, self._settings.port)

    def close(self) -> None:
        """Send everybody away."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(2)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)

    def summary(self) -> dict[str, Any]:
        """For the page."""
        return {
            "enabled": self._settings.enabled,
            "port": self._settings.port,
            "problem": self.problem,
            "cameras": {
                name: {
                    "viewers": stream.viewers,
                    "encoder": stream.encoder_name,
                    "problem": stream.problem,
                    "push": [push.summary() for push in self.pushes if push.camera == name],
                }
                for name, stream in self.streams.items()
            },
        }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= CLIENTS:
            oldest = next((client for client in self._clients if client.is_stranger), None)
            if oldest is None:
                writer.write(answer(453, {"CSeq": "0"}))
                writer.close()
                return
            del self._clients[oldest]
            oldest.send_away()
        client = Connection(self.streams, self._settings, self._password, self._brake, reader, writer)
        self._clients[client] = None
        try:
            await client.serve()
        finally:
            self._clients.pop(client, None)

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
