"""Runs supervisord with a voice that may fail: `python launch.py ARGUMENT...`.

supervisord says on its standard error what it could not log. Where that lies on the same full disk, the second failure
ended it, and with it the node.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys

from supervisor import supervisord


class Voice(io.TextIOBase):
    """Writes at once to a descriptor; what there is no room for is lost."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> int:
        """Say it."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, text.encode(errors="replace"))
        return len(text)


if __name__ == "__main__":
    sys.stdout, sys.stderr = Voice(1), Voice(2)
    supervisord.main()
