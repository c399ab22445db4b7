"""Which process belongs on which core: workers get cores of their own, everything with a deadline shares the rest."""

from __future__ import annotations

from collections.abc import Sequence

from common.fleet import FLEET
from common.placement import shared_cores


def propose_cores(cores: Sequence[int], cameras: int, workers: int) -> dict[str, dict[str, list[int]]]:
    """A `processes:` mapping for the settings.

    Each worker gets a core of its own, taken from the end (interrupts are usually served by the first), and all others
    share what is left. Without such a mapping the real-time processes keep to the same cores by themselves, and workers
    may go where there is room: better on a machine that does other work too (measured, docs/benchmarks.md).

    Args:
        cores: Numbers of the cores that may be used, in order.
        cameras: Number of cameras.
        workers: Number of workers.

    Returns:
        Cores by process, as `processes` in the settings takes it; empty when there are too few cores to keep them
        apart: the scheduler does better then.
    """
    others = sorted(shared_cores(cores, cameras, workers))
    if not others:
        return {}
    proposal = {family: {"cores": others} for family, row in FLEET.items() if row.scaling != "per worker"}
    for index, core in enumerate(reversed(sorted(cores)[len(others) :])):
        proposal[f"infer:{index}"] = {"cores": [core]}
    return proposal
