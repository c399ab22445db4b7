"""A clip in which a face comes and goes every few seconds: many short events, for what runs long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, FPS = 1280, 720, 15
SHOWN_S, EMPTY_S, ROUNDS = 2.5, 3.2, 6  # with and without a face (longer than trackers remember), and how often


def write_comings(clip: Path, target: Path) -> Path:
    """Cut a clip with a face into rounds with and without it, at 1280x720.

    Args:
        clip: Video that shows a face all the time.
        target: File to write.
    """
    import cv2

    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "26"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        faces = _pictures(clip)
        empty = np.full((HEIGHT, WIDTH, 3), 96, np.uint8)
        for _ in range(ROUNDS):
            shown = [cv2.resize(next(faces), (WIDTH, HEIGHT)) for _ in range(int(SHOWN_S * FPS))]
            for picture in [*shown, *[empty] * int(EMPTY_S * FPS)]:
                frame = av.VideoFrame.from_ndarray(np.asarray(picture, np.uint8), "bgr24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return target


def _pictures(clip: Path) -> Iterator[NDArray[np.uint8]]:
    """Every picture of a clip, again and again."""
    while True:
        with av.open(str(clip)) as container:
            for picture in container.decode(video=0):
                yield np.asarray(picture.to_ndarray(format="bgr24"), np.uint8)
