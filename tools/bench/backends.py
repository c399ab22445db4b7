"""One detector run every way that this machine has: PyTorch, TorchScript, ONNX Runtime, INT8, OpenVINO, TVM.

Every row is a process of its own that detects the faces of the same pictures; the rows take turns, so that what else
the machine does hits all alike.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.settings import InferSettings
from tools.advise.agreement import agreement
from tools.advise.candidate import Candidate, CandidateFailed, Frames, Loaded, Sample, keep
from tools.bench import report
from tools.bench.backend_rows import Row, rows
from tools.bench.private import demo_clip
from tools.bench.sensors import PowerMeter, temperature

PICTURES = 24
REFERENCE = "ONNX Runtime fp32"


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    options = _parser().parse_args(arguments)
    infer = InferSettings(
        model=options.model,
        width=options.width,
        threads=options.threads,
        provider_library=options.provider_library,
        provider_name=options.provider_name,
    )
    wanted = [row for row in rows(infer, options.torch_python, options.int8) if _chosen(row, options.only)]
    source = options.source or f"file:{demo_clip()}"
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        frames = frames_of(source, PICTURES, Path(folder))
        runs = measure(wanted, frames, options.repetitions, options.seconds, options.soak)
    table = figures(runs)
    notes = {run.row.name: run.problem or (run.loaded.fallback if run.loaded else "") for run in runs}
    shown = [row for row in table if "absent" not in row]
    report.show(f"{options.model} at {_size(runs)}, threads {options.threads}", shown, options.json)
    for name, text in notes.items():
        if text:
            print(f"{name}: {text}")
    if not any(run.watts for run in runs):
        print("power: not readable here (no PMIC, RAPL or hardware monitor)")
    if not any(run.heat for run in runs):
        print("temperature: not readable here")
    print("same faces: F1 at IoU 0.5 against ONNX Runtime fp32 on these pictures; `vedette bench accuracy` knows truth")
    if options.plot:
        plot(table, options.model, options.plot)
    return 0


@dataclass(slots=True)
class Run:
    """A row and what was measured of it."""

    row: Row
    child: Candidate | None = None
    loaded: Loaded | None = None
    problem: str = ""
    samples: list[Sample] = field(default_factory=list)
    memory_mb: float = float("nan")
    watts: list[float] = field(default_factory=list)
    heat: list[float] = field(default_factory=list)
    found: list[list[list[float]]] = field(default_factory=list)


def measure(wanted: Sequence[Row], frames: Frames, repetitions: int, seconds: float, soak: float) -> list[Run]:
    """Load every row that is there, then let them take turns."""
    runs = [Run(row, problem=row.missing and f"absent: {row.missing}") for row in wanted]
    with contextlib.ExitStack() as stack:
        for run in runs:
            if not run.problem:
                _load(run, frames, stack)
        meter = PowerMeter()
        for _ in range(repetitions):
            for run in runs:
                _turn(run, seconds, meter)
        if soak:
            for run in runs:
                _turn(run, soak, meter)
    return runs


def figures(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The table: one row a way, absent ones with what to install."""
    reference = next((run.found for run in runs if run.row.name == REFERENCE and run.found), [])
    return [_figure(run, reference) for run in runs]


def frames_of(source: str, count: int, folder: Path) -> Frames:
    """Pictures of a camera, clip or folder, kept for the children."""
    from tools.models.frames import pictures

    return keep(pictures(source, count), folder / "frames.npy")


