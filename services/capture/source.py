"""What a source of frames is, and the table of those there are."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from common.addresses import shown
from common.errors import ConfigError, VedetteError
from common.pixels import Geometry, Plane
from common.ring.writer import RingWriter, WriteSlot
from common.settings import CameraSettings
from common.stats import Stats

SOURCES = {
    "file": "services.capture.file:FileSource",
    "http": "services.capture.stream:StreamSource",
    "https": "services.capture.stream:StreamSource",
    "pattern": "services.capture.pattern:PatternSource",
    "picamera2": "services.capture.picamera:Picamera2Source",
    "rtsp": "services.capture.stream:StreamSource",
    "rtsps": "services.capture.stream:StreamSource",
    "still": "services.capture.still:StillSource",
    "v4l2": "services.capture.v4l2:V4l2Source",
}


class EndOfStream(VedetteError):  # noqa: N818 - a state, not a fault
    """The source was played to its end and does not repeat."""


class GeometryChanged(VedetteError):  # noqa: N818 - a state, not a fault
    """The frames have another size or format from now on: open the source again."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a frame was taken.

    Attributes:
        captured_ns: Monotonic time at the source.
        media_ns: Position in the stream by its own stamps, from 0.
    """

    captured_ns: int
    media_ns: int


class Source(Protocol):
    """Where frames come from. One thread uses it.

    Attributes:
        nominal_fps: Rate that it announces, 0 when unknown.
    """

    nominal_fps: float

    def open(self) -> Geometry:
        """Begin; gives size and format of the frames.

        Raises:
            DeviceError: It cannot be opened now; worth another try.
            ConfigError: What was asked for cannot exist.
        """

    def wait(self) -> bool:
        """Wait at most 0.1 s until the next frame is due; False: call again.

        Raises:
            EndOfStream: No more frames.
            GeometryChanged: Open again.
            DeviceError: The device is gone.
        """

    def read(self, planes: list[Plane]) -> Stamp | None:
        """Copy the frame that `wait` announced into the planes; None when it turned out damaged."""

    def skip(self) -> None:
        """Throw the frame away that `wait` announced: there is no room for it."""

    def close(self) -> None:
        """Let go; a second call does nothing."""


@runtime_checkable
class Filler(Source, Protocol):
    """A source whose device can write into the ring by itself.

    Attributes:
        spare_slots: Slots that it will hold beside the one that others have; known once it is open.
    """

    @property
    def spare_slots(self) -> int:
        """See above."""

    def begin(self, ring: RingWriter) -> bool:
        """Start, after `open`; False: it does not, and `read` gives the frames as of any other source.

        Raises:
            DeviceError: It does not start.
        """

    def take(self) -> tuple[WriteSlot, Stamp]:
        """The filled slot that `wait` announced, to be published."""


def make_source(settings: CameraSettings, stats: Stats, *, paced: bool = True) -> Source:
    """Source of a camera's settings.

    Args:
        settings: Of the camera.
        stats: Where it counts what it drops.
        paced: False: give every frame at once, as a replay wants it.

    Raises:
        ConfigError: No such source, or a malformed text.
    """
    scheme, colon, rest = settings.source.partition(":")
    if re.match(r"[\w.]+\.[\w.]+:\w", settings.source) and scheme not in SOURCES:  # module:Class?argument
        name, _, rest = settings.source.partition("?")
        return _load(name)(rest, settings, stats, paced)
    if not colon or scheme not in SOURCES:
        choices = ", ".join(f"{name}:" for name in sorted(SOURCES))
        raise ConfigError(f"source {shown(settings.source)!r}: choose one of {choices}, or module:Class?argument")
    return _load(SOURCES[scheme])(rest, settings, stats, paced)


class Factory(Protocol):
    """What a row of the table names."""

    def __call__(self, address: str, settings: CameraSettings, stats: Stats, paced: bool) -> Source:
        """Source of the text behind the colon; raises ConfigError when that is malformed."""


def _load(name: str) -> Factory:
    module, _, attribute = name.partition(":")
    try:
        factory: Factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"source {name!r}: {error}") from error
    return factory


def copy_planes(into: list[Plane], planes: list[NDArray[np.uint8]]) -> None:
    """Copy whole planes, cut to the ring's size where the camera pads its rows."""
    for target, plane in zip(into, planes, strict=True):
        np.copyto(target, plane[: target.shape[0], : target.shape[1]])
