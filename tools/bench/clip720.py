"""A 1280x720 clip with a moving face at 30 frames a second: the demo's, scaled up once and kept in the cache."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av

from common.config import cache_dir
from tools.bench.private import demo_clip

FRAMES = 300


def clip720() -> Path:
    """The clip; made when it is not there."""
    path = cache_dir() / "bench" / "face-720p30.mp4"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    with av.open(str(demo_clip())) as source, av.open(str(temporary), "w") as target:
        stream = target.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "20", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for number, picture in enumerate(source.decode(video=0)):
            if number == FRAMES:
                break
            scaled = picture.reformat(1280, 720, "yuv420p")
            scaled.pts, scaled.time_base = number, Fraction(1, 30)
            target.mux(stream.encode(scaled))
        target.mux(stream.encode(None))
    temporary.replace(path)
    return path
