"""What the network sends: commands over MQTT, and requests to the page and to the RTSP server."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from common import config
from common.errors import WireError
from common.service import Service
from services.publish.commands import CommandRefused, switch_value
from services.publish.topics import SWITCHES, Topics
from services.view.access import Access
from services.view.desk import Desk
from services.view.rtsp.connection import camera_of, channel_of
from services.view.rtsp.credentials import Challenge
from services.view.rtsp.messages import HEAD_BYTES, read
from services.view.web import application
from tools.fuzz.targets import Target

CAMERA = {"door": {"source": "pattern:64x64@5"}}
PATHS = (
    "/", "/login", "/logout", "/static/app.js", "/stream/{}.mjpg", "/snapshot/{}.jpg", "/faces/{}.jpg", "/api/state",
    "/api/events?limit={}", "/api/command", "/metrics", "/healthz", "/{}",
)  # fmt: skip
HEADERS = (b"host", b"origin", b"cookie", b"authorization", b"content-type", b"content-length", b"x-forwarded-for")


def mqtt_command() -> Target:
    """A topic and a payload: a target and a value, or a refusal in words."""
    topics = Topics("vedette", "hall")

    def feed(data: bytes) -> None:
        topic, _, payload = data.decode("utf-8", "replace").partition("\0")
        command = topics.command(topic)
        what = command[1] if command and command[1] in SWITCHES else sorted(SWITCHES)[len(data) % len(SWITCHES)]
        try:
            value = switch_value(what, payload)
        except CommandRefused:
            return
        assert isinstance(value, bool) or 0 <= value <= 1000

    root = topics.root.encode()
    return Target(feed, [root + b"/door/privacy/set\0ON", root + b"/door/detect_fps/set\x002.5"])


def http() -> Target:
    """Any request to the page, with and without a password: an answer below 500."""
    folder = tempfile.TemporaryDirectory(prefix="vedette-fuzz-")
    base = {"cameras": CAMERA, "runtime_dir": f"{folder.name}/run", "state_dir": f"{folder.name}/state"}
    apps, services = [], []
    for password in (None, "open sesame"):
        settings = config.check({**base, "view": {"password": password}})
        service = Service("view", "", settings)
        services.append(service)
        desk = Desk({}, {}, None, lambda _command: None, lambda: False)
        apps.append(application(service, desk, Access(settings.view, Path(settings.state_dir))))
    loop = asyncio.new_event_loop()

    def feed(data: bytes) -> None:
        status = loop.run_until_complete(asyncio.wait_for(_ask(apps[len(data) % 2], data), 20))
        assert 100 <= status < 500 or status == 503, status

    def close() -> None:
        loop.close()
        for service in services:
            service.bus.close()
        folder.cleanup()

    return Target(feed, [b"\x07", b"\x09{}", b'\x09{"target": "door", "what": "privacy", "payload": "ON"}\0\0'], close)


def rtsp() -> Target:
    """Any bytes on a connection to the RTSP server: messages, or the errors that end a connection."""
    challenge = Challenge("open sesame")
    loop = asyncio.new_event_loop()

    async def listen(data: bytes) -> None:
        reader = asyncio.StreamReader(limit=HEAD_BYTES)
        reader.feed_data(data)
        reader.feed_eof()
        try:
            while True:
                message = await read(reader)
                if message is not None:
                    camera_of(message.start[1])
                    channel_of(message.headers.get("transport", ""))
                    assert not challenge.accepts(message.headers.get("authorization", ""), message.start[0])
        except (WireError, asyncio.IncompleteReadError):
            return

    setup = b"SETUP rtsp://h/door/track RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
    digest = b'PLAY rtsp://h/door RTSP/1.0\r\nAuthorization: Digest username="a", realm="b", nonce="c", uri="d"\r\n\r\n'
    body = b"GET_PARAMETER * RTSP/1.0\r\nContent-Length: 3\r\n\r\nabc$\0\0\1x"
    return Target(lambda data: loop.run_until_complete(listen(data)), [setup + body, digest], loop.close)


async def _ask(app: Any, data: bytes) -> int:
    """One request made of bytes: the first chooses the path, then body, path part and header values, NUL between."""
    choice = data[0] if data else 0
    body, part, *values = [*data[1:].split(b"\0"), b"", b""]
    path, _, query = PATHS[choice % len(PATHS)].format(part.decode("latin-1")).partition("?")
    headers = [(b"host", b"127.0.0.1:8770")] if choice < 128 else []
    headers += [(HEADERS[k % len(HEADERS)], value) for k, value in enumerate(values) if value]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1",
        "method": ("GET", "POST", "HEAD")[choice % 3], "scheme": "http", "path": path,
        "root_path": "", "raw_path": path.encode("latin-1", "replace"), "headers": headers,
        "query_string": query.encode("latin-1", "replace"), "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8770),
    }  # fmt: skip
    sent = False
    status: list[int] = []

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    await app(scope, receive, send)
    return status[0] if status else 499  # the client was gone before an answer
