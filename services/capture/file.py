"""`file:clip.mp4`: any video that PyAV reads, looped or once, paced by its own time stamps or by `fps`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import av
import av.error

from common.errors import ConfigError, DeviceError
from common.pixels import Geometry, Plane
from common.settings import CameraSettings
from common.stats import Stats
from services.capture.pacing import Pacer
from services.capture.source import EndOfStream, GeometryChanged, Stamp
from services.capture.video import copy_picture, decoder, picture_geometry

DEFAULT_FPS = 25.0  # of files that tell none
MOST_DAMAGE = 1000  # unreadable places in one file, after which it counts as ended


class FileSource:
    """Pictures of a video file."""

    def __init__(self, address: str, settings: CameraSettings, stats: Stats, paced: bool) -> None:
        if not address:
            raise ConfigError("source 'file:': a path is missing, like file:clip.mp4")
        self._path, self._loop, self._fps = Path(address).expanduser(), settings.loop and paced, settings.fps
        self._stats, self._pacer = stats, Pacer(stats, paced=paced)
        self._container: av.container.InputContainer | None = None
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._next: av.VideoFrame | None = None
        self._number = 0
        self.nominal_fps = 0.0

    def open(self) -> Geometry:
        """Open the file and decode its first picture."""
        try:
            self._container = av.open(str(self._path), metadata_errors="replace")
        except (OSError, av.error.FFmpegError) as error:
            raise DeviceError(f"{self._path}: {error.strerror or error}") from error
        if not self._container.streams.video:
            raise DeviceError(f"{self._path}: no video in it")
        stream = self._container.streams.video[0]
        decoder(stream)
        self.nominal_fps = float(self._fps or stream.average_rate or DEFAULT_FPS)
        self._begin()
        self._next = next(self._frames, None)
        if self._next is None:
            raise DeviceError(f"{self._path}: no picture could be decoded")
        self._geometry = picture_geometry(self._next.width, self._next.height, self._next.format.name)
        return self._geometry

    def wait(self) -> bool:
        """Wait until the next picture is due."""
        if self._next is None:
            self._next = self._decode()
        picture = self._next
        if (picture.width & ~1, picture.height & ~1) != (self._geometry.width, self._geometry.height):
            raise GeometryChanged(f"{self._path}: {picture.width}x{picture.height} from here on")
        due = self._pacer.due(self._media_ns(), int(1e9 / self.nominal_fps))
        if due < 0:
            self.skip()
        return due == 0

    def read(self, planes: list[Plane]) -> Stamp | None:
        """Copy the picture."""
        if self._next is None:
            return None
        copy_picture(self._next, self._geometry, planes)
        stamp = Stamp(time.monotonic_ns(), self._media_ns())
        self.skip()
        return stamp

    def skip(self) -> None:
        """Go on to the next picture."""
        self._next = None
        self._number += 1

    def close(self) -> None:
        """Close the file."""
        self._frames, self._next = iter(()), None
        if self._container is not None:
            self._container.close()
            self._container = None

    def _decode(self) -> av.VideoFrame:
        picture = next(self._frames, None)
        if picture is None and self._loop:
            with contextlib.suppress(av.error.FFmpegError):
                if self._container is not None:
                    self._container.seek(0)
            self._begin()
            picture = next(self._frames, None)
        if picture is None:
            raise EndOfStream(f"{self._path}: played to its end")
        return picture

    def _begin(self) -> None:
        self._number, self._first_pts = 0, None
        self._pacer.restart()
        self._frames = self._pictures()

    def _pictures(self) -> Iterator[av.VideoFrame]:
        """All pictures from here; damaged packets are counted and passed over."""
        if self._container is None:
            return
        for _ in range(MOST_DAMAGE):
            try:
                for packet in self._container.demux(self._container.streams.video[0]):
                    yield from self._decoded(packet)
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self._stats.drop("damaged")
                continue  # an error ends a demuxer's iteration, not the file
            return

    def _decoded(self, packet: av.Packet[av.VideoStream]) -> list[av.VideoFrame]:
        try:
            return [picture for picture in packet.decode() if isinstance(picture, av.VideoFrame)]
        except av.error.EOFError:
            raise
        except av.error.FFmpegError:
            self._stats.drop("damaged")
            return []

    def _media_ns(self) -> int:
        """Position of the next picture: by its own stamp, by its number where it has none or `fps` is set."""
        picture = self._next
        if self._fps or picture is None or picture.pts is None or picture.time_base is None:
            return int(self._number * 1e9 / self.nominal_fps)
        if self._first_pts is None:
            self._first_pts = picture.pts
        return int((picture.pts - self._first_pts) * picture.time_base * 1_000_000_000)

    _first_pts: int | None = None
