"""Becomes another program that is asked to end when its parent dies: `python tether.py PROGRAM ARGUMENT...`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the signal, which outlives exec, and exec."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - our own caller names it


if __name__ == "__main__":
    main()
