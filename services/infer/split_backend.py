"""Runs a model that was cut in two as one: the backbone where the settings say, the head by ONNX Runtime on the CPU.

The model is named by its sidecar, whose [split] names both files. Nothing is copied between the parts: the head reads
the buffers that the backbone's outputs lie in.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from common.errors import ConfigError, DeviceError, ModelError
from common.settings import InferSettings
from services.infer.backends import Bound, Placement, load_backend
from services.infer.manifest import read_sidecar
from services.infer.onnxruntime_backend import CPU, QUIET
from services.infer.runtime_errors import RUNTIME_ERRORS, line

USUAL = "onnxruntime"  # what runs the backbone when infer.backend names this one


class SplitBackend:
    """A backbone of any backend, and a head on the CPU."""

    def __init__(self, path: Path, settings: InferSettings, layout: str = "nchw") -> None:
        """Load both parts.

        Args:
            path: The .toml file with [split].
            settings: Backend, providers and threads of the backbone; threads of the head.
            layout: Order of the input's axes.

        Raises:
            ConfigError: The file has no [split], or names a backend or provider that is not there.
            ModelError: A part cannot be loaded, or they do not fit together.
        """
        parts = read_sidecar(path).split if path.suffix == ".toml" else None
        if parts is None:
            raise ConfigError(f"infer.model={str(path)!r}: a .toml file with [split] expected by the backend split")
        if settings.backend == "split":
            settings = dataclasses.replace(settings, backend=USUAL)
        self._name = path.name
        self._backbone = load_backend(path.parent / parts.backbone, settings, layout)
        self._head = _load_head(path.parent / parts.head, settings.threads)

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Width and height that the backbone is fixed to; None when it takes any."""
        return self._backbone.fixed_size

    @property
    def placement(self) -> Placement:
        """Where the nodes of both parts run."""
        first = self._backbone.placement
        nodes = Counter(first.nodes)
        for part in self._head.get_provider_graph_assignment_info():
            nodes[part.ep_name] += len(part.get_nodes())
        return Placement(first.wanted, dict(nodes), first.fallback)

    def bind(self, size: tuple[int, int]) -> SplitBound:
        """Buffers for an input of this width and height, after one run of both parts.

        Raises:
            ModelError: The model does not take this size, or the parts do not fit.
        """
        first = self._backbone.bind(size)
        first.run()
        feeds = {}
        for item in self._head.get_inputs():
            if item.name not in first.outputs:
                raise ModelError(
                    f"{self._name}: the head reads {item.name!r}, the backbone has {', '.join(first.outputs)}"
                )
            feeds[item.name] = _fitting(first.outputs[item.name], item, self._name)
        names = [item.name for item in self._head.get_outputs()]
        try:
            made = dict(zip(names, self._head.run(names, feeds), strict=True))
        except RUNTIME_ERRORS as error:
            raise ModelError(f"{self._name}: the head does not run at {size[0]}x{size[1]}: {line(error)}") from error
        return SplitBound(first, self._head, feeds, made)


class SplitBound:
    """Both parts with their buffers; the head's inputs are the backbone's outputs in place."""

    def __init__(
        self,
        first: Bound,
        head: ort.InferenceSession,
        feeds: Mapping[str, NDArray[Any]],
        made: Mapping[str, NDArray[Any]],
    ) -> None:
        self.tensor = first.tensor
        self.outputs = {key: np.ascontiguousarray(value) for key, value in made.items()}
        self._first, self._head, self._feeds = first, head, dict(feeds)
        self._binding = head.io_binding()
        for key, value in feeds.items():
            self._binding.bind_input(key, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        for key, value in self.outputs.items():
            self._binding.bind_output(key, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        self._options = ort.RunOptions()

    def run(self) -> None:
        """Run both parts once.

        Raises:
            DeviceError: One of them failed after it had worked at load.
        """
        self._first.run()
        for key, value in self._feeds.items():
            if self._first.outputs[key] is not value:  # a backend that gives new arrays with each run
                self._feeds[key] = fresh = np.ascontiguousarray(self._first.outputs[key], np.float32)
                self._binding.bind_input(key, "cpu", 0, fresh.dtype, fresh.shape, fresh.ctypes.data)
        try:
            self._head.run_with_iobinding(self._binding, self._options)
        except RUNTIME_ERRORS as error:
            raise DeviceError(f"the head failed while running: {line(error)}") from error


def _load_head(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = QUIET
    for key, value in (("session.intra_op.allow_spinning", "0"), ("session.record_ep_graph_assignment_info", "1")):
        options.add_session_config_entry(key, value)
    if not path.is_file():
        raise DeviceError(f"infer.model: {path} is not there")
    try:
        return ort.InferenceSession(str(path), options, providers=[CPU])
    except (*RUNTIME_ERRORS, ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: ONNX Runtime {ort.__version__} cannot load the head: {line(error)}") from error


def _fitting(value: NDArray[Any], item: Any, name: str) -> NDArray[Any]:
    """The backbone's buffer, when the head can read it in place."""
    fixed = [side for side in item.shape if isinstance(side, int)]
    fits = len(item.shape) == value.ndim and all(
        side == have for side, have in zip(item.shape, value.shape, strict=True) if isinstance(side, int)
    )
    if value.dtype != np.float32 or not value.flags.c_contiguous or (fixed and not fits):
        raise ModelError(
            f"{name}: the backbone gives {item.name!r} as {value.dtype} {value.shape}, "
            f"the head reads {item.type} {item.shape}"
        )
    return value
