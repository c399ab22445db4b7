"""The command `schema`: what a node says over MQTT, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigError

ASYNCAPI = "asyncapi"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(schema)


def schema(
    name: Annotated[str | None, typer.Argument(help="asyncapi, or a payload; without it they are listed.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write all of them into this folder instead.", file_okay=False)
    ] = None,
) -> None:
    """Print the AsyncAPI document of the MQTT topics, or the JSON Schema of one payload."""
    made = documents()
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for file, text in made.items():
            (out / file).write_text(text, encoding="utf-8")
        typer.echo(f"{len(made)} files in {out}")
        return
    by_name = {Path(file).stem: text for file, text in made.items()}
    if name is None:
        typer.echo("\n".join(by_name))
        return
    if name not in by_name:
        raise ConfigError(f"no schema {name!r}; known: {', '.join(by_name)}")
    typer.echo(by_name[name], nl=False)


def documents() -> dict[str, str]:
    """Every document by its file name, as committed in docs/schema."""
    import json

    import yaml

    from tools.schema.asyncapi import document
    from tools.schema.payloads import schemas

    texts = {f"{name}.json": json.dumps(tree, indent=2) + "\n" for name, tree in schemas().items()}
    return {f"{ASYNCAPI}.yaml": yaml.safe_dump(document(), sort_keys=False, width=120), **texts}
