"""What every request passes: path prefix, host, origin, session; and the headers of every answer."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

import h11
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.settings import ViewSettings
from services.view.access import SESSION_S, Access

COOKIE = "vedette"
COMMAND_HEADER = "x-vedette"  # a page of another origin cannot send it without being asked first
PUBLIC = ("/login", "/healthz", "/favicon.svg")
PUBLIC_BELOW = "/static/"


class Guard:
    """Wraps the application."""

    def __init__(self, inner: ASGIApp, settings: ViewSettings, access: Access) -> None:
        self._inner, self._settings, self._access = inner, settings, access
        self._root = "/" + settings.root_path.strip("/") if settings.root_path.strip("/") else ""
        own = socket.gethostname().lower()
        self._hosts = {"localhost", own, f"{own}.local", *(name.lower() for name in settings.allowed_hosts)}
        ancestors = " ".join(settings.frame_ancestors) or "'none'"
        self._headers = {
            "content-security-policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
            "connect-src 'self'; form-action 'self'; base-uri 'none'; "
            f"frame-ancestors {ancestors}",
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "cross-origin-opener-policy": "same-origin",
            "permissions-policy": "camera=(), microphone=(), geolocation=()",
        }
        if not settings.frame_ancestors:
            self._headers["x-frame-options"] = "DENY"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        scope = self._without_prefix(scope)
        refusal = self._refusal(scope)
        with contextlib.suppress(h11.LocalProtocolError):  # what came after was no HTTP: that was answered already
            await (refusal or self._inner)(scope, receive, send_with_headers)

    def cookie(self, scope: Scope) -> str:
        """The Set-Cookie header of a new session."""
        secure = scope["scheme"] == "https"
        framed = secure and bool(self._settings.frame_ancestors)
        same_site = "None; Secure; Partitioned" if framed else "Lax; Secure" if secure else "Lax"
        return (
            f"{COOKIE}={self._access.new_session()}; Path={self._root or '/'}; Max-Age={SESSION_S}; "
            f"HttpOnly; SameSite={same_site}"
        )

    def gone_cookie(self) -> str:
        """The Set-Cookie header that ends a session."""
        return f"{COOKIE}=; Path={self._root or '/'}; Max-Age=0; HttpOnly; SameSite=Lax"

    def may_change(self, headers: Headers) -> bool:
        """True when a request that changes something comes from our own page, or from no browser."""
        return self._same_origin(headers) and headers.get("sec-fetch-site", "same-origin") in {"same-origin", "none"}

    def _without_prefix(self, scope: Scope) -> Scope:
        """The path as if there were no reverse proxy, whether that strips the prefix or not."""
        path = scope["path"]
        if self._root and (path == self._root or path.startswith(f"{self._root}/")):
            path = path[len(self._root) :]
            scope = {**scope, "path": path, "raw_path": path.encode()}
        return scope

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that may not pass."""
        headers, path = Headers(scope=scope), scope["path"]
        if path == "":
            return RedirectResponse(f"{self._root}/", HTTPStatus.PERMANENT_REDIRECT)
        host = _host_name(headers.get("host", ""))
        if not self._knows_host(host):
            line = f"view: {{allowed_hosts: [{host or '...'}]}}"
            return PlainTextResponse(
                f"This node is not known as {host!r}. If that is its name, add to the settings:\n\n  {line}\n",
                HTTPStatus.MISDIRECTED_REQUEST,
            )
        embedded = headers.get("sec-fetch-mode", "navigate") != "navigate"
        if headers.get("sec-fetch-site") == "cross-site" and embedded:
            return PlainTextResponse("not from another site", HTTPStatus.FORBIDDEN)
        if self._access.open or path in PUBLIC or path.startswith(PUBLIC_BELOW) or self._is_known(scope, headers):
            return None
        return self._ask_for_password(scope, headers)

    def _ask_for_password(self, scope: Scope, headers: Headers) -> Response:
        if scope["method"] == "GET" and scope["path"] == "/" and "text/html" in headers.get("accept", ""):
            return RedirectResponse("login", HTTPStatus.SEE_OTHER)
        answer = JSONResponse({"error": "a password is needed"}, HTTPStatus.UNAUTHORIZED)
        if "mozilla" not in headers.get("user-agent", "").lower():  # a browser would open a dialogue of its own
            answer.headers["www-authenticate"] = 'Basic realm="vedette", charset="UTF-8"'
        return answer

    def _is_known(self, scope: Scope, headers: Headers) -> bool:
        authorization = headers.get("authorization")
        if authorization is not None:
            return self._access.knows_header(authorization, peer(scope))
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return morsel is not None and self._access.knows_session(morsel.value)

    def _knows_host(self, host: str) -> bool:
        """An address is safe: no name that an attacker points at us stands in it."""
        if host in self._hosts:
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    def _same_origin(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None:
            return True
        try:
            named = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        return named == headers.get("host", "").lower() or _host_name(named) in {
            name.lower() for name in self._settings.allowed_hosts
        }


def peer(scope: Scope) -> str:
    """Address of the other side."""
    return scope["client"][0] if scope.get("client") else ""


def _host_name(host: str) -> str:
    """A Host header without its port, brackets and a final dot."""
    host = host.strip().lower()
    if host.startswith("["):
        address, _, port = host[1:].partition("]")
        return address if not port or port.startswith(":") else host
    return host.partition(":")[0].rstrip(".")
