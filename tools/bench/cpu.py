"""CPU time of processes, as the scheduler counted it, to the nanosecond."""

from __future__ import annotations

from pathlib import Path

from common.stats import read_stats


def cpu_s(pid: int) -> float:
    """CPU seconds that a process and all its living threads have used."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue  # a thread that has just ended
    return total / 1e9


def node_pids(runtime_dir: str) -> dict[str, int]:
    """Process ids of a running node by name, the supervisor's too."""
    pids = {name: int(report["pid"]) for name, report in read_stats(runtime_dir).items()}
    for pid in list(pids.values()):
        pids["supervisord"] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        break
    return pids


def node_cpu_s(runtime_dir: str) -> dict[str, float]:
    """CPU seconds of each process of a running node, by name."""
    return {name: cpu_s(pid) for name, pid in node_pids(runtime_dir).items()}
