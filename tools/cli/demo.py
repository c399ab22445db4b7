"""Commands that play clips: demo, replay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(demo)
    app.command()(replay)


def demo(
    context: typer.Context,
    seconds: Annotated[float | None, typer.Option("--seconds", min=1, help="End after so long.")] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Plain lines instead of a live table.")] = False,
) -> None:
    """Follow a face in a real video, and show the events as they arrive on MQTT."""
    from tools.demo.demo import run_demo

    raise typer.Exit(run_demo(context.obj, seconds, headless=headless))


def replay(
    context: typer.Context,
    clip: Annotated[Path, typer.Argument(help="A video file.")],
    out: Annotated[Path, typer.Option("--out", help="Where the lines go, one JSON object a frame.")],
) -> None:
    """Send every frame of a clip through the real processes, and write the tracks of each."""
    from tools.replay.replay import run_replay

    raise typer.Exit(run_replay(context.obj, clip, out))
