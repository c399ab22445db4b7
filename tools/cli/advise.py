"""The command `advise`: measures what suits this machine, and writes it as settings."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.errors import ConfigError
from tools.cli.node import JsonFlag, load_settings

if TYPE_CHECKING:
    from common.settings import InferSettings, Settings
    from tools.advise.choose import Advice

PICTURES = 16
USUAL_FPS = 30.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(advise)


def advise(
    context: typer.Context,
    source: Annotated[
        str | None, typer.Option(help="Camera, clip or folder to measure with; else the first camera of the settings.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Another model than infer.model.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second of all cameras together.", min=0.1)] = None,
    cameras: Annotated[int | None, typer.Option(help="Number of cameras like this one.", min=1)] = None,
    seconds: Annotated[float, typer.Option(help="For measuring; loading comes on top.", min=2)] = 60.0,
    write: Annotated[Path | None, typer.Option("--write", help="Write the section to this file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure providers, threads, input sizes, workers and batches here; say what to set, and change nothing."""
    import yaml

    from tools.cli.output import print_json

    settings = _settings(context, source)
    infer = dataclasses.replace(settings.infer, model=model) if model else settings.infer
    count = cameras or len(settings.cameras)
    demand = fps or _demand(settings) * count / len(settings.cameras)
    advice = _measure(infer, source or next(iter(settings.cameras.values())).source, demand, count, seconds)
    tree = _tree(advice, count)
    text = yaml.safe_dump(json.loads(json.dumps(tree)), sort_keys=False, default_flow_style=None)  # no anchors
    if write is not None:
        write.write_text(f"# made by `vedette advise` for this machine; see there for the reasons\n{text}")
    if as_json:
        print_json({"settings": tree, "demand_fps": demand, **_figures(advice)})
        return
    for reason in advice.reasons:
        typer.echo(f"- {reason}")
    typer.echo(f"\n{text}" if write is None else f"\nwritten to {write}")


def _settings(context: typer.Context, source: str | None) -> Settings:
    """Those of the node; with a source of its own, none are needed."""
    from common.config import check

    try:
        return load_settings(context)
    except ConfigError:
        if source is None or context.obj is not None:
            raise
        return check({"cameras": {"camera": {"source": source if ":" in source else f"file:{source}"}}})


def _demand(settings: Settings) -> float:
    """Frames a second that the cameras want looked at, by their settings."""
    return sum(camera.detect_fps or camera.fps or USUAL_FPS for camera in settings.cameras.values() if camera.enabled)


def _measure(infer: InferSettings, source: str, demand: float, cameras: int, seconds: float) -> Advice:
    from rich.console import Console
    from rich.progress import Progress

    from tools.advise.candidate import keep
    from tools.advise.measure import advise as measure
    from tools.models.frames import pictures

    cores = len(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory(prefix="vedette-advise-") as folder,
        Progress(console=Console(stderr=True), transient=True) as bar,
    ):
        task = bar.add_task("looking at the camera", total=1.0)
        frames = keep(pictures(source, PICTURES), Path(folder) / "frames.npy")
        return measure(
            infer,
            frames,
            demand_fps=demand,
            cameras=cameras,
            cores=cores,
            seconds=seconds,
            progress=lambda what, part: bar.update(task, description=what, completed=part),
        )


def _tree(advice: Advice, cameras: int) -> dict[str, Any]:
    """What to paste: `infer`, and `processes` where the machine has cores to keep apart."""
    from common.settings import InferSettings
    from tools.advise.choose import settings_tree
    from tools.advise.cores import propose_cores

    tree: dict[str, Any] = {"infer": settings_tree(advice.infer, InferSettings())}
    if advice.infer.threads > 1:
        return tree  # a worker's threads need more than the one core that the map would give it
    cores = propose_cores(sorted(os.sched_getaffinity(0)), cameras, advice.infer.workers)
    return tree | ({"processes": cores} if cores else {})


def _figures(advice: Advice) -> dict[str, Any]:
    made: dict[str, Any] = {
        "ways": [dataclasses.asdict(row) for row in advice.ways],
        "sizes": [dataclasses.asdict(row) for row in advice.sizes],
        "crews": [dataclasses.asdict(row) for row in advice.crews],
        "batches": [dataclasses.asdict(row) for row in advice.batches],
    }
    for way in made["ways"]:
        way["infer"] = {key: way["infer"][key] for key in ("model", "backend", "providers", "threads", "width")}
        way.update({key: None for key in ("whole_ms", "late_ms", "cpu_ms") if way[key] == float("inf")})
    return {"reasons": advice.reasons, **made}
