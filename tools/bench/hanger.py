"""A backend that hangs on demand, as a driver does: for benchmarks and tests of how a node notices.

`infer.provider_options: {hang: {file: /tmp/x, worker: "1", how: lock}}`: while the file is there, the next inference of
that worker never returns; `lock` keeps the interpreter's lock meanwhile, `free` does not.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from common.settings import InferSettings
from services.infer.onnxruntime_backend import OnnxRuntimeBound
from tools.bench.stand_in import StandIn


class Hanger(StandIn):
    """The real model, until it hangs."""

    def __init__(self, path: Path, settings: InferSettings, layout: str) -> None:
        super().__init__(path, settings, layout)
        wishes = settings.provider_options["hang"]
        self._trigger = Path(wishes["file"]) if sys.argv[-1] == wishes["worker"] else None
        self._how = wishes["how"]

    def bind(self, size: tuple[int, int]) -> _Hanging:
        """Buffers of the real model."""
        return _Hanging(self._real.bind(size), self._trigger, self._how)


class _Hanging:
    def __init__(self, real: OnnxRuntimeBound, trigger: Path | None, how: str) -> None:
        self.tensor: NDArray[Any] = real.tensor
        self.outputs: Mapping[str, NDArray[Any]] = real.outputs
        self._real, self._trigger, self._how = real, trigger, how

    def run(self) -> None:
        if self._trigger is not None and self._trigger.exists():
            self._trigger.unlink()  # once: the next process works again
            if self._how == "lock":
                sum(iter(int, 1))  # a loop in C that never gives the lock away
            threading.Event().wait()
        self._real.run()
