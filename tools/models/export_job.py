"""A module on its way to ONNX: what was asked for, its test tensors, and what PyTorch makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from common.errors import ModelError
from services.infer.manifest import InputSpec
from tools.models.proof import Tensors, run, session
from tools.models.torch_module import torch_library

EXPORT_LIMIT = 1e-4  # float32 sums in another order


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
class Job:
    """A request with its module, its test tensors, and what PyTorch makes of them."""

    request: Request
    module: Any
    tensors: list[NDArray[np.float32]]
    names: tuple[str, ...]
    expected: list[Tensors]


def tensors_of(value: Any) -> tuple[Any, ...]:
    """What a module gives, as a tuple of tensors."""
    torch = torch_library()
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not all(isinstance(item, torch.Tensor) for item in values):
        kinds = ", ".join(type(item).__name__ for item in values)
        raise ModelError(f"the module gives {kinds}; a tensor or a tuple of tensors expected")
    return values


def outputs_of(job: Job, path: Path) -> list[Tensors]:
    """What an ONNX file gives for each test tensor."""
    loaded = session(path)
    (only,) = loaded.get_inputs()
    return [run(loaded, {only.name: item}) for item in job.tensors]
