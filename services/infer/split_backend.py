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
from services.infer.backends import Bound, Placement, bind_batch, load_backend, run_rows
from services.infer.manifest import read_sidecar
from services.infer.onnxruntime_backend import CPU, QUIET, bind_rows
from services.infer.picture_input import check_batch, check_outputs
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

    def bind(self, size: tuple[int, int], batch: int = 1) -> SplitBound:
        """Buffers for an input of this width and height, after one run of both parts.

        Raises:
            ModelError: The model does not take this size or not so many pictures, or the parts do not fit.
        """
        first = bind_batch(self._backbone, size, batch)
        first.run()
        feeds = {}
        for item in self._head.get_inputs():
            if item.name not in first.outputs:
                raise ModelError(
                    f"{self._name}: the head reads {item.name!r}, the backbone has {', '.join(first.outputs)}"
                )
            check_batch(f"{self._name}: the head's input {item.name!r}", item.shape, batch)
            feeds[item.name] = _fitting(first.outputs[item.name], item, self._name)
        names = [item.name for item in self._head.get_outputs()]
        try:
            made = dict(zip(names, self._head.run(names, feeds), strict=True))
        except RUNTIME_ERRORS as error:
            raise ModelError(f"{self._name}: the head does not run at {size[0]}x{size[1]}: {line(error)}") from error
        check_outputs(self._name, made, batch)
        bound = SplitBound(first, self._head, feeds, made)
        for count in range(1, batch):
            bound.run(count)
        return bound


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
        self._batch = len(first.tensor)
        self._bindings = self._bind()
        self._options = ort.RunOptions()

    def run(self, count: int | None = None) -> None:
        """Run both parts once, for all pictures or the first ones.

        Raises:
            DeviceError: One of them failed after it had worked at load.
        """
        count = count or self._batch
        run_rows(self._first, self._batch, count)
        renewed = {key for key, value in self._feeds.items() if self._first.outputs[key] is not value}
        for key in renewed:  # a backend that gives new arrays with each run
            self._feeds[key] = np.ascontiguousarray(self._first.outputs[key], np.float32)
        if renewed:
            self._bindings = self._bind()
        try:
            self._head.run_with_iobinding(self._bindings[count - 1], self._options)
        except RUNTIME_ERRORS as error:
            raise DeviceError(f"the head failed while running: {line(error)}") from error

    def _bind(self) -> list[Any]:
        """Bindings of the head for each number of pictures."""
        counts = range(1, self._batch + 1)
        return [bind_rows(self._head, self._feeds, self.outputs, count, self._batch) for count in counts]


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
