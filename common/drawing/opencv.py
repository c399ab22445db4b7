"""OpenCV for whoever draws, imported with the first picture: a process that nobody watches is spared its 10 MB."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def opencv() -> Any:
    """The module, with one thread: the cores are for the workers, and small pictures gain nothing from more."""
    import cv2

    cv2.setNumThreads(1)
    return cv2
