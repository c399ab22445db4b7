"""`file:clip.mp4`: any video that PyAV reads, looped or once, paced by its own time stamps or by `fps`.

The next picture is decoded ahead by a thread of the ordinary policy: in the loop, which is real-time, decoding would
interrupt the worker that has just been given the picture before.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

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
WAIT_S = 0.1  # for a picture that is still being decoded; the service's heart must beat
MOST_DAMAGE = 1000  # unreadable places in one file, after which it counts as ended


class Decoded(NamedTuple):
    """A picture.

    Attributes:
        picture: As the decoder gives it.
        first: True at the beginning of a round.
    """

    picture: av.VideoFrame
    first: bool


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
        self._thread: ThreadPoolExecutor | None = None
        self._ahead: Future[Decoded] | None = None
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
        self._frames = self._pictures(self._container)
        picture = next(self._frames, None)
        if picture is None:
            raise DeviceError(f"{self._path}: no picture could be decoded")
        self._begin(picture)
        self._geometry = picture_geometry(picture.width, picture.height, picture.format.name)
        self._thread = ThreadPoolExecutor(1, "decode")
        self._ahead = self._thread.submit(self._decode, self._container)
        return self._geometry

    def wait(self) -> bool:
        """Wait until the next picture is due."""
        picture = self._next or self._take()
        if picture is None:
            return False
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
        """Close the file, as soon as the decoder is not in it."""
        container, self._container = self._container, None
        thread, self._thread = self._thread, None
        self._next = self._ahead = None
        if container is None:
            return
        if thread is None:
            self._end(container)
            return
        thread.submit(self._end, container)
        thread.shutdown(wait=False)

    def _end(self, container: av.container.InputContainer) -> None:
        self._frames = iter(())  # it holds this object, which would hold the decoder until the next garbage collection
        container.close()

    def _take(self) -> av.VideoFrame | None:
        """The picture that was decoded ahead, and on to the one behind it; None: not yet."""
        if self._ahead is None or self._thread is None or self._container is None:
            return None
        if not wait([self._ahead], WAIT_S).done:
            return None
        picture, first = self._ahead.result()
        self._ahead = self._thread.submit(self._decode, self._container)
        if first:
            self._begin(picture)
        self._next = picture
        return picture

    def _begin(self, picture: av.VideoFrame) -> None:
        self._next, self._number, self._first_pts = picture, 0, None
        self._pacer.restart()

    def _decode(self, container: av.container.InputContainer) -> Decoded:
        """The next picture; the only user of the file once it is open.

        Raises:
            EndOfStream: There is none.
        """
        picture, first = next(self._frames, None), False
        if picture is None and self._loop:
            with contextlib.suppress(av.error.FFmpegError):
                container.seek(0)
            self._frames = self._pictures(container)
            picture, first = next(self._frames, None), True
        if picture is None:
            raise EndOfStream(f"{self._path}: played to its end")
        return Decoded(picture, first)

    def _pictures(self, container: av.container.InputContainer) -> Iterator[av.VideoFrame]:
        """All pictures from here; damaged packets are counted and passed over."""
        for _ in range(MOST_DAMAGE):
            try:
                for packet in container.demux(container.streams.video[0]):
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
