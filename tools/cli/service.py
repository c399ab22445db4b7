"""Commands that make the node start with the machine: service install, service uninstall."""

from __future__ import annotations

from typing import Annotated

import typer

from tools.cli.node import load_settings, working_directory

app = typer.Typer(help="Start the node with the machine (systemd).", no_args_is_help=True)


@app.command()
def install(
    context: typer.Context,
    user: Annotated[str | None, typer.Option("--user", help="Who runs it; else who called sudo.")] = None,
    show: Annotated[bool, typer.Option("--print", help="Print the unit, change nothing.")] = False,
) -> None:
    """Write, enable and start a systemd unit for this settings file."""
    from common.config import find
    from tools.systemd.unit import install_unit, render_unit

    settings = load_settings(context)
    working_directory(context)
    file = (context.obj or find()).resolve()
    if show:
        typer.echo(render_unit(settings, file, user), nl=False)
        return
    for line in install_unit(settings, file, user):
        typer.echo(line)


@app.command()
def uninstall() -> None:
    """Stop, disable and remove the systemd unit."""
    from tools.systemd.unit import uninstall_unit

    for line in uninstall_unit():
        typer.echo(line)
