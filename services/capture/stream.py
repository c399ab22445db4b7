"""`rtsp://...`, `http://...`: a network camera. A thread decodes all, the node takes the newest picture."""

from __future__ import annotations

import threading
import time

import av
import av.error

from common.addresses import shown
from common.errors import DeviceError
from common.pixels import Geometry, PixelFormat, Plane
from common.settings import CameraSettings
from common.stats import Stats
from services.capture.source import EndOfStream, GeometryChanged, Stamp
from services.capture.video import copy_picture, decoder, picture_geometry

OPEN_S, READ_S = 5.0, 3.0  # a camera that is silent for longer is gone
SILENT_S = 5.0  # without a picture although packets may come, or a decoder that does not return
WAIT_S = 0.1
OPTIONS = {"rtsp_transport": "tcp", "fflags": "nobuffer", "flags": "low_delay", "max_delay": "0"}


class StreamSource:
    """Newest picture of a network stream."""

    def __init__(self, address: str, settings: CameraSettings, stats: Stats, paced: bool) -> None:  # noqa: ARG002
        self._url, self._stats, self._fps = settings.source, stats, settings.fps
        self._changed = threading.Condition()
        self._newest: tuple[av.VideoFrame, int] | None = None
        self._taken: tuple[av.VideoFrame, int] | None = None
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None
        self._closed = True
        self._first_ns = self._before_ns = self._heard_ns = 0
        self._geometry = Geometry(0, 0, PixelFormat.I420)
        self.nominal_fps = 0.0

    def open(self) -> Geometry:
        """Connect; the first picture gives the geometry."""
        self._newest = self._taken = self._failure = None
        self._closed = False
        options = OPTIONS if self._url.startswith("rtsp") else {"fflags": "nobuffer"}
        try:
            container = av.open(self._url, options=options, timeout=(OPEN_S, READ_S), metadata_errors="replace")
        except (OSError, av.error.FFmpegError) as error:
            raise DeviceError(f"{self._shown()}: {self._words(error)}") from None
        if not container.streams.video:
            container.close()
            raise DeviceError(f"{self._shown()}: no video in it")
        stream = container.streams.video[0]
        decoder(stream)
        self.nominal_fps = float(self._fps or stream.average_rate or 0)
        self._thread = threading.Thread(target=self._decode, args=(container,), name="decode", daemon=True)
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._failure, OPEN_S)
        newest = self._first()
        if newest is None:
            self._closed = True
            raise DeviceError(f"{self._shown()}: no picture within {OPEN_S:g} s ({self._words(self._failure)})")
        picture = newest[0]
        self._geometry = picture_geometry(picture.width, picture.height, picture.format.name)
        self._first_ns = time.monotonic_ns()
        return self._geometry

    def _first(self) -> tuple[av.VideoFrame, int] | None:
        return self._newest

    def wait(self) -> bool:
        """Wait for a picture that is newer than the last one."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._newest or self._failure, WAIT_S):
                self._complain_of_silence()
                return False
            self._taken, self._newest = self._newest, None
            if self._taken is None:
                if isinstance(self._failure, av.error.EOFError):
                    raise EndOfStream(f"{self._shown()}: the stream ended")
                raise DeviceError(f"{self._shown()}: {self._words(self._failure)}")
        picture, arrived_ns = self._taken
        if (picture.width & ~1, picture.height & ~1) != (self._geometry.width, self._geometry.height):
            raise GeometryChanged(f"{self._shown()}: {picture.width}x{picture.height} from here on")
        if self._fps and arrived_ns - self._before_ns < 0.9e9 / self._fps:
            self._stats.drop("above_fps")
            return False
        return True

    def _complain_of_silence(self) -> None:
        """A stream that goes on without a picture that can be decoded is no better than none."""
        patience_s = max(SILENT_S, 3 / self.nominal_fps if self.nominal_fps else 0.0)
        silent_s = (time.monotonic_ns() - self._heard_ns) / 1e9
        if silent_s > patience_s:
            raise DeviceError(f"{self._shown()}: no picture for {silent_s:.0f} s")

    def read(self, planes: list[Plane]) -> Stamp | None:
        """Copy the picture; its time is that of its arrival."""
        if self._taken is None:
            return None
        picture, arrived_ns = self._taken
        self._taken, self._before_ns = None, arrived_ns
        copy_picture(picture, self._geometry, planes)
        return Stamp(arrived_ns, max(0, arrived_ns - self._first_ns))

    def skip(self) -> None:
        """Go on to the next picture."""
        self._taken = None

    def close(self) -> None:
        """Ask the decoding thread to end; its reads time out by themselves."""
        self._closed = True

    def _decode(self, container: av.container.InputContainer) -> None:
        failure: Exception = DeviceError("the stream ended")
        try:
            for packet in container.demux(container.streams.video[0]):
                try:
                    pictures = packet.decode()
                except av.error.InvalidDataError:
                    self._stats.drop("damaged")
                    continue
                if self._closed:
                    return
                for picture in pictures:
                    self._offer(picture)
        except (OSError, av.error.FFmpegError) as error:
            failure = error
        finally:
            container.close()
            with self._changed:
                self._failure = failure
                self._changed.notify()

    def _offer(self, picture: av.VideoFrame) -> None:
        with self._changed:
            if self._newest is not None:
                self._stats.drop("late")
            self._heard_ns = time.monotonic_ns()
            self._newest = (picture, self._heard_ns)
            self._changed.notify()

    def _words(self, error: Exception | None) -> str:
        """An error without the address, which may hold a password."""
        if error is None:
            return "silent"
        return (getattr(error, "strerror", None) or str(error)).replace(self._url, self._shown())

    def _shown(self) -> str:
        """The address without its secrets."""
        return shown(self._url)
