"""Commands of the model workshop: export, adapt, lint, split, quantize."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from common.errors import ConfigError
from tools.cli.node import JsonFlag
from tools.cli.option_values import parse_choice, parse_choices, parse_object, parse_onnx_name, parse_size
from tools.cli.steps import steps_shown

if TYPE_CHECKING:
    from services.infer.manifest import InputSpec
    from tools.models.frames import Picture

PicturesOption = Annotated[
    str | None,
    typer.Option("--pictures", help="Folder, photograph, clip or camera to prove it with; else the demo's clip."),
]
CountOption = Annotated[int, typer.Option("--count", min=1, max=10_000, help="How many pictures.")]
OutOption = Annotated[Path, typer.Option("--out", help="The .onnx file to write.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (export, adapt, lint, split, quantize):
        app.command()(command)


def export(
    module: Annotated[str, typer.Argument(help="package.module:Class, file.py:Class, or a TorchScript file.")],
    out: OutOption,
    checkpoint: Annotated[
        str | None, typer.Option(help="State dict (.pt), or .onnx file or known model to take the weights from.")
    ] = None,
    arguments: Annotated[str, typer.Option(help="For the constructor, as JSON.")] = "{}",
    like: Annotated[str | None, typer.Option(help="Known model or .onnx file with the same input and decoder.")] = None,
    colour: Annotated[str, typer.Option(help="Without --like: order of the channels, bgr or rgb.")] = "bgr",
    mean: Annotated[float, typer.Option(help="Without --like: subtracted from each channel, 0 to 255.")] = 0.0,
    scale: Annotated[float, typer.Option(help="Without --like: multiplied after that.")] = 1.0,
    size: Annotated[str, typer.Option(help="Width x height of the example.")] = "320x256",
    dynamic: Annotated[str, typer.Option(help="What stays free: size, batch, size,batch or none.")] = "size",
    mode: Annotated[str, typer.Option(help="TorchScript by trace, script, or auto.")] = "auto",
    exporter: Annotated[str, typer.Option(help="PyTorch's exporter: torchscript or dynamo.")] = "torchscript",
    opset: Annotated[int | None, typer.Option(help="Version of the operators.")] = None,
    input_name: Annotated[str, typer.Option(help="Name of the input.")] = "input",
    outputs: Annotated[str, typer.Option(help="Names of the outputs, with commas.")] = "",
    simplify: Annotated[bool, typer.Option(help="Fold and fuse with onnxslim.")] = True,
    pictures: PicturesOption = None,
    count: CountOption = 4,
    as_json: JsonFlag = False,
) -> None:
    """PyTorch -> TorchScript -> ONNX -> simplified, each step compared with PyTorch on real pictures."""
    from tools.models.export import export as run
    from tools.models.export_job import Request
    from tools.models.sidecar import spec_of, write_sidecar

    spec = spec_of(like)
    request = Request(
        target=module,
        out=parse_onnx_name(out),
        checkpoint=checkpoint,
        arguments=parse_object(arguments),
        input=spec.input if spec else _plain_input(colour, mean, scale),
        size=parse_size(size),
        dynamic=parse_choices("dynamic", dynamic, ("size", "batch", "none")) - {"none"},
        mode=cast(Literal["auto", "trace", "script"], parse_choice("mode", mode, ("auto", "trace", "script"))),
        exporter=cast(Literal["torchscript", "dynamo"], parse_choice("exporter", exporter, ("torchscript", "dynamo"))),
        opset=opset,
        input_name=input_name,
        outputs=tuple(name for name in outputs.split(",") if name),
        simplify=simplify,
    )
    with steps_shown(as_json, 4) as shown:
        run(request, load_pictures(pictures, count), shown)
        if spec:
            write_sidecar(spec, request.out)


def adapt(
    model: Annotated[str, typer.Argument(help="A known model or an .onnx file.")],
    out: OutOption,
    opset: Annotated[int | None, typer.Option(help="Version of the operators.")] = None,
    size: Annotated[str | None, typer.Option(help="Fix the input to this width x height.")] = None,
    deconv: Annotated[bool, typer.Option("--deconv", help="Resize becomes ConvTranspose.")] = False,
    float16: Annotated[bool, typer.Option("--float16", help="Half precision inside.")] = False,
    simplify: Annotated[bool, typer.Option(help="Fold and fuse with onnxslim.")] = True,
    pictures: PicturesOption = None,
    count: CountOption = 4,
    as_json: JsonFlag = False,
) -> None:
    """Change a model for an accelerator, with proof after each step that it computes the same."""
    from tools.models.adapt import Wishes
    from tools.models.adapt import adapt as run
    from tools.models.sidecar import resolve, write_sidecar

    path, spec = resolve(model)
    wishes = Wishes(
        opset=opset, size=parse_size(size) if size else None, deconv=deconv, float16=float16, simplify=simplify
    )
    with steps_shown(as_json, 5) as shown:
        run(path, parse_onnx_name(out), wishes, spec.input if spec else None, load_pictures(pictures, count), shown)
        if spec:
            write_sidecar(spec, out)


TargetOption = Annotated[str, typer.Option("--target", help="An accelerator of targets.toml.")]
TargetsOption = Annotated[Path | None, typer.Option("--targets", help="A table of your own instead of ours.")]


def lint(
    model: Annotated[str | None, typer.Argument(help="A known model or an .onnx file; none: list the targets.")] = None,
    target: TargetOption = "",
    targets: TargetsOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List what a target cannot run; exits with 1 when there is something."""
    from tools.cli.output import print_json, table
    from tools.models import graph
    from tools.models.lint import TARGETS, find_target, read_targets
    from tools.models.lint import lint as look
    from tools.models.sidecar import resolve

    if model is None:
        rows = [
            {"name": row.name, "title": row.title, "source": row.source}
            for row in read_targets(targets or TARGETS).values()
        ]
        print_json(rows) if as_json else typer.echo("\n".join(f"{row['name']:<10} {row['title']}" for row in rows))
        return
    path, _ = resolve(model)
    chosen = find_target(target, targets or TARGETS)
    problems = look(graph.read(path), chosen)
    if as_json:
        print_json([dataclasses.asdict(problem) for problem in problems])
    elif problems:
        from rich.console import Console

        alike: dict[tuple[str, str], list[str]] = {}
        for problem in problems:
            alike.setdefault((problem.operator, problem.reason), []).append(problem.node)
        made = table("operator", "nodes", f"why {chosen.name} cannot run it")
        for (operator, reason), nodes in alike.items():
            made.add_row(operator, nodes[0] + (f" and {len(nodes) - 1} more" if nodes[1:] else ""), reason)
        Console().print(made)
    else:
        typer.echo(f"{path.name}: {chosen.name} can run all of it, as far as its table says")
    if problems:
        raise typer.Exit(1)


