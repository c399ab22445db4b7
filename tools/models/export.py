"""From a PyTorch module to an ONNX file: TorchScript, ONNX, simplified; each step is compared with PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, ModelError
from services.infer.manifest import InputSpec
from tools.models.frames import Picture, names_and_sizes, tensor
from tools.models.graph import REFUSALS, library, opset, read, short, write
from tools.models.proof import Step, Tensors, largest_difference, run, session
from tools.models.simplify import quiet, simplify
from tools.models.torch_module import load_module, torch_library, weights_file

Progress = Callable[[Step], None]
EXPORT_LIMIT, SIMPLIFY_LIMIT = 1e-4, 1e-5  # float32 sums in another order
OPSETS = {"torchscript": 17, "dynamo": 20}
NEWEST_OPSET = {"torchscript": 20, "dynamo": 23}
MOST_MULTIPLES = 128  # sizes that dynamo is asked to prove: up to so many times the multiple


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What shall be exported, and how.

    Attributes:
        target: `module:Class`, `file.py:Class`, or a TorchScript file.
        out: The .onnx file to write.
        checkpoint: Weights, as `load_module` takes them.
        arguments: For the constructor.
        input: What the model wants at its input.
        size: Width and height of the example.
        dynamic: Which axes stay free.
        mode: TorchScript by trace, by script, or whichever is right.
        exporter: Which of PyTorch's two.
        opset: Version of the operators; None takes the exporter's usual one.
        input_name: Name of the input.
        outputs: Names of the outputs; empty takes the class's `outputs`, or numbers.
        simplify: Fold and fuse with onnxslim.
    """

    target: str
    out: Path
    checkpoint: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    input: InputSpec = field(default_factory=InputSpec)
    size: tuple[int, int] = (320, 256)
    dynamic: frozenset[str] = frozenset({"size"})
    mode: Literal["auto", "trace", "script"] = "auto"
    exporter: Literal["torchscript", "dynamo"] = "torchscript"
    opset: int | None = None
    input_name: str = "input"
    outputs: tuple[str, ...] = ()
    simplify: bool = True


@dataclass(slots=True)
class _Job:
    """A request with its module, its test tensors, and what PyTorch makes of them."""

    request: Request
    module: Any
    tensors: list[NDArray[np.float32]]
    names: tuple[str, ...]
    expected: list[Tensors]


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
    scripted, step = _torchscript(job)
    done(step)
    done(_onnx(job, scripted))
    if request.simplify:
        done(_simplified(job))
    return steps


def _prepare(request: Request, pictures: Sequence[Picture]) -> _Job:
    torch = torch_library()
    module = load_module(request.target, request.checkpoint, request.arguments)
    tensors = [tensor(picture, request.input, size, 0) for picture, size in _plan(request, pictures)]
    if "batch" in request.dynamic:
        tensors.append(np.concatenate([tensors[0], tensors[0][:, :, ::-1]]))
    with torch.inference_mode():
        try:
            made = [_tuple(module(torch.from_numpy(item))) for item in tensors]
        except (AssertionError, *REFUSALS) as error:
            raise ModelError(f"{request.target} does not run with {tensors[0].shape}: {short(error)}") from error
    names = (
        request.outputs or tuple(getattr(module, "outputs", ())) or tuple(f"output_{i}" for i in range(len(made[0])))
    )
    if len(names) != len(made[0]):
        raise ConfigError(f"--outputs {','.join(names)}: the module has {len(made[0])}")
    expected: list[Tensors] = [dict(zip(names, (value.numpy() for value in values), strict=True)) for values in made]
    return _Job(request, module, tensors, names, expected)


def _plan(request: Request, pictures: Sequence[Picture]) -> list[tuple[Picture, tuple[int, int]]]:
    """Pictures with the size that each is tried at; where the size is free, every second one at another."""
    width, height = request.size
    step = request.input.multiple
    if width % step or height % step:
        raise ConfigError(f"--size {width}x{height}: multiples of {step} expected")
    other = (width + step, height + 2 * step) if "size" in request.dynamic else request.size
    return [(picture, (request.size, other)[index % 2]) for index, picture in enumerate(pictures)]