def plot(table: Sequence[dict[str, Any]], model: str, path: Path) -> None:
    """A point for the median of each way, with a whisker to p99 on a logarithmic axis, fastest at the top."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows_ = sorted((row for row in table if "p50 ms" in row), key=lambda row: -float(row["p50 ms"]))
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(rows_) + 1.4), layout="constrained")
    for index, row in enumerate(rows_):
        middle, late = row["p50 ms"], row["p99 ms"]
        colour = "#d62728" if row["way"] == REFERENCE else "#1f77b4"
        axes.errorbar(middle, index, xerr=[[0], [max(0.0, late - middle)]], fmt="o", color=colour, capsize=3)
        axes.annotate(f"{middle:.1f}", (middle, index), (0, 6), textcoords="offset points", ha="center", fontsize=9)
    axes.set_yticks(range(len(rows_)), [row["way"] for row in rows_])
    axes.set_ylim(-0.5, len(rows_) - 0.2)
    axes.set_xscale("log")
    axes.grid(axis="x", which="both", alpha=0.25)
    axes.set_xlabel("milliseconds a picture: median, whisker to the 99th percentile")
    axes.set_title(f"{model}: the model alone, the same pictures, this machine")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _parser() -> argparse.ArgumentParser:
    parser = report.parser("backends", "one detector, every way that this machine can run it")
    parser.add_argument("--model", default="yunet", help="a model of `vedette models list`, or a file (%(default)s)")
    parser.add_argument("--width", type=int, default=640, help="longer side of the input (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of each way (default %(default)s)")
    parser.add_argument("--source", help="camera, clip or folder of pictures (default: the demo's clip)")
    parser.add_argument("--only", action="append", default=[], help="rows whose name has this word; may be repeated")
    parser.add_argument("--int8", type=Path, help="quantised form of the model (default: the one beside it)")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has PyTorch")
    parser.add_argument("--provider-library", help="also measure this plug-in provider")
    parser.add_argument("--provider-name", help="and the name of it")
    parser.add_argument("--soak", type=float, default=0.0, help="seconds more of each row, for power and heat")
    parser.add_argument("--plot", type=Path, help="write a picture of the table here")
    return parser


def _chosen(row: Row, words: Sequence[str]) -> bool:
    return not words or row.name == REFERENCE or any(word.lower() in row.name.lower() for word in words)


def _load(run: Run, frames: Frames, stack: contextlib.ExitStack) -> None:
    child = stack.enter_context(Candidate(run.row.infer, frames, run.row.python))
    try:
        run.loaded = child.load()
        run.found = child.detect()
        run.child = child
    except CandidateFailed as error:
        run.problem = f"fails: {error}"


def _turn(run: Run, seconds: float, meter: PowerMeter) -> None:
    if run.child is None:
        return
    heat = temperature()
    meter.start()
    try:
        run.samples.append(run.child.measure(seconds))
    except CandidateFailed as error:
        run.child, run.problem = None, f"fails: {error}"
        return
    watts, after = meter.watts(), temperature()
    run.memory_mb = run.child.memory_mb()
    run.watts += [watts] if watts is not None else []
    run.heat += [value for value in (heat, after) if value is not None]


def _figure(run: Run, reference: list[list[list[float]]]) -> dict[str, Any]:
    if not run.samples or run.loaded is None:
        return {"way": run.row.name, "absent": run.problem}
    every = [value for sample in run.samples for value in sample.run_ms]
    whole = [value for sample in run.samples for value in sample.whole_ms]
    mean = sum(every) / len(every)
    cpu = sum(sample.cpu_s for sample in run.samples) / sum(sample.wall_s for sample in run.samples)
    return {
        "way": run.row.name,
        "mean ms": mean,
        "p50 ms": report.quantile(every, 0.5),
        "p99 ms": report.quantile(every, 0.99),
        "frames/s": 1000 / (sum(whole) / len(whole)),
        "CPU ms": 1000 * sum(sample.cpu_s for sample in run.samples) / len(every),
        "CPU %": round(100 * cpu),
        "memory MB": round(run.memory_mb),
        "power W": round(report.median(run.watts), 2) if run.watts else "-",
        "heat C": f"{run.heat[0]:.0f} to {run.heat[-1]:.0f}" if run.heat else "-",
        "same faces": round(agreement(run.found, reference), 3) if reference else "",
    }


def _size(runs: Sequence[Run]) -> str:
    size = next((run.loaded.size for run in runs if run.loaded), None)
    return f"{size[0]}x{size[1]}" if size else "no size"
