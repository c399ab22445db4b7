"""Commands about models: list, pull, info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tools.cli import placement, workshop
from tools.cli.node import JsonFlag

app = typer.Typer(help="The detectors: which are known, and how to get them.", no_args_is_help=True)
workshop.register(app)
placement.register(app)


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """Show all known models."""
    from tools.cli.output import print_json, table
    from tools.models.pull import list_models

    rows = list_models()
    if as_json:
        print_json(rows)
        return
    from rich.console import Console

    made = table("model", "here", "decoder", "licence", "from")
    for row in rows:
        made.add_row(row["name"], "yes" if row["present"] else "", row["decoder"], row["licence"], row["source"])
    Console().print(made)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="A model of `vedette models list`.")],
    file: Annotated[Path | None, typer.Option("--file", help="Take it from this file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also when it is here already.")] = False,
) -> None:
    """Bring a model into the model cache."""
    from tools.models.pull import pull as bring

    path = bring(name, typer.echo, source=file, force=force)
    typer.echo(f"{name}: {path}")


@app.command()
def info(name: str, as_json: JsonFlag = False) -> None:
    """Show what is known of a model."""
    from tools.cli.output import print_json
    from tools.models.pull import info as describe

    rows = describe(name)
    if as_json:
        print_json(rows)
        return
    for key, value in rows.items():
        typer.echo(f"{key:<14} {value}")
