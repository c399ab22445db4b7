"""Each decoder of foreign bytes stands some hundred odd inputs; `make fuzz` feeds it fifty thousand."""

from __future__ import annotations

import logging

import pytest

from tools.fuzz.run import mutations
from tools.fuzz.targets import TARGETS, load

INPUTS = {"http": 150, "event_log": 40, "video": 60, "settings": 100}


@pytest.fixture
def loud():
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", TARGETS)
def test_foreign_bytes_are_taken_or_refused(name, loud):
    target = load(name)
    fed = 0
    try:
        for data in mutations(target.seeds, INPUTS.get(name, 300), 20):
            target.feed(data)
            fed += 1
    finally:
        target.close()
    assert fed == INPUTS.get(name, 300)


def test_the_same_seed_gives_the_same_inputs():
    first, again, other = (list(mutations([b"vedette"], 50, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
