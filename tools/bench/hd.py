"""A clip in 1280 columns: what a camera sends, where the demo's clip is smaller."""

from __future__ import annotations

from pathlib import Path

import av

WIDTH = 1280
MOST_FRAMES = 300


def hd_clip(clip: Path, folder: Path) -> Path:
    """The first frames of a clip in 1280 columns, as a file of its own; a clip that is so wide stays as it is."""
    with av.open(str(clip)) as source:
        stream = source.streams.video[0]
        if stream.width >= WIDTH:
            return clip
        target = folder / f"{clip.stem}-{WIDTH}.mp4"
        with av.open(str(target), "w") as out:
            made = out.add_stream(
                "libx264", rate=stream.average_rate or 25, options={"preset": "ultrafast", "crf": "20"}
            )
            made.width, made.height = WIDTH, round(stream.height * WIDTH / stream.width / 2) * 2
            made.pix_fmt = "yuv420p"
            for number, frame in enumerate(source.decode(stream)):
                if number == MOST_FRAMES:
                    break
                frame.pts = None
                out.mux(made.encode(frame.reformat(made.width, made.height, "yuv420p")))
            out.mux(made.encode(None))
    return target
