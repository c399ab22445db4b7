"""The first step of an export: a TorchScript module that gives what the module gives, by trace or by script."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from common.errors import ModelError
from tools.models.export_job import EXPORT_LIMIT, Job, tensors_of
from tools.models.graph import REFUSALS, short
from tools.models.proof import Step, largest_difference
from tools.models.torch_module import torch_library


def to_torchscript(job: Job) -> tuple[Any, Step]:
    """A TorchScript module: traced if that is true for every test picture, else scripted.

    Raises:
        ModelError: Neither will do, or what was asked for will not.
    """
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


def _kept(job: Job, scripted: Any, detail: str, difference: float) -> Step:
    path = job.request.out.with_suffix(".torchscript.pt")
    path.parent.mkdir(parents=True, exist_ok=True)
    scripted.save(str(path))
    return Step("torchscript", detail, difference, EXPORT_LIMIT, len(job.tensors), path)


def _trace(job: Job) -> tuple[Any, str]:
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


def _compare_torch(job: Job, scripted: Any, what: str, limit: float) -> float:
    torch = torch_library()
    found = []
    with torch.inference_mode():
        for item in job.tensors:
            try:
                values = tensors_of(scripted(torch.from_numpy(item)))
            except RuntimeError as error:
                raise ModelError(f"{what}: fails with {item.shape}: {short(error)}") from error
            found.append(dict(zip(job.names, (value.numpy() for value in values), strict=True)))
    return largest_difference(job.expected, found, what, limit)
