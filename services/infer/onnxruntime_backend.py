"""Runs a model by ONNX Runtime, on the CPU or on whatever execution provider the settings name.

What a provider says of itself is not believed: the runtime's own record of which node went where is (a provider may be
listed and have taken nothing), and one run at load (a provider may take a graph and then fail in it). Both end on the
CPU, with a warning and a reason that the worker reports.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from common.errors import ConfigError, DeviceError, ModelError
from common.settings import InferSettings
from services.infer.backends import Placement

log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
FREE_SIZE = (320, 192)  # a small multiple of 32, to try a model that takes any size
QUIET = 3  # severity of what ONNX Runtime may print itself: errors
RUNTIME_ERRORS = (
    errors.DeviceReset, errors.EPFail, errors.EngineError, errors.Fail, errors.InvalidArgument, errors.InvalidGraph,
    errors.InvalidProtobuf, errors.NoModel, errors.NoSuchFile, errors.NotFound, errors.NotImplemented,
    errors.ModelRequiresCompilation, errors.RuntimeException,
)  # fmt: skip


class OnnxRuntimeBackend:
    """A model loaded by ONNX Runtime."""

    def __init__(self, path: Path, settings: InferSettings, layout: str = "nchw") -> None:
        """Load the model and prove where it runs.

        Args:
            path: The .onnx file.
            settings: Providers and threads.
            layout: Order of the input's axes, `nchw` or `nhwc`.

        Raises:
            ConfigError: A provider that is not there.
            ModelError: The file cannot be loaded, or its input is no picture.
        """
        self._path, self._settings, self._layout = path, settings, layout
        wanted = _wanted(settings)
        self.placement = Placement(wanted, {})
        self._session = self._load(wanted)
        self._input, self.fixed_size = self._check_input()
        if wanted != CPU:
            self._prove()

    def bind(self, size: tuple[int, int]) -> OnnxRuntimeBound:
        """Buffers for an input of this width and height, after one run.

        Raises:
            ModelError: The model does not take this size.
        """
        if self.fixed_size not in {None, size}:
            raise ModelError(f"{self._path.name}: input {self._input.name!r} is fixed to {self.fixed_size}, not {size}")
        width, height = size
        shape = (1, 3, height, width) if self._layout == "nchw" else (1, height, width, 3)
        tensor = np.zeros(shape, TYPES[self._input.type])
        try:
            names = [output.name for output in self._session.get_outputs()]
            first = dict(zip(names, self._session.run(names, {self._input.name: tensor}), strict=True))
        except RUNTIME_ERRORS as error:
            raise ModelError(f"{self._path.name}: does not run at {width}x{height}: {_line(error)}") from error
        return OnnxRuntimeBound(self._session, self._input.name, tensor, first)

    def _load(self, provider: str) -> ort.InferenceSession:
        """Session on a provider (and the CPU for what it does not take).

        Raises:
            ModelError: Not even the CPU can load it.
        """
        options = _options(self._settings)
        arguments: dict[str, Any] = {}
        try:
            if self._settings.provider_library and provider == self._settings.provider_name:
                devices = [device for device in ort.get_ep_devices() if device.ep_name == provider]
                options.add_provider_for_devices(devices, self._settings.provider_options.get(provider, {}))
            else:
                names = [*dict.fromkeys([*self._settings.providers, CPU])] if provider != CPU else [CPU]
                arguments["providers"] = [(name, self._settings.provider_options.get(name, {})) for name in names]
            session = ort.InferenceSession(str(self._path), options, **arguments)
        except (*RUNTIME_ERRORS, ValueError, RuntimeError) as error:
            if provider == CPU:
                raise ModelError(
                    f"{self._path}: ONNX Runtime {ort.__version__} cannot load it: {_line(error)}"
                ) from error
            return self._fall_back(f"it cannot load the model: {_line(error)}")
        session.disable_fallback()  # quiet fallbacks are what this module is against
        self.placement = Placement(self.placement.wanted, _nodes(session), self.placement.fallback)
        return session

    def _prove(self) -> None:
        """Believe the accelerator only after it took nodes and ran once."""
        if self.placement.fallback:
            return
        wanted, nodes = self.placement.wanted, self.placement.nodes
        if not nodes.get(wanted):
            self._session = self._fall_back(f"it took none of the {sum(nodes.values())} nodes")
            return
        try:
            self.bind(self.fixed_size or FREE_SIZE)
        except ModelError as error:
            self._session = self._fall_back(f"it fails in its first run: {error}")
            return
        log.info("accelerated provider=%s nodes=%s", wanted, dict(nodes))

    def _fall_back(self, reason: str) -> ort.InferenceSession:
        wanted = self.placement.wanted
        log.warning("falling back to the CPU, %s: %s", wanted, reason)
        self.placement = Placement(wanted, {}, f"runs on the CPU instead of {wanted}: {reason}")
        return self._load(CPU)

    def _check_input(self) -> tuple[Any, tuple[int, int] | None]:
        """The picture input, and the size that it is fixed to."""
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ModelError(f"{self._path.name}: inputs {[item.name for item in inputs]}, one expected")
        only = inputs[0]
        axes = (
            ("batch", "channels", "height", "width")
            if self._layout == "nchw"
            else ("batch", "height", "width", "channels")
        )
        where = f"{self._path.name}: input {only.name!r} is {only.type} {only.shape}"
        if only.type not in TYPES:
            raise ModelError(f"{where}; a type of {', '.join(TYPES)} expected")
        if len(only.shape) != 4:
            raise ModelError(f"{where}; four axes ({', '.join(axes)}) expected")
        sizes = dict(zip(axes, only.shape, strict=True))
        if sizes["channels"] not in {3} and isinstance(sizes["channels"], int):
            raise ModelError(f"{where}; 3 channels on axis {axes.index('channels')} expected (layout {self._layout})")
        if isinstance(sizes["batch"], int) and sizes["batch"] != 1:
            raise ModelError(f"{where}; a batch of 1 expected")
        fixed = [isinstance(sizes[side], int) for side in ("width", "height")]
        return only, (sizes["width"], sizes["height"]) if all(fixed) else None


class OnnxRuntimeBound:
    """A session with input and output buffers of one size; ONNX Runtime reads and writes them in place."""

    def __init__(
        self, session: ort.InferenceSession, name: str, tensor: NDArray[Any], first: Mapping[str, NDArray[Any]]
    ) -> None:
        self.tensor = tensor
        self.outputs = {key: np.ascontiguousarray(value) for key, value in first.items()}
        self._session = session
        self._binding = session.io_binding()
        self._binding.bind_input(name, "cpu", 0, tensor.dtype, tensor.shape, tensor.ctypes.data)
        for key, value in self.outputs.items():
            self._binding.bind_output(key, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        self._options = ort.RunOptions()

    def run(self) -> None:
        """Run the model once.

        Raises:
            DeviceError: The runtime failed after it had worked at load.
        """
        try:
            self._session.run_with_iobinding(self._binding, self._options)
        except RUNTIME_ERRORS as error:
            raise DeviceError(f"the model failed while running: {_line(error)}") from error


def _wanted(settings: InferSettings) -> str:
    """Name of the provider that shall do the work, checked to be there.

    Raises:
        ConfigError: It is not.
    """
    available = ort.get_available_providers()
    for name in settings.providers:
        if name not in available and name != settings.provider_name:
            raise ConfigError(f"infer.providers: {name!r} is not there; this ONNX Runtime has {', '.join(available)}")
    if settings.provider_library is None:
        return settings.providers[0] if settings.providers else CPU
    if not settings.provider_name:
        raise ConfigError("infer.provider_library is set: infer.provider_name is missing")
    if not any(device.ep_name == settings.provider_name for device in ort.get_ep_devices()):
        try:
            ort.register_execution_provider_library(settings.provider_name, settings.provider_library)
        except RUNTIME_ERRORS as error:
            raise ConfigError(f"infer.provider_library={settings.provider_library!r}: {_line(error)}") from error
    return settings.provider_name


def _options(settings: InferSettings) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_mem_pattern = False  # 8 MB less at 640x384, and no slower
    options.log_severity_level = QUIET
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def _nodes(session: ort.InferenceSession) -> dict[str, int]:
    """Number of nodes by provider, from the runtime's record."""
    counts: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] += len(part.get_nodes())
    return dict(counts)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
