"""Pictures become H.264: the first encoder that really opens, hardware before software."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from common.drawing.opencv import opencv
from common.errors import DeviceError
from common.pixels import Plane
from common.settings import RtspSettings
from services.view.rtsp.units import Unit, unit_of

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

KEY_S = 2.0  # a key picture at least so often: who has lost one waits no longer
TRIAL_PICTURES = 8  # an encoder that has put out nothing after so many keeps too many back for a live picture
SOFTWARE = "libx264"
HARDWARE = ("h264_v4l2m2m", "h264_nvenc", "h264_qsv", "h264_vaapi", "h264_videotoolbox")
OPTIONS = {
    SOFTWARE: {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1", "crf": "26", "sc_threshold": "0"},
    "h264_nvenc": {"preset": "p1", "tune": "ull", "zerolatency": "1", "delay": "0", "forced-idr": "1"},
    "h264_qsv": {"preset": "veryfast", "async_depth": "1", "forced_idr": "1"},
}  # fmt: skip

log = logging.getLogger(__name__)
refused: dict[str, str] = {}  # encoders that did not open on this machine, and why


class Encoder:
    """Encodes pictures of one size.

    Attributes:
        name: Of the encoder in use.
        size: Width and height.
    """

    def __init__(self, size: tuple[int, int], settings: RtspSettings) -> None:
        """Open the first encoder that works.

        Raises:
            DeviceError: None does.
        """
        self.size, self._settings = size, settings
        self._stamp_ns = self._key_ns = 0
        self.name, self._codec = self._choose()

    def encode(self, pixels: Plane, stamp_ns: int, *, key: bool) -> list[Unit]:
        """Units that are ready now, mostly the one of this picture.

        Args:
            pixels: BGR, of this encoder's size.
            stamp_ns: When it was captured; a time that does not rise is moved on a little.
            key: Make a key picture, for somebody who has just come.

        Raises:
            DeviceError: The encoder has failed.
        """
        self._stamp_ns = stamp_ns = max(stamp_ns, self._stamp_ns + 100_000)
        key = key or stamp_ns - self._key_ns > KEY_S * 1e9
        units = self._put(self._codec, pixels, stamp_ns, key=key)
        if any(unit.is_key for unit in units):
            self._key_ns = stamp_ns
        return units

    def _choose(self) -> tuple[str, VideoCodecContext]:
        import av

        wished = self._settings.encoder
        last = ""
        names = (*HARDWARE, SOFTWARE) if wished == "auto" else (wished, SOFTWARE)
        for name in dict.fromkeys(names):
            if name in refused:
                continue
            try:
                return name, self._open(name)
            except (DeviceError, av.FFmpegError, ValueError) as error:
                if name != SOFTWARE:  # that one may lack memory now and have it later
                    refused[name] = str(error)
                last = str(error)
                level = logging.WARNING if wished == name else logging.DEBUG
                log.log(level, "encoder does not work name=%s error=%s", name, error)
        raise DeviceError(f"no H.264 encoder works: {last}")

    def _open(self, name: str) -> VideoCodecContext:
        """An encoder that has proved itself on a few pictures.

        Raises:
            DeviceError: It opened, but put out no key picture with parameter sets.
        """
        trial = self._make(name)
        blank = np.zeros((self.size[1], self.size[0], 3), np.uint8)
        for index in range(TRIAL_PICTURES):
            for unit in self._put(trial, blank, (index + 1) * 40_000_000, key=index == 0):
                if unit.is_key and unit.parameters:
                    return self._make(name)
        raise DeviceError(f"no key picture within {TRIAL_PICTURES} pictures")

    def _make(self, name: str) -> VideoCodecContext:
        import av

        codec = av.VideoCodecContext.create(name, "w")
        if not isinstance(codec, av.VideoCodecContext):
            raise DeviceError(f"{name} encodes no video")
        codec.width, codec.height = self.size
        codec.pix_fmt = "yuv420p"
        codec.time_base = Fraction(1, 1_000_000)
        codec.framerate = Fraction(self._settings.fps).limit_denominator(1001)
        codec.gop_size = max(1, round(KEY_S * self._settings.fps))
        codec.max_b_frames = 0
        codec.thread_count = 1
        rate = f"{self._settings.bitrate_kbps}k"
        if name != SOFTWARE:
            codec.bit_rate = self._settings.bitrate_kbps * 1000
        codec.options = OPTIONS.get(name, {}) | {"maxrate": rate, "bufsize": rate}
        codec.open()
        return codec

    @staticmethod
    def _put(codec: VideoCodecContext, pixels: Plane, stamp_ns: int, *, key: bool) -> list[Unit]:
        import av
        from av.video.frame import PictureType

        frame = _frame(pixels)
        frame.pts, frame.time_base = stamp_ns // 1000, Fraction(1, 1_000_000)
        if key:
            frame.pict_type = PictureType.I
        try:
            return [unit_of(bytes(packet), (packet.pts or 0) * 1000) for packet in codec.encode(frame)]
        except av.FFmpegError as error:
            raise DeviceError(f"encoder {codec.name}: {error}") from error


def _frame(pixels: Plane) -> VideoFrame:
    """The picture in planes; a copy of whole rows, which PyAV's own way does one by one."""
    cv2 = opencv()
    import av

    height, width = pixels.shape[:2]
    packed = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2YUV_I420), np.uint8).reshape(-1)
    frame = av.VideoFrame(width, height, "yuv420p")
    start = 0
    for plane in frame.planes:
        size = plane.width * plane.height
        rows = np.frombuffer(memoryview(plane), np.uint8)[: plane.line_size * plane.height].reshape(
            plane.height, plane.line_size
        )
        rows[:, : plane.width] = packed[start : start + size].reshape(plane.height, plane.width)
        start += size
    return frame
