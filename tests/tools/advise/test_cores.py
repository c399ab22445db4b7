"""The core map: who is kept apart, and when nobody is."""

from __future__ import annotations

import os

import pytest

from common.config import check
from common.fleet import FLEET
from tools.advise.cores import propose_cores


@pytest.mark.parametrize(("cores", "workers"), [(2, 1), (4, 1), (4, 3), (8, 4), (64, 8)])
def test_every_worker_has_a_core_that_nobody_else_has(cores: int, workers: int) -> None:
    proposal = propose_cores(range(cores), 2, workers)
    own = [proposal[f"infer:{index}"]["cores"] for index in range(workers)]
    others = {core for name, row in proposal.items() if not name.startswith("infer") for core in row["cores"]}
    assert all(len(row) == 1 for row in own)
    assert len({core for row in own for core in row} | others) == cores
    assert len(others) == cores - workers
    assert set(proposal) == {name for name in FLEET if name != "infer"} | {f"infer:{index}" for index in range(workers)}


@pytest.mark.parametrize(("cores", "cameras", "workers"), [(1, 1, 1), (2, 1, 2), (2, 5, 1), (4, 1, 8)])
def test_too_few_cores_are_left_to_the_scheduler(cores: int, cameras: int, workers: int) -> None:
    assert propose_cores(range(cores), cameras, workers) == {}


def test_settings_take_the_proposal() -> None:
    cores = sorted(os.sched_getaffinity(0))
    proposal = propose_cores(cores, 1, len(cores) - 1)
    settings = check({"cameras": {"a": {"source": "pattern:64x64@1"}}, "processes": proposal})
    assert set(settings.processes) == set(proposal)
