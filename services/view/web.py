"""The routes of the web server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import math
import mimetypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from common.fleet import members
from common.service import Service
from common.wire import Command
from services.view.access import Access
from services.view.census import Census
from services.view.desk import Desk
from services.view.guard import COMMAND_HEADER, Guard, peer
from services.view.history import History
from services.view.streams import MjpegStream, snapshot

STATIC = Path(__file__).parent / "static"
MAX_BODY_BYTES = 4096
SWITCHES = ("enabled", "privacy", "detect_fps")
MAX_FPS = 1000.0

Value = TypeVar("Value")


def application(service: Service, desk: Desk, access: Access) -> ASGIApp:
    """Everything that is served, behind the guard."""
    pages = Pages(service, desk, access)
    routes = [
        Route("/", pages.home),
        Route("/login", pages.login, methods=["GET", "POST"]),
        Route("/logout", pages.logout, methods=["POST"]),
        Route("/favicon.svg", pages.icon),
        Route("/static/{name}", pages.static),
        Route("/stream/{camera}.mjpg", pages.stream),
        Route("/snapshot/{camera}.jpg", pages.snapshot),
        Route("/faces/{event_id}.jpg", pages.face),
        Route("/api/state", pages.state),
        Route("/api/events", pages.events),
        Route("/api/command", pages.command, methods=["POST"]),
        Route("/metrics", pages.metrics),
        Route("/healthz", pages.health),
    ]
    guard = Guard(Router(routes), service.settings.view, access)
    pages.guard = guard
    return guard


class Pages:
    """The handlers. What reads files runs in one thread of its own, so that no stream waits for a disk."""

    guard: Guard

    def __init__(self, service: Service, desk: Desk, access: Access) -> None:
        self._service, self._desk, self._access = service, desk, access
        settings = service.settings
        self._history = History(service.state_dir, settings.cameras)
        self._census = Census(settings, desk, self._history)
        self._reader = ThreadPoolExecutor(1, "reader")
        self._files = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.is_file()}
        self._tags = {name: f'"{hashlib.sha256(data).hexdigest()[:16]}"' for name, data in self._files.items()}
        rows = members(settings.cameras, settings.infer.max_workers, settings.optional)
        self._targets = {row.name for row in rows}

    async def home(self, request: Request) -> Response:
        """The page."""
        return self._file("index.html", request.headers)

    async def icon(self, request: Request) -> Response:
        """The mark of the page."""
        return self._file("favicon.svg", request.headers)

    async def static(self, request: Request) -> Response:
        """A file of the page, from memory: there is no path to walk."""
        name = request.path_params["name"]
        if name not in self._files or name.endswith(".html"):
            return _nothing("no such file")
        return self._file(name, request.headers)

    async def login(self, request: Request) -> Response:
        """The page that asks for the password, and its answer."""
        if self._access.open:
            return RedirectResponse("./", HTTPStatus.SEE_OTHER)
        if request.method != "POST":
            return self._login_page("", HTTPStatus.OK)
        address = peer(request.scope)
        if not self.guard.may_change(request.headers):
            return self._login_page("This form came from another site.", HTTPStatus.FORBIDDEN)
        wait_s = self._access.wait_s(address)
        if wait_s:
            text = f"Too many attempts. Try again in {math.ceil(wait_s)} s."
            return self._login_page(text, HTTPStatus.TOO_MANY_REQUESTS, {"retry-after": str(math.ceil(wait_s))})
        fields = parse_qs((await _body(request)).decode("utf-8", "replace"))
        if not self._access.try_password(fields.get("password", [""])[0], address):
            self._service.stats.count("logins_refused")
            return self._login_page("That is not the password.", HTTPStatus.UNAUTHORIZED)
        return RedirectResponse("./", HTTPStatus.SEE_OTHER, {"set-cookie": self.guard.cookie(request.scope)})

    async def logout(self, request: Request) -> Response:
        """Forget the session in this browser."""
        if not self.guard.may_change(request.headers):
            return _refused("not from another site", HTTPStatus.FORBIDDEN)
        return JSONResponse({"ok": True}, headers={"set-cookie": self.guard.gone_cookie()})

    async def stream(self, request: Request) -> Response:
        """Live pictures of a camera."""
        camera = request.path_params["camera"]
        if camera not in self._desk.scenes:
            return _nothing("no such camera")
        return MjpegStream(self._desk.channels[camera], self._desk.scenes[camera].stages, self._service.stats)

    async def snapshot(self, request: Request) -> Response:
        """One picture of a camera."""
        channel = self._desk.channels.get(request.path_params["camera"])
        return await snapshot(channel) if channel else _nothing("no such camera")

    async def face(self, request: Request) -> Response:
        """The best picture of an event's face."""
        data = await self._read(lambda: self._face(request.path_params["event_id"]))
        return Response(data, media_type="image/jpeg") if data else _nothing("no such picture")

    async def state(self, _request: Request) -> Response:
        """How the node is."""
        state = await self._read(self._census.state)
        return JSONResponse(state | {"password": not self._access.open})

    async def events(self, request: Request) -> Response:
        """Recent events."""
        try:
            limit = int(request.query_params.get("limit", "100"))
            after = request.query_params.get("after")
            row = int(after) if after is not None else None
        except ValueError:
            return _refused("limit and after are whole numbers", HTTPStatus.BAD_REQUEST)
        return JSONResponse(await self._read(functools.partial(self._history.events, limit, row)))

    async def command(self, request: Request) -> Response:
        """Pass a wish of the user on to publish, which checks it, obeys it and tells everybody."""
        json_sent = request.headers.get("content-type", "").partition(";")[0].strip() == "application/json"
        if not json_sent or COMMAND_HEADER not in request.headers or not self.guard.may_change(request.headers):
            return _refused(
                f"a command is JSON, with the header {COMMAND_HEADER}, from this page", HTTPStatus.FORBIDDEN
            )
        try:
            wish = json.loads(await _body(request))
            target, what, payload = (str(wish[key])[:100] for key in ("target", "what", "payload"))
        except (ValueError, KeyError, TypeError, RecursionError):
            return _refused("a command has target, what and payload", HTTPStatus.BAD_REQUEST)
        problem = self._problem(target, what, payload)
        if problem:
            return _refused(problem, HTTPStatus.BAD_REQUEST)
        if self._desk.switches_away():
            return _refused("publish is away, which obeys commands; try again later", HTTPStatus.SERVICE_UNAVAILABLE)
        self._desk.ask(Command(target, what, payload))
        self._service.stats.count("commands")
        return JSONResponse({"ok": True}, HTTPStatus.ACCEPTED)

    async def metrics(self, _request: Request) -> Response:
        """For Prometheus."""
        from services.view import metrics  # only a node that is scraped pays for the library

        state = await self._read(self._census.state)
        return Response(metrics.render(state), headers={"content-type": metrics.CONTENT_TYPE})

    async def health(self, _request: Request) -> Response:
        """That this process serves; says nothing about the node to strangers."""
        return PlainTextResponse("ok\n")

    async def _read(self, function: Callable[[], Value]) -> Value:
        return await asyncio.get_running_loop().run_in_executor(self._reader, function)

    def _face(self, event_id: str) -> bytes | None:
        path = self._history.face(event_id)
        try:
            return path.read_bytes() if path else None
        except OSError:
            return None  # it was replaced or removed just now

    def _problem(self, target: str, what: str, payload: str) -> str:
        """Why a command makes no sense; empty for a good one."""
        if what == "restart":
            return "" if target in self._targets and payload == "PRESS" else "restart: a process, and PRESS"
        if what not in SWITCHES or target not in self._desk.scenes:
            return f"a camera has {', '.join(SWITCHES)}; a process has restart"
        if what != "detect_fps":
            return "" if payload in {"ON", "OFF"} else f"{what}: ON or OFF"
        try:
            return "" if 0 <= float(payload) <= MAX_FPS else f"detect_fps: 0 to {MAX_FPS:.0f}"
        except ValueError:
            return "detect_fps: a number"

    def _file(self, name: str, headers: Headers) -> Response:
        fixed = {"etag": self._tags[name], "cache-control": "no-cache"}
        if headers.get("if-none-match") == self._tags[name]:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=fixed)
        kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0]
        return Response(self._files[name], headers=fixed, media_type=kind)

    def _login_page(self, text: str, status: HTTPStatus, headers: dict[str, str] | None = None) -> Response:
        page = self._files["login.html"].replace(b"{{message}}", text.encode())
        return Response(page, status, headers, media_type="text/html")


async def _body(request: Request) -> bytes:
    """The body of a request, cut when it is longer than any of ours."""
    body = b""
    with contextlib.suppress(ClientDisconnect):  # half of it is as good as none
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return b""
    return body


def _nothing(text: str) -> Response:
    return JSONResponse({"error": text}, HTTPStatus.NOT_FOUND)


def _refused(text: str, status: HTTPStatus) -> Response:
    return JSONResponse({"error": text}, status)
