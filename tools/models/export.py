"""From a PyTorch module to an ONNX file: TorchScript, ONNX, simplified; each step is compared with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import ConfigError, ModelError
from tools.models.export_job import EXPORT_LIMIT, Job, Request, outputs_of, tensors_of
from tools.models.exporters import by_dynamo, by_torchscript
from tools.models.frames import Picture, names_and_sizes, tensor
from tools.models.graph import REFUSALS, library, opset, read, short, write
from tools.models.proof import Step, Tensors, largest_difference
from tools.models.simplify import quiet, simplify
from tools.models.torch_module import load_module, torch_library, weights_file
from tools.models.torchscript import to_torchscript

Progress = Callable[[Step], None]
SIMPLIFY_LIMIT = 1e-5  # float32 sums in another order
OPSETS = {"torchscript": 17, "dynamo": 20}
NEWEST_OPSET = {"torchscript": 20, "dynamo": 23}


def export(request: Request, pictures: Sequence[Picture], progress: Progress = lambda _step: None) -> list[Step]:
    """Export a module; returns the proven steps.

    Raises:
        ConfigError: Something that was named does not exist.
        ModelError: A step fails or is not equal; the message names the operator or the output.
    """
    newest = NEWEST_OPSET[request.exporter]
    if request.opset is not None and not 7 <= request.opset <= newest:
        raise ConfigError(f"--opset {request.opset}: 7 to {newest} for the exporter {request.exporter}")
    library()
    job = _prepare(request, pictures)
    steps: list[Step] = []

    def done(step: Step) -> None:
        steps.append(step)
        progress(step)

    done(Step("pytorch", f"{request.target}, outputs {', '.join(job.names)}; {names_and_sizes(pictures)}"))
    if request.checkpoint and (source := weights_file(request.checkpoint)).suffix == ".onnx":
        done(_published(job, source))
    scripted, step = to_torchscript(job)
    done(step)
    done(_onnx(job, scripted))
    if request.simplify:
        done(_simplified(job))
    return steps


def _prepare(request: Request, pictures: Sequence[Picture]) -> Job:
    torch = torch_library()
    module = load_module(request.target, request.checkpoint, request.arguments)
    tensors = [tensor(picture, request.input, size, 0) for picture, size in _plan(request, pictures)]
    if "batch" in request.dynamic:
        tensors.append(np.concatenate([tensors[0], tensors[0][:, :, ::-1]]))
    with torch.inference_mode():
        try:
            made = [tensors_of(module(torch.from_numpy(item))) for item in tensors]
        except (AssertionError, *REFUSALS) as error:
            raise ModelError(f"{request.target} does not run with {tensors[0].shape}: {short(error)}") from error
    names = (
        request.outputs or tuple(getattr(module, "outputs", ())) or tuple(f"output_{i}" for i in range(len(made[0])))
    )
    if len(names) != len(made[0]):
        raise ConfigError(f"--outputs {','.join(names)}: the module has {len(made[0])}")
    expected: list[Tensors] = [dict(zip(names, (value.numpy() for value in values), strict=True)) for values in made]
    return Job(request, module, tensors, names, expected)


def _plan(request: Request, pictures: Sequence[Picture]) -> list[tuple[Picture, tuple[int, int]]]:
    """Pictures with the size that each is tried at; where the size is free, every second one at another."""
    width, height = request.size
    step = request.input.multiple
    if width % step or height % step:
        raise ConfigError(f"--size {width}x{height}: multiples of {step} expected")
    other = (width + step, height + 2 * step) if "size" in request.dynamic else request.size
    return [(picture, (request.size, other)[index % 2]) for index, picture in enumerate(pictures)]


def _onnx(job: Job, scripted: Any) -> Step:
    request = job.request
    request.out.parent.mkdir(parents=True, exist_ok=True)
    version = request.opset or OPSETS[request.exporter]
    exporter = by_dynamo if request.exporter == "dynamo" else by_torchscript
    with quiet():
        exporter(job, scripted, version)
    model = read(request.out)
    difference = largest_difference(job.expected, outputs_of(job, request.out), "onnx", EXPORT_LIMIT)
    free = ", ".join(sorted(request.dynamic)) or "nothing"
    detail = f"exporter {request.exporter}, opset {opset(model)}, {len(model.graph.node)} operators, free: {free}"
    return Step("onnx", detail, difference, EXPORT_LIMIT, len(job.tensors), request.out)


def _simplified(job: Job) -> Step:
    path = job.request.out
    whole = read(path)
    before = outputs_of(job, path)
    model = simplify(whole)
    write(model, path)
    difference = largest_difference(before, outputs_of(job, path), "simplified", SIMPLIFY_LIMIT)
    detail = f"onnxslim, {len(whole.graph.node)} operators before, {len(model.graph.node)} now"
    return Step("simplified", detail, difference, SIMPLIFY_LIMIT, len(job.tensors), path)


def _published(job: Job, path: Path) -> Step:
    """The filled module against the file that its weights come from, output by output of the same name."""
    found = outputs_of(job, path)
    shared = [{name: value[name] for name in job.names if name in value} for value in found]
    if not shared[0]:
        raise ModelError(
            f"{path.name} has outputs {', '.join(found[0])}, the module {', '.join(job.names)}: none in common"
        )
    mine = [{name: value[name] for name in shared[0]} for value in job.expected]
    difference = largest_difference(shared, mine, "weights", EXPORT_LIMIT)
    return Step("weights", f"from {path.name}, in the order of its layers", difference, EXPORT_LIMIT, len(found))
