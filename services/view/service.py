"""The process: one loop that hears the bus and draws, beside the web server's thread."""

from __future__ import annotations

import contextlib
import os
import queue
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from common.bus import Receiver
from common.controls import load_controls
from common.drawing.feed import Feed
from common.drawing.messages import pass_on
from common.drawing.scene import Scene
from common.errors import DeviceError
from common.service import Service
from common.wire import TOPICS, Command
from services.view.access import Access
from services.view.desk import Desk
from services.view.jpeg import JpegSink
from services.view.server import Server
from services.view.viewers import Channel
from services.view.web import application

if TYPE_CHECKING:
    from services.view.rtsp.server import Rtsp

WAIT_MS = 100
IDLE_MS = 180  # without a viewer; the heartbeat wants to come round every 0.2 s
RTSP_STANDING_S = 0.2  # players look at the first pictures to learn the rate: slower ones would keep them for long
MAX_BACKOFF_S = 10.0


def main(service: Service) -> None:
    """Run until asked to end."""
    access = Access(service.settings.view, service.state_dir)  # wrong settings end the process here
    if not service.settings.view.enabled:
        while not service.stopping:
            service.bus.wait(WAIT_MS)
            service.beat("waiting", "view.enabled is false")
        return
    with View(service) as view:
        server = _serve(service, view, access)
        try:
            while server is not None and not service.stopping:
                view.turn()
                if server.failed:
                    raise RuntimeError("the web server's thread has ended or hangs")
                view.check()
                service.beat("running", view.trouble)
        finally:
            view.close()
            if server is not None:
                server.close()


class View:
    """What the loop does: hear everything, pass commands on, let each camera make its picture."""

    def __init__(self, service: Service) -> None:
        self._service = service
        settings, bus = service.settings, service.bus
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        controls = load_controls(settings)
        self._scenes = {name: Scene(settings, name, controls[name], service.stats) for name in settings.cameras}
        self._channels = {name: Channel(self._wake_fd) for name in settings.cameras}
        self._feeds = {name: [self._jpeg_feed(name)] for name in settings.cameras}
        self.rtsp = self._start_rtsp()
        self._frames = bus.subscriber("frames", settings.cameras)
        self._states = bus.subscriber("camera", settings.cameras)
        self._tracks = bus.subscriber("tracks")
        self._controls = bus.subscriber("control")
        self._wishes = bus.pusher("commands")
        self._asked: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._controlled_at = 0.0
        self.desk = Desk(self._scenes, self._channels, self.rtsp, self._ask, self._silent)

    def turn(self) -> None:
        """Wait for something to do, not for long, and do it."""
        watched = [self._scenes[name] for name, feeds in self._feeds.items() if any(feed.is_watched for feed in feeds)]
        self._frames.listen(bool(watched))
        wait_ms = WAIT_MS if watched else IDLE_MS
        self._service.bus.wait(wait_ms, *self._worth_waking(watched), fds=[self._wake_fd])
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake_fd)
        self._hear()
        while not self._asked.empty():
            self._wishes.send(self._asked.get())
        for name, feeds in self._feeds.items():
            for feed in feeds:
                feed.step()
            if not any(feed.is_watched for feed in feeds):
                self._scenes[name].rest()
        self._service.stats.gauge("viewers", sum(channel.viewers for channel in self._channels.values()))

    def close(self) -> None:
        """Send the viewers away and let go of the rings."""
        if self.rtsp is not None:
            self.rtsp.close()
        for channel in self._channels.values():
            channel.close()
        for scene in self._scenes.values():
            scene.rest()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def trouble(self) -> str:
        """What does not work, in words."""
        return f"rtsp: {self.rtsp.problem}" if self.rtsp is not None and self.rtsp.problem else ""

    def check(self) -> None:
        """See to the RTSP server.

        Raises:
            RuntimeError: Its thread has ended, or an encoder hangs.
        """
        if self.rtsp is None:
            return
        if self.rtsp.failed:
            raise RuntimeError("the thread of rtsp has ended, or an encoder hangs")
        self.rtsp.step()

    def _start_rtsp(self) -> Rtsp | None:
        """The server and the pushes, when the settings ask for any; without them not even the library is loaded."""
        settings = self._service.settings
        if not settings.rtsp.enabled and not any(settings.rtsp.push.values()):
            return None
        from services.view.rtsp.server import Rtsp

        rtsp = Rtsp(settings, self._service.stats, self._wake_fd)
        for name, stream in rtsp.streams.items():
            self._feeds[name].append(
                Feed(self._scenes[name], stream, settings.rtsp.width, settings.rtsp.fps, RTSP_STANDING_S)
            )
        return rtsp

    def _jpeg_feed(self, name: str) -> Feed:
        settings, scene = self._service.settings.view, self._scenes[name]
        sink = JpegSink(self._channels[name], settings.quality, self._service.stats, scene.stages)
        return Feed(scene, sink, settings.width, settings.fps)

    def _worth_waking(self, watched: Sequence[Scene]) -> Iterator[Receiver]:
        """Without a viewer nothing is urgent: messages wait for the next look, and frames are not even sent."""
        if watched:
            yield self._tracks
            yield self._controls
        if any(scene.follows_frames for scene in watched):
            yield self._frames

    def _hear(self) -> None:
        if pass_on(self._scenes, self._controls, self._states, self._frames, self._tracks):
            self._controlled_at = time.monotonic()

    def _ask(self, command: Command) -> None:
        self._asked.put(command)
        os.eventfd_write(self._wake_fd, 1)

    def _silent(self) -> bool:
        """True when publish, which obeys commands, is not heard."""
        return time.monotonic() - self._controlled_at > TOPICS["control"].stale_s


def _serve(service: Service, view: View, access: Access) -> Server | None:
    """The running web server; a taken port is tried again, later and later. None when asked to end."""
    settings = service.settings.view
    made = application(service, view.desk, access)
    backoff_s = 0.5
    while not service.stopping:
        try:
            return Server(made, settings.host, settings.port)
        except DeviceError as error:
            retry_at = time.monotonic() + backoff_s
            while time.monotonic() < retry_at and not service.stopping:
                view.turn()
                service.beat("waiting", str(error))
        backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
    return None
