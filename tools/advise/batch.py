"""Whether frames of several cameras in one run of the model are cheaper than one after the other, measured here."""

from __future__ import annotations

import dataclasses
import math
import statistics

from common.settings import InferSettings
from tools.advise.candidate import Candidate, CandidateFailed, Frames
from tools.advise.choose import Batch
from tools.advise.clock import Clock

COUNTS = (1, 2, 4)  # frames in one run; more make the first of them wait too long for its answer
ROUNDS = 5  # a gain has to show in each


def counts_for(cameras: int, workers: int) -> list[int]:
    """Numbers of frames in one run that may pay: at most a worker's share, so that it leaves the others theirs."""
    share = math.ceil(cameras / workers)
    return sorted({count for count in COUNTS if count < share} | {min(share, COUNTS[-1])})


def measure_batches(infer: InferSettings, frames: Frames, counts: list[int], clock: Clock) -> tuple[list[Batch], str]:
    """Time of a frame in runs of each number of frames, in turns; and why there is none, when there is none."""
    clock.begin(3, ROUNDS * len(counts))
    times: dict[int, list[float]] = {count: [] for count in counts}  # medians of the rounds
    try:
        with Candidate(dataclasses.replace(infer, max_batch=counts[-1]), frames) as child:
            clock.say(f"up to {counts[-1]} frames in one run")
            child.load()
            for _ in range(ROUNDS):
                for count in counts:
                    clock.say(f"{count} frame{'s' * (count > 1)} in one run")
                    times[count].append(statistics.median(child.measure(clock.next_s(), count).whole_ms))
    except CandidateFailed as error:
        return [], str(error)
    gains = {count: min(a / b for a, b in zip(times[1], times[count], strict=True)) for count in counts}
    return [Batch(count, statistics.median(values), gains[count]) for count, values in times.items()], ""
