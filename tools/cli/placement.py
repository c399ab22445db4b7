"""Commands about where a model runs: claims, and compile for Apache TVM."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigError
from tools.cli.node import JsonFlag, load_settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (claims, compile_):
        app.command("compile" if command is compile_ else None)(command)


def claims(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Load the model of the settings and list who computes which node of its graph."""
    from common.config import cache_dir
    from services.infer.backends import load_backend
    from services.infer.manifest import find_model
    from tools.cli.output import print_json, table

    infer = load_settings(context).infer
    spec, path = find_model(infer.model, cache_dir() / "models")
    backend = load_backend(path, infer, spec.input.layout)
    list_nodes = getattr(backend, "assignments", None)
    if list_nodes is None:
        raise ConfigError(f"infer.backend={infer.backend!r} does not tell who computes what")
    nodes = [dataclasses.asdict(row) for row in list_nodes()]
    if as_json:
        print_json({"fallback": backend.placement.fallback, "nodes": nodes})
        return
    from rich.console import Console

    made = table("provider", "operator", "nodes", right=("nodes",))
    counts = Counter((row["provider"], row["operator"]) for row in nodes)
    for (provider, operator), count in sorted(counts.items()):
        made.add_row(provider, operator, str(count))
    Console().print(made)
    typer.echo(backend.placement.fallback or f"{len(nodes)} nodes; --json lists each")


def compile_(
    name: Annotated[str, typer.Argument(help="A model of `vedette models list`, or an .onnx file with its .toml.")],
    size: Annotated[str, typer.Option(help="Width x height of the input, as 640x384.")],
    target: Annotated[str, typer.Option(help="`here`, `pi5`, or LLVM's name of an AArch64 processor.")] = "here",
    out: Annotated[Path | None, typer.Option(help="File to write; else the cache of this machine.")] = None,
) -> None:
    """Compile a model with Apache TVM, for the backend tvm of this machine or of another one."""
    from common.config import cache_dir
    from services.infer.manifest import find_model
    from services.infer.picture_input import tensor_shape

    try:
        from services.infer.tvm_compile import RASPBERRY_PI_5, Target, compile_model, export, library, this_machine

        processor = this_machine()
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error}: pip install 'vedette[tvm]'") from error
    if target != "here":
        processor = RASPBERRY_PI_5 if target == "pi5" else Target(target, RASPBERRY_PI_5.triple)
    wanted = re.fullmatch(r"(\d+)x(\d+)", size)
    if wanted is None:
        raise ConfigError(f"--size={size!r}: as 640x384 expected")
    spec, path = find_model(name, cache_dir() / "models")
    shape = tensor_shape((int(wanted[1]), int(wanted[2])), spec.input.layout)
    place = out or library(path, shape, processor, cache_dir() / "compiled")
    export(compile_model(path, shape, processor), place, processor)
    typer.echo(f"{name} {size} for {processor.cpu}: {place}")
    if processor.triple and out is None:
        typer.echo("copy it to ~/.cache/vedette/compiled/ of that machine, under the same name")
