"""Shows the steps of the model workshop as they come."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from tools.models.proof import Step


@contextlib.contextmanager
def steps_shown(as_json: bool, total: int) -> Iterator[Callable[[Step], None]]:
    """Show steps as they come, with a bar below them on stderr; as one JSON list at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TimeElapsedColumn

    from tools.cli.output import print_json

    steps: list[Step] = []
    columns = (SpinnerColumn(), "{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("working", total=total)

        def show(step: Step) -> None:
            steps.append(step)
            bar.update(task, advance=1, description=f"after {step.name}")
            if not as_json:
                bar.stop()
                typer.echo(step.line())
                bar.start()

        yield show
    if as_json:
        print_json([step.as_json() for step in steps])
    else:
        for path in dict.fromkeys(step.path for step in steps if step.path):
            typer.echo(f"wrote {path} ({path.stat().st_size:,} bytes)")
