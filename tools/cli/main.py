"""The command `vedette`: its sub commands, and how its errors end. Each command imports what it needs itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from common.config import no_telemetry
from common.errors import ConfigError, VedetteError
from common.version import VERSION
from tools.cli import advise, bench, config, demo, events, models, node, schema, service
from tools.cli.output import fail

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="vedette",
    help="Watches cameras, follows every face with a stable id, and tells the house about it over MQTT.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (node, config, events, schema, demo, advise):
    part.register(app)
app.add_typer(models.app, name="models")
app.add_typer(service.app, name="service")
bench.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vedette {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Option("-c", "--config", help="Settings file; else ./vedette.yml, else /etc/vedette/vedette.yml."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    context.obj = file


def main() -> None:
    """Run the command of this process's arguments; exits with 0 (good), 1 (failed) or 2 (bad usage or settings)."""
    no_telemetry()
    try:
        app()
    except ConfigError as error:
        sys.exit(fail(str(error), EXIT_USAGE))
    except VedetteError as error:
        sys.exit(fail(str(error), EXIT_FAILED))
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
