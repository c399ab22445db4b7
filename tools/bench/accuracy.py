"""Accuracy of detectors on labelled pictures, and of the whole node on a photograph whose truth is exact."""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from common.errors import ConfigError
from tools.bench import report
from tools.bench.accuracy_ap import BINS, by_size
from tools.bench.accuracy_run import detector_of, model_name, run_set
from tools.bench.accuracy_sets import read_set
from tools.models.ready import pull_if_missing

SHOWN = ("path", "faces", "recall", "precision", "IDF1", "HOTA", "switches")  # the rest is in the JSON


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    options = _options(arguments)
    results: dict[str, Any] = {}
    if options.data is not None:
        rows, faces = on_pictures(options)
        results["pictures"] = {"faces": faces, "rows": rows}
        first: dict[str, Any] = {"model": "faces", "width": "", **faces}
        title = f"average precision at IoU 0.5 on {options.data.name}, by size (pixels in a 640 wide frame)"
        report.show(title, [first, *map(_readable, rows)], None)
    if options.still is not None:
        rows, source = on_still(options)
        results["still"] = {"truth": source, "rows": rows}
        shown = [{key: row[key] for key in SHOWN} for row in rows]
        report.show(f"the whole node on {options.still.name}; truth: {source}", shown, None)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": report.machine(), **results}, indent=1) + "\n")
    return 0


def on_pictures(options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """One row a model and width with the average precision of each size; and how many faces there are of each.

    Raises:
        ConfigError: No such folder, labels or model.
    """
    pictures = read_set(options.data, options.labels, options.limit)
    bins = _bins(options.sizes)
    plan = [(model, int(width)) for model in options.model for width in options.width.split(",")]
    rows: list[dict[str, Any]] = []
    faces: dict[str, int] = {}
    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        for model, width in plan:
            _pull(model)
            task = bar.add_task(f"{model_name(model)} at {width}", total=len(pictures))
            found = run_set(detector_of(model, width), pictures, functools.partial(bar.advance, task))
            scores = by_size(found, bins)
            faces = {name: score.faces for name, score in scores.items()}
            values = {name: round(score.ap, 4) if score.faces else None for name, score in scores.items()}
            rows.append({"model": model_name(model), "width": width, **values})
    return rows, faces


def _bins(text: str) -> tuple[float, ...]:
    try:
        bins = tuple(float(value) for value in text.split(","))
    except ValueError:
        bins = ()
    if not bins or list(bins) != sorted(set(bins)) or bins[0] < 0:
        raise ConfigError(f"--sizes {text!r}: rising numbers of pixels expected, like 10,20,40,80")
    return bins


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: "-" if value is None else f"{value:.3f}" if isinstance(value, float) else value
        for key, value in row.items()
    }


def on_still(options: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    """One row a camera path, and where the truth comes from.

    Raises:
        ConfigError: No such photograph, or no face in it.
        DeviceError: The node lost frames.
    """
    from tools.bench.accuracy_still import photo_faces, run_still

    if not options.still.is_file():
        raise ConfigError(f"--still {options.still}: no such file")
    if options.truth is None:
        _pull(options.reference)
    faces, source = photo_faces(options.still, options.truth, options.reference)
    view = _size(options.view)
    ways = options.paths.split(",")
    rows = [run_still(options.still, faces, way, view, options.fps, options.frames, options.settings) for way in ways]
    return rows, f"{source}, {len(faces)} faces"


def _pull(model: str) -> None:
    from common.settings import CameraSettings, InferSettings, Settings

    pull_if_missing(Settings(cameras={"x": CameraSettings(source="pattern:")}, infer=InferSettings(model=model)))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ConfigError(f"--view {text!r}: WIDTHxHEIGHT expected")
    return int(width), int(height)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = report.parser("accuracy", "average precision on labelled pictures; the whole node on a moving photograph")
    parser.add_argument("--data", type=Path, help="folder in the layout of WIDER FACE or COCO")
    parser.add_argument("--labels", type=Path, help="the labels, when the folder has several")
    parser.add_argument(
        "--model", action="append", help="known model or .onnx/.toml file; again for more (default yunet)"
    )
    parser.add_argument("--width", default="640", help="comma list of infer.width (default %(default)s)")
    parser.add_argument(
        "--sizes", default=",".join(f"{value:g}" for value in BINS), help="bounds in pixels (default %(default)s)"
    )
    parser.add_argument("--limit", type=int, default=0, help="at most so many pictures, spread evenly")
    parser.add_argument("--still", type=Path, help="photograph with faces: the node follows a camera that pans over it")
    parser.add_argument("--truth", type=Path, help="its faces, a JSON list of [x1, y1, x2, y2]")
    parser.add_argument(
        "--reference", default="centerface", help="model that finds them otherwise (default %(default)s)"
    )
    parser.add_argument("--paths", default="pan,zoom,shake", help="of the camera (default %(default)s)")
    parser.add_argument("--view", default="1280x720", help="size of the views (default %(default)s)")
    parser.add_argument("--fps", type=float, default=30.0, help="views a second (default %(default)s)")
    parser.add_argument("--frames", type=int, default=240, help="views of each path (default %(default)s)")
    parser.add_argument("--settings", type=Path, help="vedette.yml whose model and tracker are used")
    options = parser.parse_args(arguments)
    if options.data is None and options.still is None:
        parser.error("give --data, or --still, or both")
    options.model = options.model or ["yunet"]
    return options
