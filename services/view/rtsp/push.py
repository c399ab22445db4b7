"""A camera's stream pushed to another server (ANNOUNCE and RECORD), which is tried again and again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from common.addresses import shown
from common.errors import DeviceError, WireError
from services.view.rtsp.credentials import authorize
from services.view.rtsp.messages import HEAD_BYTES, VERSION, Message, compose, read
from services.view.rtsp.outlet import Outlet
from services.view.rtsp.sdp import TRACK, describe
from services.view.rtsp.stream import Stream

PATIENCE_S = 10.0  # for an answer, and for the first picture
FIRST_BACKOFF_S, MAX_BACKOFF_S = 1.0, 30.0
SETTLED_S = 30.0  # a connection that lasted so long begins its back-off anew
ALIVE_S = 20.0  # something is asked so often, so that the session does not time out
LOOK_S = 1.0
PORTS = {"rtsp": 554, "rtsps": 322}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to push.

    Attributes:
        url: Without user and password.
        host: Name or address.
        port: TCP port.
        is_secure: True for TLS.
        user: User name, maybe empty.
        password: Password, maybe empty.
    """

    url: str
    host: str
    port: int
    is_secure: bool
    user: str
    password: str

    @classmethod
    def of(cls, url: str) -> Target:
        """Parts of a URL that the settings have checked."""
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        bare = urlunsplit((scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(bare, parts.hostname or "", parts.port or PORTS[scheme], scheme == "rtsps", user, password)


class Push:
    """Keeps one target supplied, as long as its task runs.

    Attributes:
        state: `connecting`, `pushing` or `waiting`.
        reason: Why it waits.
        since: When the state began, wall time in seconds.
    """

    def __init__(self, camera: str, target: Target, stream: Stream, fps: float) -> None:
        self.camera, self.target = camera, target
        self.state, self.reason, self.since = "connecting", "", time.time()
        self._stream, self._fps = stream, fps
        self._tries = 0

    async def run(self) -> None:
        """Push for ever."""
        while True:
            self._enter("connecting")
            begun_at = time.monotonic()
            try:
                await self._once()
            except (DeviceError, WireError, OSError, EOFError, TimeoutError) as error:
                self._enter("waiting", str(error) or "no answer in time")
            if time.monotonic() - begun_at > SETTLED_S:
                self._tries = 0
            backoff_s = min(FIRST_BACKOFF_S * 2**self._tries, MAX_BACKOFF_S)
            self._tries = min(self._tries + 1, 10)
            await asyncio.sleep(backoff_s)

    def summary(self) -> dict[str, Any]:
        """For the page."""
        return {"to": shown(self.target.url), "state": self.state, "reason": self.reason, "since": round(self.since, 3)}

    def _enter(self, state: str, reason: str = "") -> None:
        if (state, reason) != (self.state, self.reason):
            told = state != "connecting" and (state, reason) != ("waiting", self.reason)
            log.log(logging.INFO if told else logging.DEBUG, "push state=%s reason=%s camera=%s to=%s",
                    state, reason or "none", self.camera, shown(self.target.url))  # fmt: skip
            self.since = time.time()
        self.state, self.reason = state, reason

    async def _once(self) -> None:
        target = self.target
        context = ssl.create_default_context() if target.is_secure else None
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(target.host, target.port, ssl=context, limit=HEAD_BYTES)
        outlet = Outlet(self._stream, writer)
        try:
            parameters = await outlet.parameters(PATIENCE_S)
            talk = _Talk(target, reader, writer)
            await talk.begin(describe(self.camera, parameters, self._fps))
            self._enter("pushing")
            outlet.play()
            await self._keep(talk, outlet, reader)
        finally:
            outlet.close()
            writer.transport.abort()

    @staticmethod
    async def _keep(talk: _Talk, outlet: Outlet, reader: asyncio.StreamReader) -> None:
        """Until the other side closes, or takes nothing any more."""

        async def listen() -> None:
            while True:
                await read(reader)

        listening = asyncio.create_task(listen())
        asked_at = time.monotonic()
        try:
            while not listening.done():
                outlet.check()
                if time.monotonic() - asked_at > ALIVE_S:
                    asked_at = time.monotonic()
                    talk.send("OPTIONS", talk.url)
                await asyncio.wait({listening}, timeout=LOOK_S)
            error = listening.exception()
            raise DeviceError("the server has closed the connection") from error
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, EOFError, WireError):
                await listening


class _Talk:
    """The requests of one connection."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.url = target.url
        self._target, self._reader, self._writer = target, reader, writer
        self._number, self._session, self._challenge = 0, "", ""

    async def begin(self, description: bytes) -> None:
        """Up to RECORD.

        Raises:
            DeviceError: The server refuses.
        """
        await self._ask("ANNOUNCE", self.url, {"Content-Type": "application/sdp"}, description)
        transport = "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"
        answer = await self._ask("SETUP", f"{self.url.rstrip('/')}/{TRACK}", {"Transport": transport})
        self._session = answer.headers.get("session", "").partition(";")[0]
        await self._ask("RECORD", self.url, {"Range": "npt=0.000-"})

    def send(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """Send a request."""
        self._number += 1
        fixed = {"CSeq": str(self._number), "User-Agent": "vedette"}
        if self._session:
            fixed["Session"] = self._session
        if self._challenge:
            fixed["Authorization"] = authorize(self._challenge, self._target.user, self._target.password, method, url)
        self._writer.write(compose(f"{method} {url} {VERSION}", fixed | dict(headers or {}), body))

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Message:
        for _ in range(2):
            self.send(method, url, headers, body)
            answer = await self._answer()
            status = answer.start[1]
            challenge = answer.headers.get("www-authenticate", "")
            if status == "401" and self._target.user and challenge and not self._challenge:
                self._challenge = challenge
                continue
            break
        if status != "200":
            raise DeviceError(f"{method} was answered {status} {answer.start[2]}")
        return answer

    async def _answer(self) -> Message:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = await read(self._reader)
                if message is not None and message.start[0] == VERSION:
                    return message
