"""What looking for small faces in parts of the frame brings beside the usual picture: faces, tracks, time."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from common.errors import ConfigError
from common.pixels import Geometry, PixelFormat, Plane
from common.settings import InferSettings, TrackSettings
from services.infer.detector import Detections, Detector, build_detector
from services.infer.regions import Regions
from tools.bench import report
from tools.bench.metrics import Judge, iou, row
from tools.bench.mot import Labelled, Sequence, load_sequences
from tools.bench.track import follow
from tools.bench.trackers import ours

Array = NDArray[np.float64]
SMALL_PX = 40.0  # longer side of a face that is small, pixels of the frame
FOUND_IOU = 0.5
WAYS = ("usual", "regions")


class Finder(Protocol):
    """A detector, or what takes its place."""

    def detect(self, planes: list[Plane], geometry: Geometry) -> Detections:
        """Faces in a frame."""


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    options = _options(arguments)
    infer = InferSettings(model=options.model, width=options.width, min_score=TrackSettings().low_score)
    detector, judge, rows = build_detector(infer), Judge(), []
    for sequence in track(load_sequences(options.data, options.sequences), description="clips", transient=True):
        if sequence.truth is not None and sequence.clip is not None:
            rows += compare(detector, sequence, sequence.truth, sequence.clip, judge)
    if not rows:
        raise ConfigError(f"{options.data}: no sequence with gt/gt.txt and clip.mp4; `vedette bench clips` makes some")
    report.show(f"one picture, and regions, {options.model} at {options.width}", [*map(_readable, rows)], None)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": report.machine(), "rows": rows}, indent=1) + "\n")
    return 0


def compare(
    detector: Detector, sequence: Sequence, truth: list[Labelled], clip: Path, judge: Judge
) -> list[dict[str, Any]]:
    """One row a way: the ways take turns at each frame, the first of them too, so that both meet the same machine."""
    finders: dict[str, Finder] | None = None
    found: dict[str, list[Array]] = {way: [] for way in WAYS}
    wall, cpu = ({way: list[float]() for way in WAYS} for _ in range(2))
    for number, (planes, geometry) in enumerate(frames(clip)):
        if finders is None:
            finders = _finders(detector, geometry)
        for way in WAYS if number % 2 else WAYS[::-1]:
            start, start_cpu = time.perf_counter(), time.process_time()
            boxes, scores, _ = finders[way].detect(planes, geometry)
            wall[way].append(1000 * (time.perf_counter() - start))
            cpu[way].append(1000 * (time.process_time() - start_cpu))
            found[way].append(np.column_stack([boxes, scores]).astype(np.float64))
    rows = []
    for way in WAYS:
        shown = follow(ours()["face"], found[way])
        figures = row(judge.judge(truth[: len(shown)], shown))
        mean = {
            "ms": report.median(wall[way]),
            "mean ms": float(np.mean(wall[way])),
            "CPU ms": float(np.mean(cpu[way])),
        }
        rows.append({"clip": sequence.name, "way": way, **recalls(found[way], truth), **figures, **mean})
    return rows


def frames(clip: Path) -> Iterator[tuple[list[Plane], Geometry]]:
    """The frames of a clip as a camera gives them (I420)."""
    import av

    with av.open(str(clip)) as container:
        for picture in container.decode(video=0):
            geometry = Geometry(picture.width, picture.height, PixelFormat.I420)
            flat = np.ascontiguousarray(picture.to_ndarray(format="yuv420p"), np.uint8).reshape(-1)
            yield geometry.planes(flat), geometry


def recalls(found: list[Array], truth: list[Labelled]) -> dict[str, float | int]:
    """Share of the faces that have a box that may start a track; of the small ones, of the others; boxes of nobody."""
    hits, asked, nobody = {True: 0, False: 0}, {True: 0, False: 0}, 0
    for rows, (_, faces) in zip(found, truth, strict=False):
        overlaps = iou(rows[rows[:, 4] >= InferSettings().min_score, :4], faces)
        hit = overlaps.max(axis=0, initial=0) >= FOUND_IOU
        nobody += int((overlaps.max(axis=1, initial=0) < FOUND_IOU / 2).sum())
        small = (faces[:, 2:] - faces[:, :2]).max(axis=1, initial=0) < SMALL_PX
        for kind in (True, False):
            hits[kind] += int(hit[small == kind].sum())
            asked[kind] += int((small == kind).sum())
    shares = {kind: 100 * hits[kind] / asked[kind] if asked[kind] else float("nan") for kind in hits}
    return {
        "small": asked[True],
        "small %": shares[True],
        "other": asked[False],
        "other %": shares[False],
        "nobody": nobody,
    }


def _finders(detector: Detector, geometry: Geometry) -> dict[str, Finder]:
    regions = Regions(detector)
    regions.prepare(geometry)
    return {"usual": detector, "regions": regions}


def _readable(figures: dict[str, Any]) -> dict[str, Any]:
    shown = (
        "clip",
        "way",
        "small",
        "small %",
        "other",
        "other %",
        "nobody",
        "IDF1",
        "switches",
        "ms",
        "mean ms",
        "CPU ms",
    )
    return {key: f"{figures[key]:.1f}" if isinstance(figures[key], float) else figures[key] for key in shown}


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = report.parser("regions", "small faces: the usual picture, and parts of the frame for the same time")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of clips with truth; `vedette bench clips` makes some"
    )
    parser.add_argument("--sequences", default="", help="comma list; all without it")
    parser.add_argument("--model", default="yunet", help="known model or .onnx file (default %(default)s)")
    parser.add_argument("--width", type=int, default=InferSettings().width, help="infer.width (default %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
