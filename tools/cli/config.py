"""Commands about settings and machine: check, config schema, config show, doctor."""

from __future__ import annotations

from typing import Any

import typer

from common.addresses import MASK, names_secret, shown
from tools.cli.node import JsonFlag, load_settings

config_app = typer.Typer(help="The settings: their schema, and as they are used.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(check)
    app.command()(doctor)
    app.add_typer(config_app, name="config")


def check(context: typer.Context) -> None:
    """Check the settings: exit code 0 when they are right, 2 with every problem when not."""
    settings = load_settings(context)
    typer.echo(f"settings are right: node {settings.node}, cameras {', '.join(settings.cameras)}")


def doctor(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Check the machine, and say what to do; exit code 1 when the node cannot run well."""
    from tools.cli.output import print_json
    from tools.doctor.checks import examine

    findings = examine(load_settings(context))
    if as_json:
        print_json([{"check": row.check, "result": row.result, "text": row.text, "hint": row.hint} for row in findings])
    else:
        from tools.doctor.report import show

        show(findings)
    if any(row.result == "fail" for row in findings):
        raise typer.Exit(1)


@config_app.command()
def schema() -> None:
    """Print the JSON schema of the settings file, for editors."""
    from pydantic import TypeAdapter

    from common.settings import Settings
    from tools.cli.output import print_json

    print_json(TypeAdapter(Settings).json_schema())


@config_app.command()
def show(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Print the settings as the services use them, environment and defaults applied; passwords stay hidden."""
    import dataclasses

    from tools.cli.output import print_json

    tree = dataclasses.asdict(load_settings(context))
    tree = _without_secrets(tree)
    if as_json:
        print_json(tree)
        return
    import yaml

    typer.echo(yaml.safe_dump(tree, sort_keys=False), nl=False)


def _without_secrets(value: Any) -> Any:
    """The tree with its passwords hidden, and those in its addresses."""
    if isinstance(value, dict):
        return {
            key: MASK if item is not None and names_secret(str(key)) else _without_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    return shown(value, f"{MASK}@") if isinstance(value, str) else value
