"""Opens a source in a thread: a driver or a network that takes long, or never returns, does not stop the loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from common.pixels import Geometry
from services.capture.source import Source

LIMIT_S = 20.0  # a network camera has 5 s to connect and 5 s to the first picture; USB and Pi cameras take 1 to 5 s
SLICE_S = 0.05


class Opening:
    """One attempt."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._began = time.monotonic()
        thread = ThreadPoolExecutor(1, "open")
        self._future = thread.submit(source.open)
        thread.shutdown(wait=False)

    def wait(self, on_turn: Callable[[float], bool]) -> Geometry | None:
        """Wait until it is open.

        Args:
            on_turn: Called every few milliseconds with the seconds so far; False gives up.

        Returns:
            The geometry, None when given up.

        Raises:
            VedetteError: As the source says.
            RuntimeError: The call does not return; only a new process can be rid of it.
        """
        while not wait([self._future], SLICE_S).done:
            seconds = time.monotonic() - self._began
            if not on_turn(seconds):
                return None
            if seconds > LIMIT_S:
                raise RuntimeError(f"the camera's driver has not returned from opening for {seconds:.0f} s")
        return self._future.result()

    def close(self) -> None:
        """Close the source, as soon as the call that opens it has returned."""
        self._future.add_done_callback(lambda _: self._source.close())
