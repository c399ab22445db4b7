"""What each piece of the face tracker brings: every setting turned off alone, on every sequence; a table, a plot."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from common.settings import InferSettings, TrackSettings
from common.wire import FrameHandle
from services.track.face import FaceTracker
from tools.bench import report
from tools.bench.metrics import Judge, row
from tools.bench.mot import Sequence, load_sequences

Array = NDArray[np.float64]
WHOLE = "everything on"
LEAST = 1.0  # points of IDF1 that are worth a word
OFF: dict[str, dict[str, Any]] = {
    WHOLE: {},
    "no camera motion": {"camera": False},
    "no low scores": {"low_score": InferSettings().min_score},
    "no matching by distance": {"reach": 0},
    "no longer memory by distance": {"memory": 0},
    "no like size": {"size_cue": 0},
    "size goes on unseen": {"size_drift": math.inf},
    "no manoeuvre": {"manoeuvre": False},
    "confirmed by hits alone": {"confirm_score": 0, "sure_score": 2},
    "weak faces shown": {"firm_score": 0},
    "no shown prediction": {"coast": 0},
    "forgotten at once (max_age 1)": {"max_age": 1, "memory": 0},
}


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and draw; returns the exit code."""
    parser = report.parser("ablation", "what each piece of the face tracker brings")
    parser.add_argument(
        "--data", type=Path, action="append", required=True, help="folder in MOT format; may be repeated"
    )
    parser.add_argument("--sequences", default="", help="comma list; all without it")
    parser.add_argument("--plot", type=Path, help="write a plot here")
    options = parser.parse_args(arguments)
    folders: list[Path] = options.data
    sequences = list(itertools.chain.from_iterable(load_sequences(folder, options.sequences) for folder in folders))
    rows = measure([sequence for sequence in sequences if sequence.truth is not None])
    report.show(
        "IDF1, one piece off at a time, and where it matters most", [_short(row, rows[0]) for row in rows], None
    )
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": report.machine(), "rows": rows}, indent=1) + "\n")
    if options.plot is not None:
        draw(rows, options.plot)
    return 0


def measure(sequences: list[Sequence]) -> list[dict[str, Any]]:
    """IDF1 of each piece off on each sequence, and on all together."""
    judge = Judge()
    counts: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in OFF}
    for sequence in track(sequences, description="sequences", transient=True):
        motions = camera_motions(sequence)
        for name, settings in OFF.items():
            tracks = _follow(settings, sequence.detections, motions)
            counts[name][sequence.name] = judge.judge(sequence.truth or [], tracks)
    return [
        {"piece": name, **{key: row(part)["IDF1"] for key, part in parts.items()},
         "all": row(judge.together(parts))["IDF1"]}
        for name, parts in counts.items()
    ]  # fmt: skip


def camera_motions(sequence: Sequence) -> list[Array | None]:
    """What infer would tell of the camera, frame by frame; None where there is no clip or nothing to tell."""
    if sequence.clip is None:
        return [None] * len(sequence.detections)
    import cv2

    from services.infer.camera_motion import CameraMotion

    least, camera, clip = TrackSettings().low_score, CameraMotion(), cv2.VideoCapture(str(sequence.clip))
    motions: list[Array | None] = []
    for number, found in enumerate(sequence.detections, 1):
        _, picture = clip.read()
        handle = FrameHandle("clip", 1, 0, number, number, number * 33_333_333, 0, 0)
        boxes = found[found[:, 4] >= least, :4].astype(np.float32)
        since, motion = camera.follow([np.asarray(picture, np.uint8)], handle, boxes, picture.shape[1])
        motions.append(motion.astype(np.float64).reshape(2, 3) if since else None)
    clip.release()
    return motions


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Points of IDF1 that are lost without each piece: one bar for all together, one mark a sequence."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    whole, pieces = rows[0], rows[1:]
    names = [name for name in whole if name not in {"piece", "all"}]
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(pieces) + 1.4))
    for place, piece in enumerate(reversed(pieces)):
        axes.barh(place, whole["all"] - piece["all"], color="#4477aa", height=0.6, zorder=2)
        lost = [whole[name] - piece[name] for name in names]
        axes.plot(lost, [place] * len(lost), "|", color="#222222", markersize=9, zorder=3)
    axes.set_yticks(range(len(pieces)), [str(piece["piece"]) for piece in reversed(pieces)])
    axes.axvline(0, color="#222222", linewidth=0.8)
    axes.set_xscale("symlog", linthresh=5)
    axes.set_xlabel("points of IDF1 lost without it (bar: all together; marks: each sequence)")
    axes.grid(axis="x", color="#dddddd")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _short(row: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """A row for people: all together, and the sequences that lose and gain most without the piece."""
    lost = {name: whole[name] - value for name, value in row.items() if name not in {"piece", "all"}}
    order = sorted(lost, key=lambda name: -lost[name])
    worst = [f"{name} {whole[name]:.0f} -> {row[name]:.0f}" for name in order[:3] if lost[name] >= LEAST]
    best = [f"{name} {whole[name]:.0f} -> {row[name]:.0f}" for name in order[:-3:-1] if lost[name] <= -LEAST]
    return {"piece": row["piece"], "all": row["all"], "loses": "\n".join(worst), "gains": "\n".join(best)}


def _follow(settings: dict[str, Any], frames: list[Array], motions: list[Array | None]) -> list[Array]:
    """Shown tracks of each frame, with the settings of a new node but for these."""
    defaults, start = TrackSettings(), InferSettings().min_score
    node = {
        "max_age": defaults.max_age,
        "min_hits": defaults.min_hits,
        "iou_threshold": defaults.iou_threshold,
        "start_score": start,
        "low_score": min(defaults.low_score, start),
    }
    tracker = FaceTracker(**{**node, **settings})
    return [tracker.update(frame, 1.0, motion) for frame, motion in zip(frames, motions, strict=True)]


if __name__ == "__main__":
    raise SystemExit(main())
