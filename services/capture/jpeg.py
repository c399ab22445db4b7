"""JPEG pictures of cameras that send motion JPEG, decoded by PyAV."""

from __future__ import annotations

import av
import av.error


class JpegDecoder:
    """Decodes one picture at a time."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("mjpeg", "r")

    def decode(self, data: bytes) -> av.VideoFrame | None:
        """The picture; None when it is damaged."""
        try:
            pictures = self._codec.decode(av.Packet(data))
        except av.error.FFmpegError:
            return None
        for picture in pictures:
            if isinstance(picture, av.VideoFrame) and not picture.is_corrupt:
                return picture
        return None
