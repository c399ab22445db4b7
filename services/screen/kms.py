"""Output `kms`: a display of this machine without a desktop, through the kernel's mode setting.

Two pictures in turn, synchronous flips, at most one under way. A pulled plug gives no error, so the
connector is looked at.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

from common.errors import DeviceError
from common.pixels import Plane
from common.settings import ScreenSettings
from services.screen import kms_ioctl as kms
from services.screen.kms_card import FORMATS, Card, Display, Picture, cards, is_refusal

LOOK_S = 0.5  # how often the connector is looked at
FLIP_S = 2.0  # a flip that takes longer never comes; the slowest displays refresh 24 times a second


class KmsOutput:
    """A display, full screen."""

    def __init__(self, settings: ScreenSettings, directory: Path = Path("/dev/dri")) -> None:
        self._settings, self._directory = settings, directory
        self._card: Card | None = None
        self._pictures: list[Picture] = []
        self._crtc = self._front = 0  # what feeds the display; which picture is on it
        self._flipped_at = self._look_at = self._due_at = self._period_s = 0.0
        self.fd: int | None = None
        self.name = "kms"

    def open(self) -> tuple[int, int]:
        """Take the first fitting display of any card."""
        reasons = []
        for path in cards(self._directory):
            try:
                card = Card(path)
            except DeviceError as error:
                reasons.append(str(error))
                continue
            try:
                return self._take(card)
            except (DeviceError, OSError) as error:
                self.close()
                reasons.append(str(error))
        raise DeviceError("; ".join(reasons))

    def ready(self) -> bool:
        """True when no flip is under way."""
        now = time.monotonic()
        if self._card is None:
            raise DeviceError("closed")
        if self._flipped_at:
            self._hear()
        if self._flipped_at and now - self._flipped_at > FLIP_S:
            raise DeviceError(f"{self.name}: has not shown a picture for {FLIP_S:g} s")
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            if not self._card.is_connected(self._display):
                raise DeviceError(f"{self.name}: the display was unplugged")
        return not self._flipped_at and now >= self._due_at

    def show(self, picture: Plane) -> None:
        """Paint what is not on screen, and flip."""
        if self._card is None:
            raise DeviceError("closed")
        back = self._pictures[1 - self._front]
        back.paint(picture)
        try:
            self._card.flip(self._crtc, back)
        except OSError as error:
            raise DeviceError(f"{self.name}: {error.strerror}") from error
        now = time.monotonic()
        self._front = 1 - self._front
        self._flipped_at, self._due_at = now, now + self._period_s

    def close(self) -> None:
        """Give the display back to the console."""
        for picture in self._pictures:
            picture.close()
        self._pictures = []
        card, self._card, self.fd = self._card, None, None
        if card is not None:
            card.close()

    def _take(self, card: Card) -> tuple[int, int]:
        self._card = card
        self._display = display = _choose(card, self._settings.connector)
        mode = _mode(display, self._settings.mode)
        self._crtc = card.crtc_for(display)
        size = int(mode.hdisplay), int(mode.vdisplay)
        for fourcc in FORMATS:
            try:
                self._pictures = [Picture(card, *size, fourcc)]
                card.set_mode(self._crtc, display, mode, self._pictures[0])
                self._pictures.append(Picture(card, *size, fourcc))
                break
            except OSError as error:
                for picture in self._pictures:
                    picture.close()
                self._pictures = []
                if not is_refusal(error):
                    raise DeviceError(f"{card.path}: {error.strerror}") from error
        else:
            raise DeviceError(f"{card.path}: takes none of {', '.join(FORMATS)}")
        self.name = f"{display.name} {size[0]}x{size[1]}@{mode.vrefresh} {fourcc} on {card.path.name}"
        self.fd, self._front = card.fd, 0
        self._flipped_at, self._look_at, self._due_at = 0.0, time.monotonic() + LOOK_S, 0.0
        self._period_s = 0.9 / max(1, mode.vrefresh)  # drivers without a refresh of their own flip at once
        return size

    def _hear(self) -> None:
        """Take the events; the one of the flip ends it."""
        try:
            data = os.read(self.fd or 0, 4096)
        except BlockingIOError:
            return
        start = 0
        while start + 8 <= len(data):
            kind, length = struct.unpack_from(kms.EVENT_HEADER, data, start)
            if kind == kms.EVENT_FLIP_COMPLETE:
                self._flipped_at = 0.0
            start += max(8, length)


def _choose(card: Card, wished: str | None) -> Display:
    """The display to use.

    Raises:
        DeviceError: None is connected, or not the wished one.
    """
    displays = card.displays()
    names = ", ".join(display.name for display in displays) or "no connector"
    if wished is not None and wished not in {display.name for display in displays}:
        raise DeviceError(f"{card.path}: no connector {wished} (screen.connector); it has {names}")
    for display in displays:
        if display.connected and display.modes and wished in {None, display.name}:
            return display
    raise DeviceError(f"no display is connected to {card.path} ({wished or names})")


def _mode(display: Display, wished: str | None) -> kms.ModeInfo:
    """The wished mode, else the display's own.

    Raises:
        DeviceError: The display has no such mode.
    """
    if wished is None:
        return display.modes[0]
    size, _, rate = wished.partition("@")
    for mode in display.modes:
        if f"{mode.hdisplay}x{mode.vdisplay}" == size and (not rate or int(rate) == mode.vrefresh):
            return mode
    offered = dict.fromkeys(f"{mode.hdisplay}x{mode.vdisplay}@{mode.vrefresh}" for mode in display.modes)
    raise DeviceError(f"{display.name}: no mode {wished} (screen.mode); it has {', '.join(offered)}")
