"""Accuracy of the trackers on any MOT folder, and their speed by the number of faces, beside what else is installed."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError
from tools.bench import report
from tools.bench.metrics import Judge, row
from tools.bench.mot import NOBODY, Sequence, load_sequences
from tools.bench.trackers import Make, named, ours, peers

Array = NDArray[np.float64]

WARM_FRAMES = 50


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    options = _options(arguments)
    chosen = {name: make for name, make in ours().items() if name in options.modes.split(",")}
    chosen |= dict(map(named, options.tracker))
    if options.peers:
        chosen |= peers()
    results: dict[str, Any] = {}
    if options.data is not None:
        results["accuracy"] = accuracy(load_sequences(options.data, options.sequences), chosen, replay=options.replay)
        for name, rows in results["accuracy"].items():
            report.show(name, [_readable(row) for row in rows], None)
    if options.speed:
        counts = [int(count) for count in options.speed.split(",")]
        results["speed"] = speed(counts, chosen, options.repetitions, options.frames)
        report.show("microseconds of one update(), median / p99", results["speed"], None)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": report.machine(), **results}, indent=1) + "\n")
    return 0


def accuracy(sequences: list[Sequence], chosen: dict[str, Make], *, replay: bool) -> dict[str, list[dict[str, Any]]]:
    """One table for each sequence that has ground truth, and one for all together.

    Raises:
        ConfigError: None has, or TrackEval is missing.
    """
    judge = Judge()
    judged = [(sequence, sequence.truth) for sequence in sequences if sequence.truth is not None]
    if not judged:
        raise ConfigError(f"no ground truth (gt/gt.txt) for {', '.join(sequence.name for sequence in sequences)}")
    tables: dict[str, list[dict[str, Any]]] = {sequence.name: [] for sequence, _ in judged}
    counts: dict[str, dict[str, dict[str, Any]]] = {}
    for sequence, truth in judged:
        runs = [(name, follow(make, sequence.detections)) for name, make in chosen.items()]
        if replay:
            runs.append(("the node, replayed", _replayed(sequence)))
        for name, tracks in runs:
            counts.setdefault(name, {})[sequence.name] = judge.judge(truth, tracks)
            tables[sequence.name].append({"tracker": name, **row(counts[name][sequence.name])})
    if len(judged) > 1:
        tables["all together"] = [{"tracker": name, **row(judge.together(part))} for name, part in counts.items()]
    return tables


def follow(make: Make, frames: Iterable[Array]) -> list[Array]:
    """Shown tracks of each frame, shape (n, 5): box xyxy, id."""
    tracker = make()
    out = [np.asarray(tracker.update(frame), dtype=np.float64) for frame in frames]
    return [rows[:, :5] if len(rows) else NOBODY for rows in out]


def speed(counts: list[int], chosen: dict[str, Make], repetitions: int, frames: int) -> list[dict[str, Any]]:
    """Time of an update by the number of faces; the trackers take turns."""
    times: dict[str, dict[int, list[float]]] = {name: {count: [] for count in counts} for name in chosen}
    for count in counts:
        stream = crowd(count, frames)
        for _ in range(repetitions):
            for name, make in chosen.items():
                times[name][count] += _timed(make, stream)
    rows = []
    for name, by_count in times.items():
        middle = {count: report.median(values) for count, values in by_count.items()}
        cells = {f"{n} faces": f"{middle[n]:.0f} / {report.quantile(by_count[n], 0.99):.0f}" for n in counts}
        growth = middle[counts[-1]] / middle[counts[0]]
        rows.append({"tracker": name, **cells, f"growth {counts[0]} to {counts[-1]}": f"{growth:.1f}x"})
    return rows


def crowd(count: int, frames: int, size: tuple[int, int] = (1920, 1080)) -> list[Array]:
    """Detections of faces that walk about and turn back at the border; one in twenty is missed."""
    random = np.random.default_rng(count)
    centre, step = random.uniform(100, np.array(size) - 100, (count, 2)), random.uniform(-4, 4, (count, 2))
    half = random.uniform(15, 45, (count, 1)) * [1.0, 1.2]
    out = []
    for _ in range(frames):
        centre = centre + step
        step = np.where((centre < 50) | (centre > np.array(size) - 50), -step, step)
        boxes = np.hstack([centre - half, centre + half]) + random.normal(0.0, 1.0, (count, 4))
        rows = np.column_stack([boxes, random.uniform(0.65, 0.99, count)])
        out.append(rows[random.random(count) >= 0.05])
    return out


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    return {key: f"{value:.2f}" if isinstance(value, float) else value for key, value in row.items()}


def _timed(make: Make, frames: list[Array]) -> list[float]:
    """Microseconds of each update after the first ones."""
    tracker, times = make(), []
    for frame in frames:
        start = time.perf_counter_ns()
        tracker.update(frame)
        times.append((time.perf_counter_ns() - start) / 1000)
    return times[WARM_FRAMES:]


def _replayed(sequence: Sequence) -> list[Array]:
    """What the whole node says of the sequence's clip, with the settings of the current folder or the defaults."""
    from tools.replay.replay import run_replay

    if sequence.clip is None:
        raise ConfigError(f"{sequence.name}: no clip.mp4 to replay")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "tracks.jsonl")
        code = run_replay(None, sequence.clip, out)
        lines = out.read_text(encoding="utf-8").splitlines() if not code else []
    if len(lines) < len(sequence.detections):
        raise ConfigError(f"{sequence.name}: {len(lines)} of {len(sequence.detections)} frames came through")
    said = [[[*track["box"], track["id"]] for track in json.loads(line)["tracks"]] for line in lines]
    return [np.array(rows, dtype=np.float64).reshape(-1, 5) for rows in said[: len(sequence.detections)]]


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = report.parser("track", "accuracy and speed of the trackers, beside others that are installed")
    parser.add_argument("--data", type=Path, help="folder of sequences in MOT format; `vedette bench clips` makes some")
    parser.add_argument("--sequences", default="", help="comma list; all without it")
    parser.add_argument("--modes", default="face,sort", help="ours (default %(default)s)")
    parser.add_argument("--tracker", action="append", default=[], metavar="NAME=MODULE:CLASS?KEY=VALUE")
    parser.add_argument("--peers", action="store_true", help="also every known tracker that is installed")
    parser.add_argument("--replay", action="store_true", help="also the whole node on each sequence's clip.mp4")
    parser.add_argument("--speed", default="", metavar="1,10,50,200", help="also time updates with so many faces")
    parser.add_argument("--frames", type=int, default=500, help="of each timed run (default %(default)s)")
    options = parser.parse_args(arguments)
    if options.data is None and not options.speed:
        parser.error("give --data, or --speed, or both")
    return options