def _tuple(value: Any) -> tuple[Any, ...]:
    torch = torch_library()
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not all(isinstance(item, torch.Tensor) for item in values):
        kinds = ", ".join(type(item).__name__ for item in values)
        raise ModelError(f"the module gives {kinds}; a tensor or a tuple of tensors expected")
    return values


def _torchscript(job: _Job) -> tuple[Any, Step]:
    """A TorchScript module: traced if that is true for every test picture, else scripted."""
    torch, mode = torch_library(), job.request.mode
    if isinstance(job.module, torch.jit.ScriptModule):
        return job.module, Step("torchscript", "it is TorchScript already")
    traced, why = (None, "it was asked for") if mode == "script" else _trace(job)
    if traced is not None and (not why or mode == "trace"):
        difference = _compare_torch(job, traced, "torchscript (trace)", EXPORT_LIMIT)
        return traced, _kept(job, traced, f"trace, since {why or 'no branch depends on the data'}", difference)
    if mode == "trace":
        raise ModelError(f"torchscript: --mode trace, but {why}")
    try:
        scripted = torch.jit.script(job.module)
    except (OSError, *REFUSALS) as error:
        raise ModelError(f"torchscript: a trace will not do ({why}), and script fails: {short(error)}") from error
    difference = _compare_torch(job, scripted, "torchscript (script)", EXPORT_LIMIT)
    return scripted, _kept(job, scripted, f"script, since {why}", difference)


def _kept(job: _Job, scripted: Any, detail: str, difference: float) -> Step:
    path = job.request.out.with_suffix(".torchscript.pt")
    path.parent.mkdir(parents=True, exist_ok=True)
    scripted.save(str(path))
    return Step("torchscript", detail, difference, EXPORT_LIMIT, len(job.tensors), path)


def _trace(job: _Job) -> tuple[Any, str]:
    """A traced module (or None), and why it must not be used (or nothing)."""
    torch = torch_library()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            traced = torch.jit.trace(job.module, torch.from_numpy(job.tensors[0]), check_trace=False)
        except RuntimeError as error:
            return None, f"trace fails: {short(error)}"
    for item in caught:
        if issubclass(item.category, torch.jit.TracerWarning) and "boolean" in str(item.message):
            return traced, f"a branch depends on the data ({Path(item.filename).name}:{item.lineno})"
    try:
        _compare_torch(job, traced, "trace", EXPORT_LIMIT)
    except ModelError as error:
        return traced, f"the trace is not true for every picture and size: {error}"
    return traced, ""


def _compare_torch(job: _Job, scripted: Any, what: str, limit: float) -> float:
    torch = torch_library()
    found = []
    with torch.inference_mode():
        for item in job.tensors:
            try:
                values = _tuple(scripted(torch.from_numpy(item)))
            except RuntimeError as error:
                raise ModelError(f"{what}: fails with {item.shape}: {short(error)}") from error
            found.append(dict(zip(job.names, (value.numpy() for value in values), strict=True)))
    return largest_difference(job.expected, found, what, limit)


def _onnx(job: _Job, scripted: Any) -> Step:
    request = job.request
    request.out.parent.mkdir(parents=True, exist_ok=True)
    version = request.opset or OPSETS[request.exporter]
    exporter = _by_dynamo if request.exporter == "dynamo" else _by_torchscript
    with quiet():
        exporter(job, scripted, version)
    model = read(request.out)
    difference = largest_difference(job.expected, _outputs(job, request.out), "onnx", EXPORT_LIMIT)
    free = ", ".join(sorted(request.dynamic)) or "nothing"
    detail = f"exporter {request.exporter}, opset {opset(model)}, {len(model.graph.node)} operators, free: {free}"
    return Step("onnx", detail, difference, EXPORT_LIMIT, len(job.tensors), request.out)


