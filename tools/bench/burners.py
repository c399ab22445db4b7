"""Other load: one process a core that computes all the time at the ordinary policy, as a busy machine has them."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self


class Burners:
    """Keeps every core busy while the context lasts."""

    def __init__(self, wanted: bool = True) -> None:
        self._cores = sorted(os.sched_getaffinity(0)) if wanted else []
        self._processes: list[BaseProcess] = []

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        for core in self._cores:
            process = context.Process(target=_burn, args=(core,), daemon=True)
            process.start()
            self._processes.append(process)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._processes:
            process.kill()
            process.join()


def _burn(core: int) -> None:
    os.sched_setaffinity(0, {core})
    parent, value = os.getppid(), 1
    while os.getppid() == parent:
        for _ in range(200_000):
            value = value * 1_103_515_245 % 2_147_483_648 + 12_345
