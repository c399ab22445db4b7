"""MJPEG streams and snapshots: each viewer takes the newest picture when the last one has left."""

from __future__ import annotations

import asyncio
import contextlib
import time
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from common.drawing.stages import Stages
from common.stats import Stats
from services.view.viewers import Channel, Picture, Viewer

STUCK_S = 30.0  # a viewer that takes no byte for so long is gone
SNAPSHOT_S = 3.0  # longest wait for a picture
BOUNDARY = b"--frame\r\n"


class MjpegStream(Response):
    """An endless multipart answer."""

    media_type = "multipart/x-mixed-replace; boundary=frame"

    def __init__(self, channel: Channel, stages: Stages, stats: Stats) -> None:
        super().__init__()
        del self.headers["content-length"]
        self.headers["x-accel-buffering"] = "no"
        self._channel, self._stages, self._stats = channel, stages, stats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send pictures until the viewer is gone or the node ends."""
        await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        with self._channel.watch() as viewer:
            gone = asyncio.create_task(_gone(receive))
            feed = asyncio.create_task(self._feed(viewer, send))
            try:
                await asyncio.wait({gone, feed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                feed.cancel()
                await asyncio.gather(gone, feed, return_exceptions=True)

    async def _feed(self, viewer: Viewer, send: Send) -> None:
        number, part = 0, BOUNDARY
        while True:
            async with asyncio.timeout(STUCK_S):
                await send({"type": "http.response.body", "body": part, "more_body": True})
                # Waits until what went before has left, so that the picture chosen next is the newest.
                await send({"type": "http.response.body", "body": b"", "more_body": True})
            picture = await viewer.next(number)
            if picture is None:
                break
            number = picture.number
            part = _part(picture)
            self._note(picture)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _note(self, picture: Picture) -> None:
        """Count how long the picture took to its first viewer; it is handed to the socket in this very turn."""
        channel = self._channel
        if picture.captured_ns and picture.number > channel.sent:
            channel.sent = picture.number
            now = time.monotonic_ns()
            self._stats.latency("send", now - picture.captured_ns)
            self._stages.add("send", now - picture.encoded_ns)
            self._stages.add("total", now - picture.captured_ns)


async def snapshot(channel: Channel) -> Response:
    """The newest picture; a standing one, with status 503, when the camera has none."""
    with channel.watch() as viewer:
        picture = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SNAPSHOT_S):
                picture = await viewer.next()
    if picture is None:
        return Response("no picture\n", HTTPStatus.SERVICE_UNAVAILABLE, media_type="text/plain")
    status = HTTPStatus.OK if picture.captured_ns else HTTPStatus.SERVICE_UNAVAILABLE
    return Response(picture.jpeg, status, media_type="image/jpeg")


def _part(picture: Picture) -> bytes:
    """One part and the boundary after it: browsers show a part when they see where it ends.

    `X-Timestamp` is when the frame was captured, in seconds since 1970.
    """
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n"
    if picture.captured_ns:
        head += f"X-Timestamp: {time.time() - (time.monotonic_ns() - picture.captured_ns) / 1e9:.6f}\r\n"
    return b"".join((head.encode(), b"\r\n", picture.jpeg, b"\r\n", BOUNDARY))


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
