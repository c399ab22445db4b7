"""`vedette replay`: sends every frame of a clip through the real processes, and writes one line a frame."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import yaml

from common.bus import Bus
from common.config import find, load
from common.errors import ConfigError, DeviceError
from common.settings import Settings
from common.wire import STATE_NAMES, CameraState, TrackFrame
from tools.demo.demo import last_words, private_directory
from tools.models.ready import pull_if_missing
from tools.supervisor.node import node

if TYPE_CHECKING:
    from rich.progress import Progress

CAMERA = "clip"
KEPT = ("infer", "track", "log_level")  # of the user's settings
WAIT_MS = 200
SILENT_S = 60.0  # without a frame for so long, it will not come
EXIT_GOOD, EXIT_INCOMPLETE = 0, 1


def run_replay(file: Path | None, clip: Path | str, out: Path) -> int:
    """Replay a clip.

    Args:
        file: Settings to take model and tracker from; None: those in the current folder, if any.
        clip: A video file, or a source that ends, as the settings name it (`still:photo.jpg?frames=300`).
        out: Where the lines go.

    Returns:
        Exit code: 0 when every frame came through, else 1.

    Raises:
        ConfigError: No such clip, or the output cannot be written.
        DeviceError: The clip cannot be played, or the node died.
    """
    if isinstance(clip, Path) and not clip.is_file():
        raise ConfigError(f"clip {clip}: no such file")
    for number in (signal.SIGINT, signal.SIGTERM):  # also when started in the background, where SIGINT is ignored
        signal.signal(number, signal.default_int_handler)
    with private_directory("vedette-replay-") as directory:
        settings = _settings(file, clip, directory)
        pull_if_missing(settings)
        try:
            lines = out.open("w", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--out {out}: {error.strerror}") from error
        with lines, Bus(settings.runtime_dir) as bus, node(settings, directory) as alive:
            written, newest = _write(_frames(bus, alive), lines)
        if written == newest and written:
            return EXIT_GOOD
        print(f"vedette: {newest - written} of {newest} frames are missing\n{last_words(directory)}", file=sys.stderr)
    return EXIT_INCOMPLETE


def line(frame: TrackFrame, nominal_fps: float) -> dict[str, Any]:
    """A frame as it is written: the boxes that a viewer is shown.

    `t` is when the frame is complete, in seconds from the start of the clip: its own time stamp (the first one's is 0)
    and one frame period.
    """
    period_s = 1 / nominal_fps if nominal_fps > 0 else 0.0
    tracks = [
        {
            "id": int(frame.ids[row]),
            "box": [round(float(value), 2) for value in frame.boxes[row]],
            "score": round(float(frame.scores[row]), 4),
            "state": STATE_NAMES[frame.states[row]],
        }
        for row in frame.shown.nonzero()[0]
    ]
    return {"frame": frame.frame.seq, "t": round(frame.frame.media_ns / 1e9 + period_s, 4), "tracks": tracks}


def _settings(file: Path | None, clip: Path | str, directory: Path) -> Settings:
    """A node for the clip alone, with model and tracker of the user's settings."""
    tree: dict[str, Any] = {}
    with contextlib.suppress(ConfigError) if file is None else contextlib.nullcontext():
        file = file or find()
        load(file)  # says what is wrong
        tree = {key: value for key, value in yaml.safe_load(file.read_text(encoding="utf-8")).items() if key in KEPT}
    path = directory / "vedette.yml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    source = f"file:{clip.resolve()}" if isinstance(clip, Path) else clip
    own: dict[str, Any] = {
        "node": "replay",
        "replay": True,
        "cameras": {CAMERA: {"source": source, "loop": False}},
        "state_dir": str(directory / "state"),
        "runtime_dir": str(directory / "run"),
    }
    return load(path, own)


def _frames(bus: Bus, alive: Callable[[], bool]) -> Iterator[tuple[TrackFrame | None, CameraState | None]]:
    """What track and capture tell, until the clip is over and its last frame was heard.

    Raises:
        DeviceError: The clip cannot be played, or the node died, or is silent for a minute.
    """
    tracks, cameras = bus.subscriber("tracks"), bus.subscriber("camera", [CAMERA])
    heard, last, silent_since = 0, None, time.monotonic()
    while last is None or heard < last:
        if not alive():
            raise DeviceError("the node ended in the middle of the clip")
        bus.wait(WAIT_MS, tracks, cameras)
        for frame in tracks.drain():
            heard, silent_since = max(heard, frame.frame.seq), time.monotonic()
            yield frame, None
        for state in cameras.drain():
            yield None, state
            if state.status == "ended":
                last = state.seq
            elif state.status == "offline" and heard == 0 and state.reason not in {"", "starting"}:
                raise DeviceError(f"the clip cannot be played: {state.reason}")
        if time.monotonic() - silent_since > SILENT_S:
            raise DeviceError(f"no frame came through for {SILENT_S:.0f} s; the last one was {heard}")


def _write(frames: Iterator[tuple[TrackFrame | None, CameraState | None]], out: TextIO) -> tuple[int, int]:
    """Write the lines in order; returns how many, and the number of the last frame of the clip."""
    written = newest = last = 0
    nominal_fps = 0.0
    waiting: list[TrackFrame] = []  # until capture has told its rate, which it does once a second
    with _progress() as progress:
        task = progress.add_task("frames", total=None)
        for frame, state in frames:
            if state is not None:
                nominal_fps, newest = state.nominal_fps or nominal_fps, max(newest, state.seq)
            elif frame is not None and frame.frame.seq > last:
                last = frame.frame.seq
                waiting.append(frame)
            if state is None and not nominal_fps:
                continue
            for ready in waiting:
                out.write(json.dumps(line(ready, nominal_fps)) + "\n")
            written += len(waiting)
            waiting.clear()
            progress.update(task, completed=written)
    return written, max(newest, written)


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    return Progress(
        "{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=Console(stderr=True)
    )
