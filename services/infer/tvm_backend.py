"""Runs a model that Apache TVM compiled for this processor, at load or before by `vedette models compile`.

A model is compiled for each input size (10 to 20 s) and kept in the cache, if there is a linker. It is here for
processors that TVM reaches and ONNX Runtime does not; docs/models.md compares the two.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tvm
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from tvm import relax

from common.config import cache_dir
from common.errors import DeviceError, ModelError
from common.settings import InferSettings
from services.infer.backends import Placement
from services.infer.picture_input import check_size, fixed_size, tensor_shape
from services.infer.tvm_compile import compile_model, export, library, picture_input, this_machine

log = logging.getLogger(__name__)

FLOAT = 1  # number of float32 in ONNX


class TvmBackend:
    """An ONNX model, compiled for each input size."""

    def __init__(self, path: Path, settings: InferSettings, layout: str = "nchw") -> None:
        """Read the model's head; it is compiled by `bind`.

        Args:
            path: The .onnx file.
            settings: Threads.
            layout: Order of the input's axes, `nchw` or `nhwc`.

        Raises:
            ModelError: The file cannot be read, or its input is no picture.
        """
        self._path, self._layout = path, layout
        self._target = this_machine()
        self._input, self._outputs, self.fixed_size = self._check()
        self.placement = Placement(f"TVM {self._target.cpu}", {f"TVM {self._target.cpu}": self._nodes})
        tvm.get_global_func("runtime.config_threadpool")(1, settings.threads)  # the fastest cores, so many

    def bind(self, size: tuple[int, int]) -> TvmBound:
        """Buffers for an input of this width and height, after one run.

        Raises:
            ModelError: The model does not take this size.
        """
        check_size(self._path.name, self._input, self.fixed_size, size)
        shape = tensor_shape(size, self._layout)
        machine = relax.VirtualMachine(self._compiled(shape), tvm.cpu())
        return TvmBound(machine, np.zeros(shape, np.float32), self._outputs)

    def _compiled(self, shape: tuple[int, ...]) -> Any:
        path = library(self._path, shape, self._target, cache_dir() / "compiled")
        if path.is_file():
            return tvm.runtime.load_module(str(path))
        log.info("compiling model=%s shape=%s cpu=%s", self._path.name, shape, self._target.cpu)
        compiled = compile_model(self._path, shape, self._target)
        if self._target.linker:
            export(compiled, path, self._target)
        return compiled

    def _check(self) -> tuple[str, list[str], tuple[int, int] | None]:
        try:
            graph = onnx.load(str(self._path), load_external_data=False)
        except (OSError, DecodeError) as error:
            raise ModelError(f"{self._path}: not readable as ONNX: {str(error)[:200]}") from error
        name = picture_input(graph, self._path)
        kind = next(item for item in graph.graph.input if item.name == name).type.tensor_type
        shape = [axis.dim_value or axis.dim_param or None for axis in kind.shape.dim]
        where = f"{self._path.name}: input {name!r} is {onnx.TensorProto.DataType.Name(kind.elem_type)} {shape}"
        if kind.elem_type != FLOAT:
            raise ModelError(f"{where}; FLOAT expected")
        self._nodes = len(graph.graph.node)
        return name, [item.name for item in graph.graph.output], fixed_size(where, shape, self._layout)


class TvmBound:
    """A compiled model with its buffers."""

    def __init__(self, machine: Any, tensor: NDArray[Any], names: list[str]) -> None:
        self._machine, self.tensor = machine, tensor
        self._device = tvm.runtime.tensor(tensor, tvm.cpu())
        first = [np.array(value.numpy()) for value in self._results()]
        self.outputs: Mapping[str, NDArray[Any]] = dict(zip(names, first, strict=True))

    def run(self) -> None:
        """Run the model once.

        Raises:
            DeviceError: It failed after it had worked at load.
        """
        try:
            for mine, value in zip(self.outputs.values(), self._results(), strict=True):
                np.copyto(mine, value.numpy())
        except RuntimeError as error:
            raise DeviceError(f"the model failed while running: {str(error).splitlines()[-1][:200]}") from error

    def _results(self) -> list[Any]:
        self._device.copyfrom(self.tensor)
        found = self._machine["main"](self._device)
        return [found] if hasattr(found, "numpy") else list(found)
