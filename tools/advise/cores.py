"""Which process belongs on which core: workers get cores of their own, everything with a deadline shares the rest."""

from __future__ import annotations

from collections.abc import Sequence

from common.fleet import FLEET

CAMERAS_A_CORE = 4  # captures that one core decodes at 720p30 with room for track and publish (5-6 % each, measured)


def propose_cores(cores: Sequence[int], cameras: int, workers: int) -> dict[str, dict[str, list[int]]]:
    """A `processes:` mapping for the settings.

    A worker that computes all the time and a real-time process on one core disturb each other: the worker loses its
    cache, the others wait for nothing but still interrupt it. So each worker gets a core of its own, taken from the end
    (interrupts are usually served by the first), and all others share what is left.

    Args:
        cores: Numbers of the cores that may be used, in order.
        cameras: Number of cameras.
        workers: Number of workers.

    Returns:
        Cores by process, as `processes` in the settings takes it; empty when there are too few cores to keep them apart:
        the scheduler does better then.
    """
    spare = len(cores) - workers
    if spare < 1 or workers < 1 or cameras > CAMERAS_A_CORE * spare:
        return {}
    others = sorted(cores[:spare])
    proposal = {family: {"cores": others} for family, row in FLEET.items() if row.scaling != "per worker"}
    for index, core in enumerate(reversed(cores[spare:])):
        proposal[f"infer:{index}"] = {"cores": [core]}
    return proposal
