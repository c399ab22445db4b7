"""A backend that runs a model in PyTorch, eager or as TorchScript: the point that the comparison starts from.

`infer.provider_options: {torch: {module: "file.py:Class", checkpoint: NAME, script: "1"}}`. The module's outputs must
come in the order of the ONNX model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from common.errors import ModelError
from common.settings import InferSettings
from services.infer.backends import Placement
from services.infer.picture_input import tensor_shape


class TorchBackend:
    """A PyTorch module with the names of an ONNX model's outputs."""

    def __init__(self, path: Path, settings: InferSettings, layout: str = "nchw") -> None:
        from tools.models.torch_module import load_module

        options = settings.provider_options["torch"]
        torch.set_num_threads(settings.threads)
        self._module = load_module(options["module"], options.get("checkpoint"), {})
        self._script, self._layout = bool(options.get("script")), layout
        self._names = [item.name for item in onnx.load(str(path), load_external_data=False).graph.output]
        self.fixed_size: tuple[int, int] | None = None
        self.placement = Placement("PyTorch", {"TorchScript" if self._script else "eager": 1})

    def bind(self, size: tuple[int, int]) -> TorchBound:
        """Buffers for one input size; with TorchScript the module is traced and frozen for it.

        Raises:
            ModelError: The module does not give as many outputs as the ONNX model.
        """
        tensor = np.zeros(tensor_shape(size, self._layout), np.float32)
        module = self._module
        if self._script:
            module = torch.jit.freeze(torch.jit.trace(self._module, torch.from_numpy(tensor)))
        return TorchBound(module, tensor, self._names)


class TorchBound:
    """A module with its buffers."""

    def __init__(self, module: Any, tensor: NDArray[Any], names: list[str]) -> None:
        self._module, self.tensor = module, tensor
        self._input = torch.from_numpy(tensor)  # the same memory
        self.outputs: Mapping[str, NDArray[Any]] = {}
        first = self._results()
        if len(first) != len(names):
            raise ModelError(f"the PyTorch module gives {len(first)} outputs, the ONNX model {len(names)}")
        self.outputs = {name: value.numpy().copy() for name, value in zip(names, first, strict=True)}
        for _ in range(3):
            self.run()  # the profiling executor of TorchScript compiles in its first runs

    def run(self) -> None:
        """Run the module once."""
        for mine, value in zip(self.outputs.values(), self._results(), strict=True):
            np.copyto(mine, value.numpy())

    def _results(self) -> list[Any]:
        with torch.inference_mode():
            found = self._module(self._input)
        return [found] if isinstance(found, torch.Tensor) else list(found)
