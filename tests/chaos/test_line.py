"""A bad line to the broker: packets are lost and late, then nothing at all gets through, then it is mended."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from common.errors import VedetteError
from common.stats import read_stats
from tools.bench.badline import BadLine
from tools.bench.patient import leftovers, patient
from tools.bench.private import demo_clip, until
from tools.models.pull import pull

pytestmark = pytest.mark.slow


@pytest.fixture
def line() -> Iterator[BadLine]:
    try:
        pull("yunet")
        demo_clip()
        made = BadLine()
    except VedetteError as error:
        pytest.skip(str(error))
    with made:
        yield made


def test_over_a_bad_line_every_event_arrives_and_a_cut_is_told(line: BadLine) -> None:
    with patient(line=line) as one:
        line.loss, line.delay_s, line.jitter_s = 0.15, 0.1, 0.05
        for name in ("track", "capture:hall", "track"):
            os.kill(one.pids()[name], signal.SIGKILL)
            until(lambda: len(one.pids()) == len(one.names()), what=f"{name} is back")
        line.cut = True
        frames = len(one.findings.frames)
        until(lambda: "broker" in read_stats(one.settings.runtime_dir)["publish"]["reason"], 120, "publish says so")
        assert len(one.findings.frames) > frames + 10, "tracking went on"
        line.cut = False
        one.calm(120)
        assert one.complaints() == []
    assert leftovers(one.settings) == []
