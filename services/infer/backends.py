"""The backends that can run a model, one row each, and what they have in common."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from common.errors import ConfigError
from common.settings import InferSettings
from services.infer.plugin import load_class

BACKENDS = {
    "onnxruntime": "services.infer.onnxruntime_backend:OnnxRuntimeBackend",
    "openvino": "services.infer.openvino_backend:OpenVinoBackend",
    "tvm": "services.infer.tvm_backend:TvmBackend",
    "hailo": "services.infer.hailo_backend:HailoBackend",
    "remote": "services.infer.remote_backend:RemoteBackend",
    "split": "services.infer.split_backend:SplitBackend",
}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the work of a model is really done.

    Attributes:
        wanted: The provider that was asked for first.
        nodes: Number of graph nodes by provider, as the runtime reports them; a fused part counts as its nodes.
        fallback: Why the CPU does the work of the wanted provider; empty when it does not.
    """

    wanted: str
    nodes: Mapping[str, int]
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where one node of a graph runs.

    Attributes:
        node: Its name in the graph; may be empty.
        operator: What it computes.
        provider: Who does it.
    """

    node: str
    operator: str
    provider: str


class Bound(Protocol):
    """A model bound to one input size and a number of pictures, with its buffers.

    Attributes:
        tensor: The input, shape (batch, 3, h, w) or (batch, h, w, 3); the caller fills it.
        outputs: The outputs by name, in the model's order; overwritten by each run. With a batch above 1 each has a
            row for each picture.
    """

    tensor: NDArray[Any]
    outputs: Mapping[str, NDArray[Any]]

    def run(self, count: int | None = None) -> None:
        """Run the model once.

        Args:
            count: Pictures in the first rows of the tensor; None: all rows. A backend that takes one picture at a time
                leaves this argument out.

        Raises:
            DeviceError: The accelerator failed.
        """


class Backend(Protocol):
    """A loaded model. Its constructor takes (path, settings, layout) and does not read anything else.

    One that takes one picture at a time has no `batch` in its `bind`, and is refused with `infer.max_batch` above 1.
    """

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Width and height that the model is fixed to; None when it takes any."""

    @property
    def placement(self) -> Placement:
        """Where the work is done."""

    def bind(self, size: tuple[int, int], batch: int = 1) -> Bound:
        """Buffers for an input of this width and height; runs the model once, so that all later runs are alike.

        Args:
            size: Width and height.
            batch: Most pictures in one run; each smaller number can be run too.

        Raises:
            ModelError: The model does not take this size, or not so many pictures.
        """


def load_backend(path: Path, settings: InferSettings, layout: str) -> Backend:
    """The backend of `infer.backend` with a model loaded.

    Raises:
        ConfigError: No such backend or provider, or `infer.max_batch` for one that takes one picture at a time.
        ModelError: The file is not a model that it can run.
    """
    name = "split" if path.suffix == ".toml" else settings.backend  # infer.backend then runs the first part
    backend: Backend = load_class(name, BACKENDS, "infer.backend")(path, settings, layout)
    if settings.max_batch > 1 and "batch" not in inspect.signature(backend.bind).parameters:
        raise ConfigError(
            f"infer.max_batch={settings.max_batch}: the backend {name!r} takes one picture at a time; 1 expected"
        )
    return backend


def bind_batch(backend: Backend, size: tuple[int, int], batch: int) -> Bound:
    """`Backend.bind`, also of a backend that takes one picture at a time."""
    return backend.bind(size) if batch == 1 else backend.bind(size, batch)


def run_rows(bound: Bound, batch: int, count: int) -> None:
    """`Bound.run` for the first `count` of `batch` pictures, also of a backend that takes one at a time."""
    if count == batch:
        bound.run()
    else:
        bound.run(count)
