"""Requests and answers of RTSP 1.0 (RFC 2326) on a connection, mixed with interleaved packets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from common.errors import WireError

Headers = Mapping[str, str | tuple[str, ...]]  # several values: several lines

HEAD_BYTES = 16 * 1024  # a longer head is an attack
BODY_BYTES = 64 * 1024
VERSION = "RTSP/1.0"
REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed",
    453: "Not Enough Bandwidth", 454: "Session Not Found", 455: "Method Not Valid in This State",
    461: "Unsupported Transport", 503: "Service Unavailable", 505: "RTSP Version Not Supported",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer.

    Attributes:
        start: Three words of its first line.
        headers: By lower-case name.
        body: Bytes after the head.
    """

    start: tuple[str, str, str]
    headers: Mapping[str, str]
    body: bytes


async def read(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None for an interleaved packet, whose content (receiver reports) says nothing to us.

    Raises:
        WireError: The bytes are none of both.
        asyncio.IncompleteReadError: The other side has closed.
    """
    first = await reader.readexactly(1)
    if first == b"$":
        head = await reader.readexactly(3)
        await reader.readexactly(int.from_bytes(head[1:], "big"))
        return None
    try:
        head = first + await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise WireError("rtsp: head too long") from error
    lines = head.decode("utf-8", "replace").strip().split("\r\n")
    words = lines[0].split(" ", 2)
    if len(words) != 3 or VERSION[:5] not in lines[0]:
        raise WireError("rtsp: not a line of RTSP")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_BYTES:
        raise WireError(f"rtsp: a body of {length[:20]} bytes")
    body = await reader.readexactly(int(length))
    return Message((words[0], words[1], words[2]), headers, body)


def compose(first: str, headers: Headers, body: bytes = b"") -> bytes:
    """Bytes of a message."""
    lines = [first]
    for name, values in headers.items():
        lines += [f"{name}: {value}" for value in ([values] if isinstance(values, str) else values)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(status: int, headers: Headers, body: bytes = b"") -> bytes:
    """Bytes of an answer."""
    return compose(f"{VERSION} {status} {REASONS[status]}", headers, body)
