"""What the kernel says of processes and directories: memory, descriptors, threads, bytes. Looked at from outside."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

MEMORY = {"Pss:": "pss_mb", "Rss:": "rss_mb"}


def process_figures(pid: int) -> dict[str, float]:
    """Memory in megabytes (10**6 bytes), descriptors, threads and CPU seconds of a process; empty when it is gone."""
    try:
        found = _memory(Path(f"/proc/{pid}/smaps_rollup").read_text())
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return {}
    ticks = os.sysconf("SC_CLK_TCK")
    return {
        **found,
        "descriptors": descriptors,
        "threads": int(fields[17]),
        "cpu_s": (int(fields[11]) + int(fields[12])) / ticks,
    }


def _memory(text: str) -> dict[str, float]:
    """Proportional, resident and unique set size of a `smaps_rollup`."""
    found = {"pss_mb": 0.0, "rss_mb": 0.0, "uss_mb": 0.0}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        megabytes = int(rest.split()[0]) * 1024 / 1e6 if rest.strip().endswith("kB") else 0.0
        if name in MEMORY:
            found[MEMORY[name]] = megabytes
        elif name in {"Private_Clean:", "Private_Dirty:"}:
            found["uss_mb"] += megabytes
    return {name: round(value, 3) for name, value in found.items()}


def state_of(pid: int) -> str:
    """State letter of a process (`R`, `S`, `T` stopped, `Z` zombie); empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def parent_of(pid: int) -> int:
    """Process id of the parent; 0 when the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def children_of(pid: int) -> list[int]:
    """Process ids of the direct children, zombies among them."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def lives(pid: int) -> bool:
    """False for a process that is gone, or dead and not collected yet."""
    return state_of(pid) not in {"", "Z"}


def child_that_runs(parent: int, module: str) -> int:
    """Process id of a child by the module that it runs, 0 when there is none (yet)."""
    for pid in children_of(parent):
        with contextlib.suppress(OSError):
            if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return pid
    return 0


def fill(directory: Path) -> Path:
    """Make a file that takes all the room there is."""
    path = directory / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * size):
                    pass
    return path


def bytes_in(paths: Iterable[Path]) -> int:
    """Bytes on disk of files and of everything in directories."""
    total = 0
    for path in paths:
        for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
            with contextlib.suppress(OSError):
                total += file.lstat().st_blocks * 512
    return total
