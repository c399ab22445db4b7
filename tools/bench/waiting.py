"""Waits for something to be true, for benchmarks and tests: there is no event for everything."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

DEADLINE_S = 60.0
LOOK_S = 0.02  # the pace of looking


def until(wanted: Callable[[], Any], seconds: float = DEADLINE_S, what: str = "what was waited for") -> Any:
    """Wait for something to be true; returns it.

    Raises:
        TimeoutError: Not within the time.
    """
    end = time.monotonic() + seconds
    while not (value := wanted()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(LOOK_S)
    return value
