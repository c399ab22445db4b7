"""What backends for benchmarks share that behave oddly around a real model: its files, its sizes, its buffers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from common.settings import InferSettings
from services.infer.backends import Placement
from services.infer.onnxruntime_backend import OnnxRuntimeBackend


class StandIn:
    """Says of itself what the real model says; what is done at each run is the subclass's affair."""

    def __init__(self, path: Path, settings: InferSettings, layout: str) -> None:
        self._real = OnnxRuntimeBackend(path, dataclasses.replace(settings, provider_options={}), layout)

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """As the model says."""
        return self._real.fixed_size

    @property
    def placement(self) -> Placement:
        """As the model says."""
        return self._real.placement
