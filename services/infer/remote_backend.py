"""Lets a server find the faces, by the Open Inference Protocol v2 over gRPC (Triton, KServe, OVMS, MLServer).

A frame waits for the server at most `infer.remote.timeout_ms`. Then this machine's CPU does it, and all later ones,
until a thread of its own has seen the server answer again: no frame pays for finding out that a server is still away.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as client
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from common.addresses import shown
from common.errors import ConfigError, DeviceError, ModelError
from common.settings import InferSettings
from services.infer.backends import Placement
from services.infer.onnxruntime_backend import CPU, OnnxRuntimeBackend
from services.infer.picture_input import check_batch, check_outputs, check_size, fixed_size, tensor_shape
from services.infer.remote_watch import Watch

log = logging.getLogger(__name__)

TYPES = {"FP32": np.float32, "FP16": np.float16, "UINT8": np.uint8}
LOAD_S = 10.0  # a server may have to load the model at the first question
GONE = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "ABORTED")


class RemoteBackend:
    """A model that a server runs, and the same model on this machine for when it does not."""

    def __init__(self, path: Path, settings: InferSettings, layout: str = "nchw") -> None:
        """Ask the server for the model.

        Args:
            path: The local .onnx file, used when the server is away.
            settings: Address, time-out, fallback.
            layout: Order of the input's axes, `nchw` or `nhwc`.

        Raises:
            ConfigError: The server does not know the model.
            DeviceError: It is away, and there shall be no fallback.
            ModelError: Its input is no picture, or the local file cannot be loaded.
        """
        self._settings, self._layout = settings, layout
        self.server = Server(settings)
        self.fixed_size: tuple[int, int] | None = None
        self._axes: Sequence[int] = ()
        self._batch = 1
        self._local = OnnxRuntimeBackend(path, _local(settings), layout) if settings.remote.fallback else None
        try:
            self._input, self._kind, self.fixed_size = self._ask()
        except DeviceError as error:
            if self._local is None:
                raise
            self._input, self._kind = "", np.float32
            self.server.lost(str(error))
        if self._local is not None and self._local.fixed_size is not None:
            self.fixed_size = self._local.fixed_size

    @property
    def placement(self) -> Placement:
        """The server counts as one node; without it, this machine's nodes and why."""
        away = self.server.watch.reason
        if not away or self._local is None:
            return Placement(self.server.name, {self.server.name: 1}, away)
        reason = f"runs on this machine instead of {self.server.name}: {away}"
        return Placement(self.server.name, self._local.placement.nodes, reason)

    def bind(self, size: tuple[int, int], batch: int = 1) -> RemoteBound:
        """Buffers for an input of this width and height, after one run.

        Raises:
            ModelError: The model takes no such size or not so many pictures, or server and file have other outputs.
            DeviceError: The server is away, and there is no fallback.
        """
        check_size(self.server.name, self._input, self.fixed_size, size)
        self._batch = max(batch, self._batch)
        self._check_batch()
        local = self._local.bind(size, batch) if self._local is not None else None
        tensor = local.tensor if local is not None else np.zeros(tensor_shape(size, self._layout, batch), self._kind)
        return RemoteBound(self, tensor, local)

    def ask(self) -> None:
        """Learn the input's name; for a server that came after the node.

        Raises:
            ModelError: Its model does not take as many pictures as the buffers hold.
        """
        if not self._input:
            name, self._kind, _ = self._ask()
            self._check_batch()
            self._input = name

    def _check_batch(self) -> None:
        check_batch(f"{self.server.name}: input", self._axes, self._batch)

    @property
    def input_name(self) -> str:
        """The input's name on the server; empty while it was never reached."""
        return self._input

    def _ask(self) -> tuple[str, type[Any], tuple[int, int] | None]:
        described = self.server.describe()
        if len(described.inputs) != 1:
            raise ModelError(f"{self.server.name}: inputs {[item.name for item in described.inputs]}, one expected")
        only = described.inputs[0]
        where = f"{self.server.name}: input {only.name!r} is {only.datatype} {list(only.shape)}"
        if only.datatype not in TYPES:
            raise ModelError(f"{where}; a type of {', '.join(TYPES)} expected")
        self._axes = list(only.shape)
        return only.name, TYPES[only.datatype], fixed_size(where, self._axes, self._layout)


