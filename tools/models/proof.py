"""Proof that a converted model computes what its input model computes: both are run, the largest difference is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ModelError
from tools.models.graph import short

if TYPE_CHECKING:
    import onnx
    import onnxruntime as ort

Tensors = Mapping[str, NDArray[Any]]
QUIET = 4  # severity of what ONNX Runtime prints itself: what ends the process; errors come as exceptions


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a conversion, proven.

    Attributes:
        name: What was done.
        detail: How, and why so.
        difference: Largest absolute difference of any output to the step's input model, over all test pictures; None
            for a step that changes no numbers or is not meant to keep them.
        limit: What it may be: this times the largest value of the output (at least 1).
        pictures: How many were compared.
        path: The file that it wrote, if any.
    """

    name: str
    detail: str = ""
    difference: float | None = None
    limit: float | None = None
    pictures: int = 0
    path: Path | None = None

    def line(self) -> str:
        """The step for people."""
        parts = [self.name]
        if self.detail:
            parts.append(self.detail)
        if self.difference is not None:
            parts.append(f"max difference {self.difference:.3g} (limit {self.limit:g}, {self.pictures} pictures)")
        return ": ".join((parts[0], "; ".join(parts[1:]))) if parts[1:] else parts[0]

    def as_json(self) -> dict[str, Any]:
        """The step for programs."""
        return {
            "step": self.name,
            "detail": self.detail,
            "max_difference": self.difference,
            "limit": self.limit,
            "pictures": self.pictures,
            "path": str(self.path) if self.path else None,
        }


def session(model: onnx.ModelProto | Path, threads: int = 1) -> ort.InferenceSession:
    """A session on the CPU.

    Raises:
        ModelError: ONNX Runtime cannot load it; the message names the operator as the runtime tells it.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = QUIET
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    where = model.name if isinstance(model, Path) else "the model"
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except runtime_errors() as error:
        raise ModelError(f"{where}: ONNX Runtime {ort.__version__} cannot load it: {short(error)}") from error


def run(loaded: ort.InferenceSession, tensors: Tensors) -> dict[str, NDArray[Any]]:
    """Outputs by name.

    Raises:
        ModelError: It fails; the message names the operator.
    """
    names = [item.name for item in loaded.get_outputs()]
    wanted = {item.name for item in loaded.get_inputs()}
    try:
        return dict(zip(names, loaded.run(names, {key: tensors[key] for key in wanted}), strict=True))
    except KeyError as error:
        raise ModelError(f"the model has an input {error} that nothing feeds") from error
    except runtime_errors() as error:
        sizes = ", ".join(f"{key} {value.shape}" for key, value in tensors.items())
        raise ModelError(f"the model does not run with {sizes}: {short(error)}") from error


def largest_difference(expected: Sequence[Tensors], found: Sequence[Tensors], what: str, limit: float) -> float:
    """Largest absolute difference over all outputs and pictures.

    Args:
        expected: Outputs of the input model, one mapping a picture.
        found: Outputs of the converted one, the same names.
        what: The step, for messages.
        limit: What is allowed, times the largest value of the output (at least 1).

    Raises:
        ModelError: It is more than that, or an output is missing or of another shape; the message names it.
    """
    worst = 0.0
    for before, after in zip(expected, found, strict=True):
        for name, value in before.items():
            if name not in after:
                raise ModelError(f"{what}: output {name!r} is gone; there are {', '.join(after)}")
            worst = max(worst, _difference(value, after[name], f"{what}: output {name!r}", limit))
    return worst


def _difference(before: NDArray[Any], after: NDArray[Any], where: str, limit: float) -> float:
    if before.shape != after.shape:
        raise ModelError(f"{where} has shape {after.shape}, {before.shape} expected")
    if not before.size:
        return 0.0
    one, two = before.astype(np.float64), after.astype(np.float64)
    difference = float(np.max(np.abs(one - two)))
    allowed = limit * max(1.0, float(np.max(np.abs(one))))
    if not difference <= allowed:  # also when it is not a number
        raise ModelError(f"{where} differs by {difference:.3g}, at most {allowed:.3g} is allowed")
    return difference


def runtime_errors() -> Any:
    """What ONNX Runtime raises for a model that it cannot take."""
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    names = ("EPFail", "EngineError", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel")
    more = ("NoSuchFile", "NotImplemented", "RuntimeException")
    return (RuntimeError, ValueError, *(getattr(errors, name) for name in (*names, *more)))
