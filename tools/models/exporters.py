"""The two exporters of PyTorch: from a module to an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.errors import ConfigError, ModelError
from tools.models.export_job import Job
from tools.models.graph import REFUSALS, read, short, write
from tools.models.torch_module import torch_library


def by_torchscript(job: Job, scripted: Any, version: int) -> None:
    """Write `job.request.out` by the exporter that takes TorchScript.

    Raises:
        ModelError: The module cannot be expressed.
    """
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


def by_dynamo(job: Job, _scripted: Any, version: int) -> None:
    """Write `job.request.out` by the exporter that takes the PyTorch class.

    Raises:
        ConfigError: The package onnxscript is missing, or the module is TorchScript.
        ModelError: The exporter cannot take the module.
    """
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


def _root(error: BaseException) -> str:
    """The first cause of an error: what stands around it in dynamo's is advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return short(error)


def _free_axes(job: Job, name: str, rank: int) -> list[int]:
    """Axes of an output that differed between the test pictures."""
    seen = [expected[name].shape for expected in job.expected]
    return [axis for axis in range(rank) if len({shape[axis] for shape in seen}) > 1]