class Server:
    """One model on one server.

    Attributes:
        name: `model at host:port`, for messages.
        watch: Whether it answers.
    """

    def __init__(self, settings: InferSettings) -> None:
        remote = settings.remote
        self._model = remote.model or Path(settings.model).stem
        self._version, self._timeout_s = remote.version, remote.timeout_ms / 1000
        self.name = f"{self._model} at {remote.url}"
        if "://" in remote.url or ":" not in remote.url:
            raise ConfigError(f"infer.remote.url={shown(remote.url)!r}: host:port of the gRPC port, without a scheme")
        self._client = client.InferenceServerClient(remote.url, ssl=remote.tls)
        self.watch = Watch(self.name, remote.retry_s)

    def describe(self) -> Any:
        """Metadata of the model.

        Raises:
            ConfigError: The server does not know it.
            DeviceError: The server is away.
        """
        try:
            return self._client.get_model_metadata(self._model, self._version, client_timeout=LOAD_S)
        except InferenceServerException as error:
            if _gone(error):
                raise DeviceError(f"infer.remote: {self.name} does not answer: {_text(error)}") from error
            raise ConfigError(f"infer.remote: {self.name}: {_text(error)}") from error

    def infer(self, name: str, tensor: NDArray[Any]) -> Any:
        """One run; raises InferenceServerException."""
        picture = client.InferInput(
            name, tensor.shape, next(key for key, kind in TYPES.items() if kind == tensor.dtype)
        )
        picture.set_data_from_numpy(tensor)
        return self._client.infer(self._model, [picture], self._version, client_timeout=self._timeout_s)

    def lost(self, reason: str) -> None:
        """Say that it is away, and start to look for it."""
        self.watch.lost(reason)


class RemoteBound:
    """Buffers of one input size, shared by the server's answers and the local session."""

    def __init__(self, backend: RemoteBackend, tensor: NDArray[Any], local: Any) -> None:
        self.tensor = tensor
        self._backend, self._local = backend, local
        self.outputs: Mapping[str, NDArray[Any]] = local.outputs if local is not None else {}
        backend.server.watch.probe = self._probe
        if backend.server.watch.reason:
            return
        try:
            self._take(self._question(self.tensor))
        except InferenceServerException as error:
            if not _gone(error):
                raise ModelError(f"{backend.server.name}: {_text(error)}") from error
            self._lost(error)

    def run(self, count: int | None = None) -> None:
        """Run the model once, there or here, for all pictures or the first ones.

        Raises:
            DeviceError: The server is away, and there is no fallback.
            ModelError: It answers in other shapes than before.
        """
        server = self._backend.server
        if not server.watch.reason:
            try:
                self._take(self._question(self.tensor[:count]), count)
            except InferenceServerException as error:
                self._lost(error)
            else:
                return
        if self._local is None:
            raise DeviceError(f"{server.name}: {server.watch.reason}")
        self._local.run(count)

    def _question(self, pictures: NDArray[Any]) -> Any:
        return self._backend.server.infer(self._backend.input_name, pictures)

    def _take(self, answer: Any, count: int | None = None) -> None:
        """Copy the server's outputs over ours, so that the decoder always reads the same arrays."""
        if not self.outputs:
            names = [item.name for item in answer.get_response().outputs]
            self.outputs = {name: np.array(answer.as_numpy(name)) for name in names}
            check_outputs(self._backend.server.name, self.outputs, len(self.tensor))
            return
        for name, mine in self.outputs.items():
            value = answer.as_numpy(name)
            rows = mine if count is None else mine[:count]
            if value is None or value.shape != rows.shape:
                found = "nothing" if value is None else f"shape {value.shape}"
                raise ModelError(f"{self._backend.server.name}: output {name!r} is {found}, {rows.shape} expected")
            np.copyto(rows, value, casting="unsafe")

    def _lost(self, error: InferenceServerException) -> None:
        if self._local is None:
            raise DeviceError(f"{self._backend.server.name}: {_text(error)}") from error
        self._backend.server.lost(_text(error))

    def _probe(self) -> None:
        """One whole question and answer, in the watching thread; raises when the server is not back."""
        self._backend.ask()
        blank = np.zeros(self.tensor.shape, self.tensor.dtype)
        self._backend.server.infer(self._backend.input_name, blank)


def _local(settings: InferSettings) -> InferSettings:
    return dataclasses.replace(settings, backend="onnxruntime", providers=[CPU], provider_library=None, device=None)


def _gone(error: InferenceServerException) -> bool:
    """Whether the server, not the question, is the trouble."""
    return any(word in str(error.status() or "UNAVAILABLE") for word in GONE)


def _text(error: InferenceServerException) -> str:
    status = str(error.status() or "").removeprefix("StatusCode.")
    return " ".join(f"{status} {error.message() or ''}".split())[:200]
