"""Clips that PyAV opens and cannot give pictures of."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from common.errors import DeviceError
from common.settings import CameraSettings
from common.stats import Stats
from services.capture.file import FileSource


def clip(path: Path, **metadata: str) -> bytes:
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata)
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


def source(path: Path) -> FileSource:
    return FileSource(str(path), CameraSettings(source="file:x"), Stats(), paced=False)


def test_a_codec_that_nothing_decodes_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    path.write_bytes(clip(path).replace(b"V_MPEG4/ISO/ASP", b"V_NONE4/ISO/ASP"))
    with pytest.raises(DeviceError, match="cannot be decoded here"):
        source(path).open()


def test_a_title_that_is_no_text_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip(path, title="caffee").replace(b"caffee", b"caf\xcd\xff!"))
    opened = source(path)
    assert opened.open().width == 64
    opened.close()
