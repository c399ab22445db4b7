"""A backend that sleeps instead of computing: workers of a known speed, for benchmarks of the dispatch."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from common.settings import InferSettings
from services.infer.backends import Placement
from services.infer.onnxruntime_backend import OnnxRuntimeBackend, OnnxRuntimeBound


class Sleeper:
    """The model's real buffers; `infer.provider_options: {sleep: {ms: "25,250"}}` gives each worker its time."""

    def __init__(self, path: Path, settings: InferSettings, layout: str) -> None:
        times = settings.provider_options["sleep"]["ms"].split(",")
        self._seconds = float(times[int(sys.argv[-1]) % len(times)]) / 1e3
        self._real = OnnxRuntimeBackend(path, dataclasses.replace(settings, provider_options={}), layout)

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """As the model says."""
        return self._real.fixed_size

    @property
    def placement(self) -> Placement:
        """As the model says."""
        return self._real.placement

    def bind(self, size: tuple[int, int]) -> _Asleep:
        """Buffers that stay as they are."""
        return _Asleep(self._real.bind(size), self._seconds)


class _Asleep:
    def __init__(self, real: OnnxRuntimeBound, seconds: float) -> None:
        self.tensor: NDArray[Any] = real.tensor
        self.outputs: Mapping[str, NDArray[Any]] = {name: value * 0 for name, value in real.outputs.items()}
        self._seconds = seconds

    def run(self) -> None:
        time.sleep(self._seconds)
