"""The process: hears the bus, keeps the picture up to date, and shows it as fast as the display takes pictures."""

from __future__ import annotations

import logging
import time

from common.bus import Receiver
from common.controls import load_controls
from common.drawing.messages import pass_on
from common.drawing.scene import Scene
from common.errors import DeviceError
from common.service import Service
from services.screen.board import Board, warm_up
from services.screen.output import Output, Resized, make_output

WAIT_MS = 100
RETRY_S = 1.0  # between two tries to get the display; a try costs a few milliseconds
OPEN_GRACE_S = 20.0  # a display that is asked what it can show may take seconds

log = logging.getLogger(__name__)


def main(service: Service) -> None:
    """Run until asked to end."""
    if not service.settings.optional:
        while not service.stopping:
            service.bus.wait(WAIT_MS)
            service.beat("waiting", "screen.output is none")
        return
    with service.grace(OPEN_GRACE_S):  # libraries are loaded here
        screen = Screen(service, make_output(service.settings.screen))
    try:
        while not service.stopping:
            screen.turn()
    finally:
        screen.close()


class Screen:
    """What the loop does: get the display, hear everything, show the newest picture."""

    def __init__(self, service: Service, output: Output) -> None:
        self._service, self._output = service, output
        settings, bus = service.settings, service.bus
        wished = settings.screen.camera
        names = [wished] if wished is not None else list(settings.cameras)
        controls = load_controls(settings)
        self._scenes = {name: Scene(settings, name, controls[name], service.stats) for name in names}
        self._frames = bus.subscriber("frames", names)
        self._states = bus.subscriber("camera", names)
        self._tracks = bus.subscriber("tracks")
        self._controls = bus.subscriber("control")
        self._board: Board | None = None
        self._retry_at = 0.0
        self._why = "the display is not open yet"
        self._stale = False  # the board has changed and is not on screen

    def turn(self) -> None:
        """Wait for something to do, at most a tenth of a second, and do it."""
        board = self._board
        self._service.bus.wait(WAIT_MS, *(self._worth_waking() if board else []), fds=self._fds())
        self._hear()
        try:
            if board is None:
                self._open()
            else:
                self._show(board)
        except Resized:
            self._settle(self._output.open())
        except DeviceError as error:
            self._lose(str(error))
        if self._board is None:
            self._service.beat("waiting", self._why)
        else:
            self._service.beat("running", "")

    def close(self) -> None:
        """Give the display back."""
        self._output.close()
        for scene in self._scenes.values():
            scene.rest()

    def _open(self) -> None:
        now = time.monotonic()
        if now < self._retry_at:
            return
        self._retry_at = now + RETRY_S
        with self._service.grace(OPEN_GRACE_S):
            self._settle(self._output.open())
            warm_up()

    def _settle(self, size: tuple[int, int]) -> None:
        """A surface of this size is there."""
        if self._board is not None:
            self._board.close()
        self._board = Board(list(self._scenes.values()), size)
        self._stale = True
        log.info("shown on=%s", self._output.name)
        self._service.stats.gauge("width", size[0])
        self._service.stats.gauge("height", size[1])

    def _lose(self, why: str) -> None:
        """No display: wait, and say why."""
        self._why, self._retry_at = why, time.monotonic() + RETRY_S
        self._output.close()
        if self._board is not None:
            self._board.close()
            self._board = None
            self._service.stats.count("lost")
        for scene in self._scenes.values():
            scene.rest()

    def _show(self, board: Board) -> None:
        """Show what is new, once the display has taken the last one; what comes in between is skipped."""
        if not self._output.ready():
            return
        fresh = board.update()
        if fresh is None and not self._stale:
            return
        self._output.show(board.picture)
        self._stale = False
        now_ns = time.monotonic_ns()
        self._service.stats.count("shown")
        for captured_ns in fresh or []:
            self._service.stats.latency("show", max(0, now_ns - captured_ns))

    def _fds(self) -> list[int]:
        return [self._output.fd] if self._board is not None and self._output.fd is not None else []

    def _worth_waking(self) -> list[Receiver]:
        ends = [self._tracks, self._controls]
        if any(scene.follows_frames for scene in self._scenes.values()):
            ends.append(self._frames)
        return ends

    def _hear(self) -> None:
        pass_on(self._scenes, self._controls, self._states, self._frames, self._tracks)
