"""A graphics card as an object: its displays, and pictures in memory that it shows by itself ("dumb buffers")."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
from collections.abc import Iterator
from ctypes import c_uint32
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import DeviceError
from common.pixels import Plane
from services.screen import kms_ioctl as kms

FORMATS = {"RG24": 24, "XR24": 32}  # bits a pixel; the first is what OpenCV has: B, G, R


@dataclass(frozen=True, slots=True)
class Display:
    """A connector with a display, or without one.

    Attributes:
        id: The kernel's number.
        name: As HDMI-A-1.
        connected: A display is there.
        modes: What it can show; of its own choice first.
        encoders: The kernel's numbers of what can drive it.
    """

    id: int
    name: str
    connected: bool
    modes: tuple[kms.ModeInfo, ...]
    encoders: tuple[int, ...]


class Card:
    """An open card. Its first opener is the one that may change what is shown."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            DeviceError: No right, or it drives no display.
        """
        self.path = path
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except PermissionError as error:
            raise DeviceError(f"no right to use {path}: add this user to its group (video)") from error
        except OSError as error:
            raise DeviceError(f"{path}: {error.strerror}") from error
        try:
            dumb = kms.Capability(capability=kms.CAP_DUMB_BUFFER)
            kms.ioctl(self.fd, kms.GET_CAP, dumb)
            kms.ioctl(self.fd, kms.GETRESOURCES, kms.Resources())
        except OSError as error:
            os.close(self.fd)
            raise DeviceError(f"{path}: drives no display ({error.strerror})") from error
        if not dumb.value:
            os.close(self.fd)
            raise DeviceError(f"{path}: shows no pictures from memory")

    def displays(self) -> list[Display]:
        """All connectors; asks the displays what they are, which may take a while."""
        return [self._display(number) for number in self._numbers()[1]]

    def is_connected(self, display: Display) -> bool:
        """True while the display is there, as far as the kernel knows already."""
        modes = (kms.ModeInfo * 1)()  # room for one mode: with none, the kernel would ask the display anew
        answer = kms.Connector(connector_id=display.id, count_modes=1, modes_ptr=ctypes.addressof(modes))
        try:
            kms.ioctl(self.fd, kms.GETCONNECTOR, answer)
        except OSError:
            return False  # the connector itself is gone, as with a dock
        return bool(answer.connection == kms.CONNECTED)

    def is_owner(self) -> bool:
        """True when this opener may change what is shown: no other program does."""
        try:
            kms.ioctl(self.fd, kms.SET_MASTER)
        except OSError:
            return False
        return True

    def crtc_for(self, display: Display) -> int:
        """What can feed the display.

        Raises:
            DeviceError: Nothing can.
        """
        crtcs = self._numbers()[0]
        for encoder in display.encoders:
            answer = kms.Encoder(encoder_id=encoder)
            kms.ioctl(self.fd, kms.GETENCODER, answer)
            fit = [number for index, number in enumerate(crtcs) if answer.possible_crtcs >> index & 1]
            if fit:
                return int(answer.crtc_id) if answer.crtc_id in fit else fit[0]
        raise DeviceError(f"{self.path}: nothing feeds {display.name}")

    def set_mode(self, crtc: int, display: Display, mode: kms.ModeInfo, picture: Picture) -> None:
        """Show a picture on a display.

        Raises:
            DeviceError: Another program owns the screen.
            OSError: The mode or the picture's format does not suit.
        """
        connectors = (c_uint32 * 1)(display.id)
        wish = kms.Crtc(
            set_connectors_ptr=ctypes.addressof(connectors),
            count_connectors=1,
            crtc_id=crtc,
            fb_id=picture.number,
            mode_valid=1,
            mode=mode,
        )
        with self._owned():
            kms.ioctl(self.fd, kms.SETCRTC, wish)

    def flip(self, crtc: int, picture: Picture) -> None:
        """Show a picture from the next refresh on; the card's file becomes readable then.

        Raises:
            DeviceError: Another program owns the screen.
            OSError: Refused.
        """
        with self._owned():
            kms.ioctl(self.fd, kms.PAGE_FLIP, kms.PageFlip(crtc_id=crtc, fb_id=picture.number, flags=kms.FLIP_EVENT))

    def close(self) -> None:
        """Let go; the console comes back by itself."""
        with contextlib.suppress(OSError):  # not the owner
            kms.ioctl(self.fd, kms.DROP_MASTER)  # a mapping that still lives would keep the right otherwise
        os.close(self.fd)

    @contextlib.contextmanager
    def _owned(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise DeviceError(f"another program owns the screen of {self.path} (a desktop or its login?)") from error

    def _numbers(self) -> tuple[list[int], list[int]]:
        """Numbers of the CRTCs and of the connectors."""
        count = kms.Resources()
        kms.ioctl(self.fd, kms.GETRESOURCES, count)
        crtcs, connectors = (c_uint32 * count.count_crtcs)(), (c_uint32 * count.count_connectors)()
        answer = kms.Resources(
            crtc_id_ptr=ctypes.addressof(crtcs),
            connector_id_ptr=ctypes.addressof(connectors),
            count_crtcs=len(crtcs),
            count_connectors=len(connectors),
        )
        kms.ioctl(self.fd, kms.GETRESOURCES, answer)
        return list(crtcs)[: answer.count_crtcs], list(connectors)[: answer.count_connectors]

    def _display(self, number: int) -> Display:
        count = kms.Connector(connector_id=number)
        kms.ioctl(self.fd, kms.GETCONNECTOR, count)
        modes, encoders = (kms.ModeInfo * count.count_modes)(), (c_uint32 * count.count_encoders)()
        answer = kms.Connector(
            connector_id=number,
            modes_ptr=ctypes.addressof(modes),
            encoders_ptr=ctypes.addressof(encoders),
            count_modes=len(modes),
            count_encoders=len(encoders),
        )
        if len(modes):  # else the kernel would ask the display once more
            kms.ioctl(self.fd, kms.GETCONNECTOR, answer)
        ranked = sorted(list(modes)[: answer.count_modes], key=lambda mode: not mode.type & kms.TYPE_PREFERRED)
        kind = kms.CONNECTORS.get(count.connector_type, "Unknown")
        return Display(
            number,
            f"{kind}-{count.connector_type_id}",
            count.connection == kms.CONNECTED,
            tuple(ranked),
            tuple(list(encoders)[: answer.count_encoders]),
        )


class Picture:
    """A picture in memory that the card can show."""

    def __init__(self, card: Card, width: int, height: int, fourcc: str) -> None:
        """Make it, black.

        Raises:
            OSError: The card does not take this format (EINVAL), or has no memory.
        """
        self._card, self.number = card, 0
        self._map: mmap.mmap | None = None
        self._pixels: Plane | None = None
        made = kms.CreateDumb(width=width, height=height, bpp=FORMATS[fourcc])
        kms.ioctl(card.fd, kms.CREATE_DUMB, made)
        self._handle = int(made.handle)
        try:
            wish = kms.FrameBuffer(width=width, height=height, pixel_format=int.from_bytes(fourcc.encode(), "little"))
            wish.handles[0], wish.pitches[0] = made.handle, made.pitch
            kms.ioctl(card.fd, kms.ADDFB2, wish)
            self.number = int(wish.fb_id)
            place = kms.MapDumb(handle=made.handle)
            kms.ioctl(card.fd, kms.MAP_DUMB, place)
            self._map = mapping = mmap.mmap(card.fd, made.size, offset=place.offset)
        except OSError:
            self.close()
            raise
        rows = np.frombuffer(mapping, np.uint8)[: height * made.pitch].reshape(height, made.pitch)
        depth = FORMATS[fourcc] // 8
        self._pixels = rows[:, : width * depth].reshape(height, width, depth)

    def paint(self, picture: Plane) -> None:
        """Write a BGR picture of the same size. The memory is only written: reading it back is slow on some cards."""
        import cv2

        if self._pixels is None:
            return
        if self._pixels.shape[2] == 3:
            np.copyto(self._pixels, picture)
        else:
            cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA, dst=self._pixels)

    def close(self) -> None:
        """Give the memory back."""
        self._pixels = None
        mapping, self._map = self._map, None
        if mapping is not None:
            mapping.close()
        if self.number:
            with contextlib.suppress(OSError):
                kms.ioctl(self._card.fd, kms.RMFB, c_uint32(self.number))
        with contextlib.suppress(OSError):
            kms.ioctl(self._card.fd, kms.DESTROY_DUMB, kms.DestroyDumb(handle=self._handle))


def cards(directory: Path) -> list[Path]:
    """The cards of a machine, in the kernel's order, which says nothing about what they can do.

    Raises:
        DeviceError: There is none.
    """
    found = sorted(directory.glob("card[0-9]*"))
    if not found:
        raise DeviceError(f"no graphics card in {directory}: the kernel has no driver for one")
    return found


def is_refusal(error: OSError) -> bool:
    """True when the card does not take such a picture, and another format may suit."""
    return error.errno in {errno.EINVAL, errno.ENOTSUP, errno.ENOENT, errno.ERANGE}
