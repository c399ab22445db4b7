"""What `vedette models quantize` shows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from common.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.progress import Progress

    from services.infer.manifest import ModelSpec
    from tools.models.frames import Picture
    from tools.models.quantize import Recipe
    from tools.models.trial import Trial

NOTE = "against what the float model is sure of; give --labels for labelled faces"


def run(
    model: str,
    out: Path,
    variants: Sequence[str],
    method: str,
    exclude: tuple[str, ...],
    *,
    reduced: bool,
    pictures: Sequence[Picture],
    labels: Path | None,
    limit: int,
    width: int,
    threads: int,
    max_loss: float,
    as_json: bool,
) -> None:
    """Make the variants, compare them, and write the best int8 one to `out`.

    Raises:
        ConfigError: Something that was named does not exist.
        ModelError: The model cannot be quantised.
    """
    from tools.bench.accuracy_sets import read_set
    from tools.models.frames import tensor
    from tools.models.quantize import Recipe
    from tools.models.sidecar import resolve, write_sidecar
    from tools.models.trial import ROUNDS, WARM, compare, recommend

    path, spec = resolve(model)
    if spec is None:
        raise ConfigError(f"{path}: {path.with_suffix('.toml').name} is missing beside it; accuracy needs its decoder")
    judged = read_set(labels, limit=limit) if labels else []
    tensors = [tensor(picture, spec.input, _fixed(path, spec.input.layout), width) for picture in pictures]
    recipes = {
        name: Recipe(variant=cast(Any, name), method=cast(Any, method), exclude=exclude, reduced=reduced)
        for name in variants
    }
    with _progress() as bar:
        files = {"float32": path, **_make(path, spec, out, recipes, tensors, bar, quiet=as_json)}
        task = bar.add_task("measuring", total=ROUNDS + WARM + len(files) * len(judged or pictures))
        trials = compare(files, pictures, judged, width, threads, lambda: bar.advance(task))
    best, why = recommend(trials, max_loss)
    if best.path != path:
        shutil.copyfile(best.path, out)
        write_sidecar(spec, out)
    _show(trials, best, why, out, str(labels) if labels else NOTE, as_json=as_json)


def _progress() -> Progress:
    """A bar on stderr for a person; nothing for a script."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _make(
    path: Path,
    spec: ModelSpec,
    out: Path,
    recipes: Mapping[str, Recipe],
    tensors: Sequence[NDArray[np.float32]],
    bar: Progress,
    *,
    quiet: bool,
) -> dict[str, Path]:
    """Write the variants beside `out`; returns their files by name."""
    from tools.models.quantize import quantize
    from tools.models.sidecar import write_sidecar

    files = {}
    task = bar.add_task("quantising", total=len(recipes))
    for name, recipe in recipes.items():
        file = out.with_name(f"{out.stem}-{name}.onnx")
        said = quantize(path, file, recipe, tensors)
        write_sidecar(spec, file)
        files[name] = file
        bar.advance(task)
        if not quiet:
            bar.console.print(said)
    return files


def _show(trials: Sequence[Trial], best: Trial, why: str, out: Path, truth: str, *, as_json: bool) -> None:
    from rich.console import Console

    from tools.bench.report import machine
    from tools.cli.output import print_json, table

    about = machine()
    kept = best is trials[0]
    if as_json:
        rows = [trial.as_json() for trial in trials]
        chosen = {"recommended": best.name, "why": why, "path": str(best.path if kept else out)}
        print_json({"machine": about, "truth": truth, "models": rows, **chosen})
        return
    made = table(
        "model", "bytes", "ms", "p10", "speed", "AP", "loss", right=("bytes", "ms", "p10", "speed", "AP", "loss")
    )
    for trial in trials:
        made.add_row(
            trial.name, f"{trial.path.stat().st_size:,}", f"{trial.median_ms:.2f}", f"{trial.low_ms:.2f}",
            f"{trial.speedup:.2f}x", f"{trial.ap:.3f}", f"{trial.loss:.3f}",
        )  # fmt: skip
    Console().print(made)
    typer.echo(f"AP at IoU 0.5, {truth}")
    typer.echo(", ".join(f"{key} {value}" for key, value in about.items()))
    typer.echo(f"recommended: {'keep float32' if kept else best.name}: {why}")
    if not kept:
        typer.echo(f"infer.model: {out}")


def _fixed(path: Path, layout: str) -> tuple[int, int] | None:
    from tools.models import graph
    from tools.models.adapt import fixed_size

    return fixed_size(graph.read(path), layout)
