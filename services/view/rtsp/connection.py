"""One client of the RTSP server: its requests, one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from common.errors import DeviceError, WireError
from common.settings import RtspSettings
from services.view.access import Brake
from services.view.rtsp.credentials import REALM, Challenge
from services.view.rtsp.messages import VERSION, Headers, Message, answer, read
from services.view.rtsp.outlet import Outlet
from services.view.rtsp.sdp import TRACK, describe
from services.view.rtsp.stream import Stream

METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER"
TIMEOUT_S = 60.0  # told to clients, which then ask for something more often
FIRST_S = 10.0  # for the first request, and for the password
PICTURE_S = 8.0  # a description waits so long for the first picture
LOOK_S = 2.0


class Connection:
    """Serves one client until it leaves."""

    def __init__(
        self,
        streams: Mapping[str, Stream],
        settings: RtspSettings,
        password: str | None,
        brake: Brake,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._streams, self._settings, self._brake = streams, settings, brake
        self._reader, self._writer = reader, writer
        self._password = password
        self._challenge = Challenge(password) if password is not None else None
        self._peer = str((writer.get_extra_info("peername") or ("",))[0])
        self._camera = self._session = ""
        self._outlet: Outlet | None = None
        self._is_known = password is None
        self._heard_at = time.monotonic()

    @property
    def is_stranger(self) -> bool:
        """True until it knows the password, where one is asked."""
        return not self._is_known

    def send_away(self) -> None:
        """End it; `serve` returns soon."""
        self._writer.transport.abort()

    async def serve(self) -> None:
        """Answer requests until the client leaves, is silent without playing, or takes nothing."""
        watch = asyncio.create_task(self._watch())
        talk = asyncio.create_task(self._talk())
        try:
            await asyncio.wait({watch, talk}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            talk.cancel()
            await asyncio.gather(watch, talk, return_exceptions=True)
            self._leave()
            self._writer.transport.abort()  # a client that takes nothing would hold a polite close back

    async def _talk(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, WireError):
            while True:
                message = await read(self._reader)
                if message is not None:
                    self._writer.write(await self._answer(message))
                    await self._writer.drain()
                if self._is_known:  # a stranger's words do not hold its place
                    self._heard_at = time.monotonic()

    async def _watch(self) -> None:
        """End when the session has timed out. One that plays lives as long as it takes what is sent."""
        with contextlib.suppress(DeviceError):
            while True:
                await asyncio.sleep(LOOK_S)
                if self._outlet is not None:
                    self._outlet.check()
                allowed_s = TIMEOUT_S + LOOK_S if self._camera else FIRST_S
                plays = self._outlet is not None and self._outlet.playing
                if not plays and time.monotonic() - self._heard_at > allowed_s:
                    return

    async def _answer(self, request: Message) -> bytes:
        method, url, version = request.start
        fixed = {"CSeq": request.headers.get("cseq", "0"), "Server": "vedette"}
        if version != VERSION:
            return answer(505, fixed)
        if method == "OPTIONS":
            return answer(200, fixed | {"Public": METHODS})
        refusal = self._refusal(request)
        if refusal:
            return answer(refusal[0], {**fixed, **refusal[1]})
        handle = {
            "DESCRIBE": self._describe, "SETUP": self._set_up, "PLAY": self._play, "PAUSE": self._pause,
            "TEARDOWN": self._tear_down, "GET_PARAMETER": self._ping, "SET_PARAMETER": self._ping,
        }.get(method)  # fmt: skip
        if handle is None:
            return answer(405, fixed | {"Allow": METHODS})
        camera = camera_of(url)
        if camera not in self._streams and method in {"DESCRIBE", "SETUP"}:
            return answer(404, fixed)
        given = request.headers.get("session", "").partition(";")[0]
        if (given and given != self._session) or (method in {"PLAY", "PAUSE", "TEARDOWN"} and not self._session):
            return answer(454, fixed)
        status, headers, body = await handle(camera, request)
        return answer(status, fixed | headers, body)

    def _refusal(self, request: Message) -> tuple[int, Headers] | None:
        """Status and headers for who may not ask."""
        if self._challenge is None:
            return None
        given = request.headers.get("authorization", "")
        if given and not self._brake.wait_s(self._peer):
            if self._challenge.accepts(given, request.start[0]):
                self._brake.passed(self._peer)
                self._is_known = True
                return None
            self._brake.failed(self._peer)
        wait_s = self._brake.wait_s(self._peer)
        waits: Headers = {"Retry-After": f"{wait_s:.0f}"} if wait_s else {}
        return 401, {**waits, "WWW-Authenticate": (self._challenge.header, f'Basic realm="{REALM}"')}

    async def _describe(self, camera: str, request: Message) -> tuple[int, dict[str, str], bytes]:
        try:
            parameters = await self._join(camera).parameters(PICTURE_S)
        except DeviceError:
            return 503, {}, b""
        base = request.start[1].partition("?")[0].rstrip("/") + "/"
        body = describe(camera, parameters, self._settings.fps)
        return 200, {"Content-Base": base, "Content-Type": "application/sdp"}, body

    async def _set_up(self, camera: str, request: Message) -> tuple[int, dict[str, str], bytes]:
        channel = channel_of(request.headers.get("transport", ""))
        if channel is None:
            return 461, {}, b""  # players that asked for UDP try TCP next
        if self._outlet is not None and self._outlet.playing:
            return 455, {}, b""
        self._join(camera).channel = channel
        self._session = self._session or secrets.token_hex(8)
        transport = f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        return 200, {"Transport": transport, "Session": f"{self._session};timeout={TIMEOUT_S:.0f}"}, b""

    async def _play(self, _camera: str, _request: Message) -> tuple[int, dict[str, str], bytes]:
        if self._outlet is None:
            return 455, {}, b""
        asyncio.get_running_loop().call_soon(self._outlet.play)  # after the answer
        return 200, {"Session": self._session, "Range": "npt=now-"}, b""

    async def _pause(self, _camera: str, _request: Message) -> tuple[int, dict[str, str], bytes]:
        if self._outlet is not None:
            self._outlet.playing = False
        return 200, {"Session": self._session}, b""

    async def _tear_down(self, _camera: str, _request: Message) -> tuple[int, dict[str, str], bytes]:
        session = self._session
        self._leave()
        return 200, {"Session": session}, b""

    async def _ping(self, _camera: str, _request: Message) -> tuple[int, dict[str, str], bytes]:
        return 200, {"Session": self._session} if self._session else {}, b""

    def _join(self, camera: str) -> Outlet:
        if self._outlet is None or self._camera != camera:
            self._leave()
            self._camera, self._outlet = camera, Outlet(self._streams[camera], self._writer)
        return self._outlet

    def _leave(self) -> None:
        if self._outlet is not None:
            self._outlet.close()
        self._outlet, self._camera, self._session = None, "", ""


def camera_of(url: str) -> str:
    """Name of the camera in a URL of ours; anything for another one."""
    try:
        path = unquote(urlsplit(url).path).strip("/")
    except ValueError:
        return ""
    return path.removesuffix(f"/{TRACK}")


def channel_of(transport: str) -> int | None:
    """The first interleaved channel that a client can use; None when it wants no TCP."""
    for offer in transport.split(","):
        words = [word.strip().lower() for word in offer.split(";")]
        if words[0] != "rtp/avp/tcp":
            continue
        wished = next((word[len("interleaved=") :] for word in words if word.startswith("interleaved=")), "0")
        number = wished.partition("-")[0]
        if number.isdecimal() and int(number) < 255:
            return int(number)
    return None
