"""A backend that sleeps instead of computing: workers of a known speed, for benchmarks of the dispatch."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from common.settings import InferSettings
from services.infer.onnxruntime_backend import OnnxRuntimeBound
from tools.bench.stand_in import StandIn


class Sleeper(StandIn):
    """The model's real buffers; `infer.provider_options: {sleep: {ms: "25,250"}}` gives each worker its time."""

    def __init__(self, path: Path, settings: InferSettings, layout: str) -> None:
        super().__init__(path, settings, layout)
        times = settings.provider_options["sleep"]["ms"].split(",")
        self._seconds = float(times[int(sys.argv[-1]) % len(times)]) / 1e3

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
