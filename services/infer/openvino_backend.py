"""Runs a model by OpenVINO: Intel's CPUs, GPUs and NPUs, and the CPU of any x86-64 or AArch64 machine.

`infer.device` names the device. One that cannot compile or run the model is replaced by the CPU, loudly. Arithmetic
is float32 unless `provider_options: {openvino: {INFERENCE_PRECISION_HINT: bf16}}` allows less: OpenVINO would choose
bfloat16 by itself where the processor has it, and the same model would find other faces there.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from common.errors import ConfigError, DeviceError, ModelError
from common.settings import InferSettings
from services.infer.backends import Assignment, Placement
from services.infer.picture_input import check_batch, check_outputs, check_size, fixed_size, tensor_shape

log = logging.getLogger(__name__)

CPU = "CPU"
COMBINED = ("AUTO", "MULTI", "HETERO", "BATCH")  # OpenVINO's own choosers, which are no devices
TYPES = {"f32": np.float32, "f16": np.float16}
FREE_SIZE = (320, 192)
LONGEST = 300


class OpenVinoBackend:
    """A model read by OpenVINO; it is compiled for each input size."""

    def __init__(self, path: Path, settings: InferSettings, layout: str = "nchw") -> None:
        """Read the model and try it on the device.

        Args:
            path: An .onnx or .xml file.
            settings: Device, threads and options.
            layout: Order of the input's axes, `nchw` or `nhwc`.

        Raises:
            ConfigError: No such device or option.
            ModelError: The file cannot be read, or its input is no picture.
        """
        self._path, self._settings, self._layout = path, settings, layout
        self._core = ov.Core()
        self._device = _device(self._core, settings)
        try:
            self._model = self._core.read_model(str(path))
        except RuntimeError as error:
            raise ModelError(f"{path}: OpenVINO {ov.__version__} cannot read it: {_line(error)}") from error
        self._input, self.fixed_size = self._check_input()
        self.placement = Placement(self._device, {})
        self._prove()

    def bind(self, size: tuple[int, int], batch: int = 1) -> OpenVinoBound:
        """Buffers for an input of this width and height, after one run of each number of pictures.

        Raises:
            ModelError: The model does not take this size, or not so many pictures.
        """
        check_size(self._path.name, self._input, self.fixed_size, size)
        check_batch(f"{self._path.name}: input {self._input!r}", _axes(self._model.inputs[0]), batch)
        return self._bind(size, self._device, batch)

    def assignments(self) -> list[Assignment]:
        """Where each operation of the graph runs, as the device says."""
        placed = self._core.query_model(self._model, self._device)
        return [
            Assignment(op.get_friendly_name(), op.get_type_name(), placed.get(op.get_friendly_name(), "nobody"))
            for op in self._model.get_ordered_ops()
            if op.get_type_name() not in {"Constant", "Parameter", "Result"}
        ]

    def _bind(self, size: tuple[int, int], device: str, batch: int = 1) -> OpenVinoBound:
        names = [port.get_any_name() for port in self._model.outputs]  # the compiled model may have others
        kind = TYPES[self._model.inputs[0].get_element_type().to_string()]
        try:
            compiled = [self._compile(tensor_shape(size, self._layout, count), device) for count in range(1, batch + 1)]
            bound = OpenVinoBound(compiled, np.zeros(tensor_shape(size, self._layout, batch), kind), names)
            check_outputs(self._path.name, bound.outputs, batch)
            bound.share_outputs()
        except RuntimeError as error:
            where = f"{self._path.name}: does not run at {size[0]}x{size[1]} on {device}"
            raise ModelError(f"{where}: {_line(error)}") from error
        return bound

    def _compile(self, shape: tuple[int, int, int, int], device: str) -> Any:
        """The model for one shape: OpenVINO is fastest when it knows all axes."""
        model = self._model.clone()
        model.reshape({model.inputs[0]: list(shape)})
        return self._core.compile_model(model, device, _options(self._settings))

    def _prove(self) -> None:
        """Believe the device only after it ran once; then ask OpenVINO which devices it used."""
        size, fallback = self.fixed_size or FREE_SIZE, ""
        try:
            bound = self._bind(size, self._device)
        except ModelError as error:
            if self._device == CPU:
                raise
            log.warning("falling back to the CPU, OpenVINO %s: %s", self._device, error)
            fallback = f"runs on the CPU instead of {self._device}: {error}"
            self._device = CPU
            bound = self._bind(size, CPU)
        counts = Counter(item.provider for item in self.assignments()) if self._device == CPU else Counter(bound.used())
        self.placement = Placement(self.placement.wanted, dict(counts), fallback)

    def _check_input(self) -> tuple[str, tuple[int, int] | None]:
        inputs = self._model.inputs
        if len(inputs) != 1:
            names = [item.get_any_name() for item in inputs]
            raise ModelError(f"{self._path.name}: inputs {names}, one expected")
        name, kind = inputs[0].get_any_name(), inputs[0].get_element_type().to_string()
        shape = _axes(inputs[0])
        where = f"{self._path.name}: input {name!r} is {kind} {shape}"
        if kind not in TYPES:
            raise ModelError(f"{where}; a type of {', '.join(TYPES)} expected")
        return name, fixed_size(where, shape, self._layout)


class OpenVinoBound:
    """A model compiled for each number of pictures, with its buffers; OpenVINO reads and writes them in place."""

    def __init__(self, compiled: Sequence[Any], tensor: NDArray[Any], names: Sequence[str]) -> None:
        self._compiled = compiled[-1]
        self._requests = [one.create_infer_request() for one in compiled]
        self.tensor = tensor
        for count, request in enumerate(self._requests, 1):
            request.set_input_tensor(ov.Tensor(tensor[:count], shared_memory=True))
        self._requests[-1].infer()
        self.outputs: Mapping[str, NDArray[Any]] = {
            name: self._requests[-1].get_output_tensor(index).data for index, name in enumerate(names)
        }

    def share_outputs(self) -> None:
        """Let runs of fewer pictures write into the first rows of the outputs, and run each once."""
        for count, request in enumerate(self._requests[:-1], 1):
            for index, value in enumerate(self.outputs.values()):
                request.set_output_tensor(index, ov.Tensor(value[:count], shared_memory=True))
            request.infer()

    def used(self) -> dict[str, int]:
        """Nodes by device, from the compiled graph."""
        devices = self._compiled.get_property("EXECUTION_DEVICES")
        count = len(self._compiled.get_runtime_model().get_ops())
        return {"+".join(devices) if isinstance(devices, list) else str(devices): count}

    def run(self, count: int | None = None) -> None:
        """Run the model once, for all pictures or the first ones.

        Raises:
            DeviceError: The device failed after it had worked at load.
        """
        try:
            self._requests[(count or len(self.tensor)) - 1].infer()
        except RuntimeError as error:
            raise DeviceError(f"the model failed while running: {_line(error)}") from error


def _device(core: Any, settings: InferSettings) -> str:
    """The device of the settings, checked to be there.

    Raises:
        ConfigError: It is not.
    """
    wanted = (settings.device or CPU).upper()
    have = core.available_devices
    base, _, parts = wanted.partition(":")
    names = [part.strip() for part in parts.split(",") if part.strip()] if base in COMBINED else [base]
    for name in names:
        if not any(name in {device, device.partition(".")[0]} for device in have):
            raise ConfigError(f"infer.device={settings.device!r}: OpenVINO has {', '.join(have)} here, and AUTO")
    return wanted


def _axes(port: Any) -> list[int | None]:
    """Axes of an input; None where it is free."""
    return [axis.get_length() if axis.is_static else None for axis in port.get_partial_shape()]


def _options(settings: InferSettings) -> dict[str, str]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(settings.threads),
        "INFERENCE_PRECISION_HINT": "f32",
        **settings.provider_options.get("openvino", {}),
    }


def _line(error: Exception) -> str:
    """The last part of OpenVINO's chain of messages says what is wrong; the others are places in its source."""
    parts = [
        part for part in str(error).split("\n") if part.strip() and not part.startswith(("Exception from", "Check "))
    ]
    return " ".join(" ".join(parts or [str(error)]).split())[:LONGEST]
