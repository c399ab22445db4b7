"""The command `bench`: every module of tools/bench that has a `main`."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigError

FOLDER = Path(__file__).parents[1] / "bench"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(bench)


def benches() -> list[str]:
    """Names of the benchmarks: modules of tools/bench with a `main(arguments)`."""
    texts = ((path.stem, path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("[!_]*.py")))
    return [name for name, text in texts if re.search(r"^def main\(", text, re.MULTILINE)]


def bench(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Which one; without a name they are listed.")] = None,
) -> None:
    """Measure something; what follows NAME goes to the benchmark (`vedette bench node --help`)."""
    known = benches()
    if name is None:
        typer.echo("\n".join(known) or "no benchmarks")
        return
    if name not in known:
        raise ConfigError(f"no benchmark {name!r}; known: {', '.join(known)}")
    code = importlib.import_module(f"tools.bench.{name}").main(list(context.args))
    raise typer.Exit(int(code or 0))
