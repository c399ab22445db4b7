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

from common.errors import ConfigError, DeviceError, ModelError
from common.settings import InferSettings
from services.infer.backends import Assignment, Placement
from services.infer.picture_input import check_batch, check_outputs, check_size, fixed_size, tensor_shape
from services.infer.provider_library import devices_of, register
from services.infer.runtime_errors import RUNTIME_ERRORS, line

log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
FREE_SIZE = (320, 192)  # a small multiple of 32, to try a model that takes any size
QUIET = 3  # severity of what ONNX Runtime may print itself: errors


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

    def bind(self, size: tuple[int, int], batch: int = 1) -> OnnxRuntimeBound:
        """Buffers for an input of this width and height, after one run of each number of pictures.

        Raises:
            ModelError: The model does not take this size, or not so many pictures.
        """
        check_size(self._path.name, self._input.name, self.fixed_size, size)
        check_batch(f"{self._path.name}: input {self._input.name!r}", self._input.shape, batch)
        tensor = np.zeros(tensor_shape(size, self._layout, batch), TYPES[self._input.type])
        try:
            names = [output.name for output in self._session.get_outputs()]
            first = dict(zip(names, self._session.run(names, {self._input.name: tensor}), strict=True))
        except RUNTIME_ERRORS as error:
            raise ModelError(f"{self._path.name}: does not run at {size[0]}x{size[1]}: {line(error)}") from error
        check_outputs(self._path.name, first, batch)
        bound = OnnxRuntimeBound(self._session, self._input.name, tensor, first)
        for count in range(1, batch):
            bound.run(count)
        return bound

    def assignments(self) -> list[Assignment]:
        """Where each node of the graph runs, by the runtime's record."""
        parts = self._session.get_provider_graph_assignment_info()
        return [Assignment(node.name, node.op_type, part.ep_name) for part in parts for node in part.get_nodes()]

    def _load(self, provider: str) -> ort.InferenceSession:
        """Session on a provider (and the CPU for what it does not take).

        Raises:
            ModelError: Not even the CPU can load it.
        """
        options = _options(self._settings)
        arguments: dict[str, Any] = {}
        try:
            if self._settings.provider_library and provider != CPU:
                devices = devices_of(self._settings)
                if not devices:
                    return self._fall_back("its library found no device on this machine")
                options.add_provider_for_devices(devices, self._settings.provider_options.get(provider, {}))
            else:
                names = [*dict.fromkeys([*self._settings.providers, CPU])] if provider != CPU else [CPU]
                arguments["providers"] = [(name, self._settings.provider_options.get(name, {})) for name in names]
            session = ort.InferenceSession(str(self._path), options, **arguments)
        except (*RUNTIME_ERRORS, ValueError, RuntimeError) as error:
            if provider == CPU:
                raise ModelError(
                    f"{self._path}: ONNX Runtime {ort.__version__} cannot load it: {line(error)}"
                ) from error
            return self._fall_back(f"it cannot load the model: {line(error)}")
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
        where = f"{self._path.name}: input {only.name!r} is {only.type} {only.shape}"
        if only.type not in TYPES:
            raise ModelError(f"{where}; a type of {', '.join(TYPES)} expected")
        return only, fixed_size(where, only.shape, self._layout)


class OnnxRuntimeBound:
    """A session with input and output buffers of one size; ONNX Runtime reads and writes them in place."""

    def __init__(
        self, session: ort.InferenceSession, name: str, tensor: NDArray[Any], first: Mapping[str, NDArray[Any]]
    ) -> None:
        self.tensor = tensor
        self.outputs = {key: np.ascontiguousarray(value) for key, value in first.items()}
        self._session = session
        batch = len(tensor)
        self._bindings = [
            bind_rows(session, {name: tensor}, self.outputs, count, batch) for count in range(1, batch + 1)
        ]
        self._options = ort.RunOptions()

    def run(self, count: int | None = None) -> None:
        """Run the model once, for all pictures or the first ones.

        Raises:
            DeviceError: The runtime failed after it had worked at load.
        """
        try:
            self._session.run_with_iobinding(self._bindings[(count or len(self.tensor)) - 1], self._options)
        except RUNTIME_ERRORS as error:
            raise DeviceError(f"the model failed while running: {line(error)}") from error


def bind_rows(
    session: ort.InferenceSession,
    inputs: Mapping[str, NDArray[Any]],
    outputs: Mapping[str, NDArray[Any]],
    count: int,
    batch: int,
) -> Any:
    """A binding to the first `count` of `batch` rows of these arrays; they are read and written in place."""
    binding = session.io_binding()
    for arrays, bind in ((inputs, binding.bind_input), (outputs, binding.bind_output)):
        for key, value in arrays.items():
            shape = (count, *value.shape[1:]) if batch > 1 else value.shape  # one picture may come without that axis
            bind(key, "cpu", 0, value.dtype, shape, value.ctypes.data)
    return binding


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
    return register(settings)


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
