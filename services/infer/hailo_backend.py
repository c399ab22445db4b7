"""Runs a .hef model on a Hailo-8, 8L or 10H by its own runtime, `hailo_platform` (HailoRT 4.17 or newer).

Written from the public documentation of that package and tested against a fake of it; never run on a device.

A .hef is compiled for one input size, takes bytes in rows of pixels (its normalisation is part of it), and there is no
CPU that could stand in: a device that is away is an error that the worker retries.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hailo_platform as hailo
import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, DeviceError, ModelError
from common.settings import InferSettings
from services.infer.backends import Placement
from services.infer.picture_input import check_size, fixed_size

log = logging.getLogger(__name__)

READY_MS = 1_000  # until the device takes one more frame
DONE_MS = 2_000  # until a frame is done; the largest detectors take 20 ms
GROUP = "SHARED"  # all workers of the node use the device together, by HailoRT's own service


class HailoBackend:
    """A .hef model on a device, which all workers share by HailoRT's scheduler."""

    def __init__(self, path: Path, settings: InferSettings, layout: str = "nhwc") -> None:
        """Open the device and configure the model.

        Args:
            path: The .hef file.
            settings: `device` is an id of `hailortcli scan`; None takes any.
            layout: `nhwc`: a .hef has no other.

        Raises:
            ConfigError: The layout of the model's .toml file is not nhwc.
            DeviceError: There is no device, or it is in use.
            ModelError: The file is no .hef, is for another device, or its input is no picture.
        """
        if path.suffix != ".hef":
            raise ModelError(f"{path.name}: the backend hailo runs .hef files; Hailo's Dataflow Compiler makes them")
        if layout != "nhwc":
            raise ConfigError(f"{path.with_suffix('.toml').name}: input.layout={layout!r}; a .hef wants 'nhwc'")
        self._path, self._batch = path, settings.max_batch
        self._device = _open(settings)
        self._model = self._read()
        only = self._model.inputs[0]
        where = f"{path.name}: input {only.name!r} is {list(only.shape)}"
        self.fixed_size = fixed_size(where, (1, *only.shape), "nhwc")
        self.placement = Placement(f"Hailo {settings.device or ''}".strip(), {"Hailo": 1})
        self._configured = self._configure()

    def bind(self, size: tuple[int, int], batch: int = 1) -> HailoBound:
        """Buffers for the model's input size and so many pictures, after one run.

        Raises:
            ModelError: It is another size.
            DeviceError: The device failed.
        """
        check_size(self._path.name, self._model.inputs[0].name, self.fixed_size, size)
        bound = HailoBound(self._configured, self._model, batch)
        bound.run()
        return bound

    def _read(self) -> Any:
        try:
            model = self._device.create_infer_model(str(self._path))
        except hailo.HailoRTException as error:
            raise ModelError(f"{self._path}: HailoRT cannot load it: {error}") from error
        if len(model.inputs) != 1:
            raise ModelError(f"{self._path.name}: inputs {model.input_names}, one expected")
        return model

    def _configure(self) -> Any:
        """Bytes in, float32 out: HailoRT undoes the quantisation."""
        self._model.set_batch_size(self._batch)
        self._model.inputs[0].set_format_type(hailo.FormatType.UINT8)
        for output in self._model.outputs:
            output.set_format_type(hailo.FormatType.FLOAT32)
        try:
            return self._model.configure()
        except hailo.HailoRTException as error:
            raise ModelError(f"{self._path.name}: the device does not take it: {error}") from error


class HailoBound:
    """Input and output buffers of one request for each picture; HailoRT reads and writes them in place.

    A model that ends in Hailo's own non-maximum suppression gives a flat array a picture (decoder `hailo-nms`), any
    other gives maps of rows, columns and channels.
    """

    def __init__(self, configured: Any, model: Any, batch: int) -> None:
        shape = tuple(model.inputs[0].shape)
        self.tensor: NDArray[Any] = np.zeros((batch, *shape), np.uint8)
        self.outputs: Mapping[str, NDArray[Any]] = {
            item.name: np.zeros((batch, *item.shape), np.float32) for item in model.outputs
        }
        self._configured = configured
        self._bindings = [
            configured.create_bindings(
                input_buffers={model.inputs[0].name: self.tensor[row]},
                output_buffers={name: value[row] for name, value in self.outputs.items()},
            )
            for row in range(batch)
        ]

    def run(self, count: int | None = None) -> None:
        """Hand the frames over, all or the first ones, and wait for the results.

        Raises:
            DeviceError: The device failed, or took too long.
        """
        bindings = self._bindings[:count]
        try:
            self._configured.wait_for_async_ready(timeout_ms=READY_MS, frames_count=len(bindings))
            self._configured.run_async(bindings).wait(DONE_MS)
        except hailo.HailoRTException as error:
            raise DeviceError(f"the Hailo device failed: {type(error).__name__} {error}".rstrip()) from error


def _open(settings: InferSettings) -> Any:
    """The device, shared with other processes.

    Raises:
        DeviceError: There is none, or it is in use.
    """
    parameters = hailo.VDevice.create_params()
    parameters.scheduling_algorithm = hailo.HailoSchedulingAlgorithm.ROUND_ROBIN
    if settings.workers > 1:
        parameters.group_id = GROUP
        parameters.multi_process_service = True
    try:
        if settings.device is None:
            return hailo.VDevice(parameters)
        found = [str(device) for device in hailo.Device.scan()]
        if settings.device not in found:
            raise DeviceError(f"infer.device={settings.device!r}: Hailo devices here: {', '.join(found) or 'none'}")
        return hailo.VDevice(parameters, device_ids=[settings.device])
    except hailo.HailoRTException as error:
        raise DeviceError(
            f"no Hailo device can be opened: {type(error).__name__} {error}; see `hailortcli scan`"
        ) from error