def _by_torchscript(job: _Job, scripted: Any, version: int) -> None:
    torch, request = torch_library(), job.request
    axes: dict[int, str] = {0: "batch"} if "batch" in request.dynamic else {}
    if "size" in request.dynamic:
        first = 2 if request.input.layout == "nchw" else 1
        axes |= {first: "height", first + 1: "width"}
    dynamic = {request.input_name: axes} if axes else {}
    for name, value in job.expected[0].items():  # which of their sizes are free follows from the input's
        if axes:
            dynamic[name] = {axis: f"{name}_{axis}" for axis in _free_axes(job, name, value.ndim)}
    try:
        torch.onnx.export(
            scripted,
            (torch.from_numpy(job.tensors[0]),),
            str(request.out),
            dynamo=False,
            opset_version=version,
            input_names=[request.input_name],
            output_names=list(job.names),
            dynamic_axes=dynamic,
        )
    except (torch.onnx.errors.OnnxExporterError, *REFUSALS) as error:
        raise ModelError(f"onnx: PyTorch cannot express the module in opset {version}: {short(error)}") from error


def _root(error: BaseException) -> str:
    """The first cause of an error: what stands around it in dynamo's is advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return short(error)


def _free_axes(job: _Job, name: str, rank: int) -> list[int]:
    """Axes of an output that differed between the test pictures."""
    seen = [expected[name].shape for expected in job.expected]
    return [axis for axis in range(rank) if len({shape[axis] for shape in seen}) > 1]


def _by_dynamo(job: _Job, _scripted: Any, version: int) -> None:
    torch, request = torch_library(), job.request
    try:
        import onnxscript  # noqa: F401 - torch says it less clearly
    except ModuleNotFoundError as error:
        raise ConfigError("--exporter dynamo needs the package onnxscript: pip install 'vedette[export]'") from error
    if isinstance(job.module, torch.jit.ScriptModule):
        raise ConfigError("--exporter dynamo needs the PyTorch class, not TorchScript")
    axes: dict[int, Any] = {}
    if "batch" in request.dynamic:
        axes[0] = torch.export.Dim("batch", min=1, max=64)
    if "size" in request.dynamic:
        first, step = (2 if request.input.layout == "nchw" else 1), request.input.multiple
        for axis, name in ((first, "height"), (first + 1, "width")):
            unit = torch.export.Dim(name if step == 1 else f"{name}_{step}", min=1, max=max(2, 4096 // step))
            axes[axis] = unit if step == 1 else step * unit
    example = job.tensors[-1] if "batch" in request.dynamic else job.tensors[0]  # a batch of 1 would be taken as fixed
    try:
        torch.onnx.export(
            job.module,
            (torch.from_numpy(example),),
            str(request.out),
            dynamo=True,
            opset_version=max(version, 18),
            input_names=[request.input_name],
            output_names=list(job.names),
            dynamic_shapes=(axes,) if axes else None,
            external_data=False,
            verbose=False,
        )
    except (torch.onnx.errors.OnnxExporterError, *REFUSALS) as error:
        raise ModelError(
            f"onnx: the exporter dynamo cannot take the module (--exporter torchscript may): {_root(error)}"
        ) from error
    if version < 18:
        _lower(request.out, version)


def _lower(path: Path, version: int) -> None:
    from tools.models.adapt import to_opset

    write(to_opset(read(path), version), path)


def _simplified(job: _Job) -> Step:
    path = job.request.out
    whole = read(path)
    before = _outputs(job, path)
    model = simplify(whole)
    write(model, path)
    difference = largest_difference(before, _outputs(job, path), "simplified", SIMPLIFY_LIMIT)
    detail = f"onnxslim, {len(whole.graph.node)} operators before, {len(model.graph.node)} now"
    return Step("simplified", detail, difference, SIMPLIFY_LIMIT, len(job.tensors), path)


def _published(job: _Job, path: Path) -> Step:
    """The filled module against the file that its weights come from, output by output of the same name."""
    found = _outputs(job, path)
    shared = [{name: value[name] for name in job.names if name in value} for value in found]
    if not shared[0]:
        raise ModelError(
            f"{path.name} has outputs {', '.join(found[0])}, the module {', '.join(job.names)}: none in common"
        )
    mine = [{name: value[name] for name in shared[0]} for value in job.expected]
    difference = largest_difference(shared, mine, "weights", EXPORT_LIMIT)
    return Step("weights", f"from {path.name}, in the order of its layers", difference, EXPORT_LIMIT, len(found))


def _outputs(job: _Job, path: Path) -> list[Tensors]:
    loaded = session(path)
    (only,) = loaded.get_inputs()
    return [run(loaded, {only.name: item}) for item in job.tensors]