def split(
    model: Annotated[str, typer.Argument(help="A known model or an .onnx file.")],
    out: Annotated[Path, typer.Option("--out", help="Name of the result: OUT.toml, OUT-backbone.onnx, OUT-head.onnx.")],
    target: TargetOption = "",
    targets: TargetsOption = None,
    at: Annotated[str | None, typer.Option("--at", help="Cut at these tensors (commas) and nowhere else.")] = None,
    pictures: PicturesOption = None,
    count: CountOption = 4,
    as_json: JsonFlag = False,
) -> None:
    """Cut a model into a backbone for the accelerator and a head for the CPU, at the cheapest place."""
    from tools.models import graph
    from tools.models.lint import TARGETS, find_target
    from tools.models.proof import Step
    from tools.models.sidecar import resolve, write_sidecar
    from tools.models.split import find_cut, part_path
    from tools.models.split import split as run

    path, spec = resolve(model)
    if bool(target) == bool(at):
        raise ConfigError("give --target NAME, or --at TENSOR,TENSOR")
    with steps_shown(as_json, 4) as shown:
        if at:
            tensors = tuple(at.split(","))
            shown(Step("cut", f"at {', '.join(tensors)}, as asked"))
        else:
            cut = find_cut(graph.read(path), find_target(target, targets or TARGETS))
            tensors = cut.tensors
            shown(Step("cut", cut.line()))
        for step in run(path, out, tensors, spec.input if spec else None, load_pictures(pictures, count)):
            shown(step)
        if spec:
            names = {"backbone": part_path(out, "backbone").name, "head": part_path(out, "head").name}
            written = write_sidecar(spec, out, {"split": names})
            shown(Step("ready", f"infer.model: {written}", path=written))


def quantize(
    model: Annotated[str, typer.Argument(help="A known model or an .onnx file of float32.")],
    out: OutOption,
    calibrate: Annotated[
        str | None, typer.Option(help="Folder, photograph, clip or camera to calibrate with; else the demo's clip.")
    ] = None,
    count: CountOption = 48,
    labels: Annotated[
        Path | None, typer.Option(help="Folder like WIDER FACE or COCO to judge with; else against the float model.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many labelled pictures.")] = 0,
    variants: Annotated[
        str, typer.Option(help="per-channel, per-tensor, mixed (heads float); commas.")
    ] = "per-channel,mixed",
    method: Annotated[str, typer.Option(help="Ranges by minmax, entropy or percentile.")] = "minmax",
    exclude: Annotated[str, typer.Option(help="Names of nodes that stay float, with commas.")] = "",
    reduced: Annotated[bool, typer.Option("--reduced", help="7 bit weights, for x86 without VNNI.")] = False,
    width: Annotated[int, typer.Option(min=32, max=4096, help="Longer side of the input.")] = 640,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Of each model, when timed.")] = 1,
    max_loss: Annotated[float, typer.Option(min=0, max=1, help="Average precision that may be lost.")] = 0.01,
    as_json: JsonFlag = False,
) -> None:
    """Make int8 models, measure speed and accuracy against float on this machine, and recommend."""
    from tools.cli.quantize import run

    chosen = tuple(
        parse_choice("variants", name, ("per-channel", "per-tensor", "mixed")) for name in variants.split(",")
    )
    run(
        model,
        parse_onnx_name(out),
        chosen,
        parse_choice("method", method, ("minmax", "entropy", "percentile")),
        tuple(name for name in exclude.split(",") if name),
        reduced=reduced,
        pictures=load_pictures(calibrate, count),
        labels=labels,
        limit=limit,
        width=width,
        threads=threads,
        max_loss=max_loss,
        as_json=as_json,
    )


def load_pictures(source: str | None, count: int) -> Sequence[Picture]:
    """The pictures that the user named, or those of the demo's clip."""
    from tools.models.frames import demo_clip
    from tools.models.frames import pictures as read

    return read(source or demo_clip(), count)


def _plain_input(colour: str, mean: float, scale: float) -> InputSpec:
    from services.infer.manifest import InputSpec

    order = cast(Literal["bgr", "rgb"], parse_choice("colour", colour, ("bgr", "rgb")))
    return InputSpec(colour=order, mean=(mean, mean, mean), scale=scale, multiple=1)
