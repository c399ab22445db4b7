"""Whether a server answers; while it does not, a thread looks for it with growing pauses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tritonclient.utils import InferenceServerException

from common.errors import VedetteError

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5


class Watch:
    """State of one server, read by the worker's thread and set back by the watching one.

    Attributes:
        reason: Why the server is not asked; empty when it is.
        probe: One whole question and answer; raises while the server is away.
    """

    def __init__(self, name: str, longest_s: float) -> None:
        self._name, self._longest_s = name, longest_s
        self.reason = ""
        self.probe: Callable[[], None] | None = None
        self.back = threading.Event()

    def lost(self, reason: str) -> None:
        """The server failed: do not ask it again before the thread has seen it answer."""
        if self.reason:
            return
        self.reason = reason or "no answer"
        self.back.clear()
        log.warning("server lost, falling back to this machine, %s: %s", self._name, self.reason)
        threading.Thread(target=self._look, name="remote-watch", daemon=True).start()

    def _look(self) -> None:
        pause_s = FIRST_PAUSE_S
        pausing = threading.Event()
        while True:
            pausing.wait(min(pause_s, self._longest_s))
            pause_s *= 2
            if self.probe is None:
                continue
            try:
                self.probe()
            except (InferenceServerException, VedetteError) as error:
                log.debug("still away, %s: %s", self._name, error)
                continue
            log.info("server is back, %s", self._name)
            self.reason = ""
            self.back.set()
            return
