"""Feeds targets: `python -m tools.fuzz.run NAME... --runs 50000`; all targets without a name.

Each target runs in processes of its own: guided by coverage where atheris is installed (pip install atheris), and with
random changes of good inputs, a fifth as many then. It fails at a crash and at an input that takes longer than 10 s, in
the random part also when memory grows (the guided one keeps what it has learnt).
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tools.fuzz.targets import TARGETS, Target, load

ENGINES = ("guided", "random")
SLOW_S = 10.0
WARM_SHARE = 0.3  # of the runs, after which memory is taken for settled
GROWTH_MB = 8.0
MOST_BYTES = 8192


def main() -> int:
    """Run the wished targets; 1 when one of them fails."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(TARGETS)}")
    parser.add_argument("--runs", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=ENGINES, help="in this process (used by the driver itself)")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(TARGETS)
    if unknown:
        parser.error(f"no target {sorted(unknown)}; choose from {', '.join(TARGETS)}")
    if arguments.engine:
        return _alone(arguments.names[0], arguments.engine, arguments.runs, arguments.seed)
    failed = [name for name in arguments.names or TARGETS if not _spawn(name, arguments.runs, arguments.seed)]
    print(f"{len(arguments.names or TARGETS)} targets, {arguments.runs} inputs each, failed: {failed or 'none'}")
    return 1 if failed else 0


def mutations(seeds: list[bytes], runs: int, seed: int) -> Iterator[bytes]:
    """The seeds, then random changes of them; the same for the same seed."""
    dice = random.Random(seed)
    yield from seeds[:runs]
    pool = list(seeds)
    for _ in range(runs - len(seeds)):
        data = bytearray(dice.choice(pool))
        for _ in range(dice.choice((1, 1, 2, 4, 16))):
            _change(data, dice)
        made = bytes(data[:MOST_BYTES])
        if dice.random() < 0.02:  # changes of changes
            pool.append(made)
            if len(pool) > 64:
                pool.pop(dice.randrange(len(seeds), len(pool)))
        yield made


def _change(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(data) + 1)
    match dice.randrange(5):
        case 0:
            data[at:at] = dice.randbytes(dice.choice((1, 2, 4, 8, 32)))
        case 1:
            del data[at : at + dice.choice((1, 2, 4, 16, 128))]
        case 2 if at < len(data):
            data[at] ^= 1 << dice.randrange(8)
        case 3:
            data[at : at + 4] = dice.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80"))
        case _:
            other = dice.randrange(len(data) + 1)
            data[at:at] = data[other : other + dice.choice((4, 16, 64))]


def _spawn(name: str, runs: int, seed: int) -> bool:
    if importlib.util.find_spec("atheris") is None:
        return _process(name, "random", runs, seed)
    return _process(name, "guided", runs, seed) and _process(name, "random", -(-runs // 5), seed)


def _process(name: str, engine: str, runs: int, seed: int) -> bool:
    start = time.monotonic()
    command = [sys.executable, "-m", "tools.fuzz.run", name, f"--engine={engine}", f"--runs={runs}", f"--seed={seed}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    verdict = "FAILED" if done.returncode else "ok"
    last = (done.stdout.strip().splitlines() or [""])[-1]
    print(f"{name}: {verdict}, {engine}, {time.monotonic() - start:.0f} s, {last}", flush=True)
    if done.returncode:
        print(done.stderr[-4000:])
    return done.returncode == 0


def _alone(name: str, engine: str, runs: int, seed: int) -> int:
    guided = engine == "guided"
    target = _instrumented(name) if guided else load(name)
    try:
        for data in target.seeds:
            _feed(target, data)
        (_guided if guided else _random)(target, runs, seed)
    finally:
        target.close()
    return 0


def _instrumented(name: str) -> Target:
    import atheris

    with atheris.instrument_imports(include=["common", "services"], enable_loader_override=False):
        return load(name)


def _random(target: Target, runs: int, seed: int) -> None:
    watch = _Memory(runs)
    for data in mutations(target.seeds, runs, seed):
        _feed(target, data)
        watch.step()
    grown = watch.grown_mb()
    if grown > GROWTH_MB:
        raise MemoryError(f"{grown:.1f} MB more")


def _guided(target: Target, runs: int, seed: int) -> None:
    """Coverage of the decoder's own Python code chooses which inputs are changed further."""
    import atheris

    watch = _Memory(runs)

    def once(data: bytes) -> None:
        _feed(target, data)
        watch.step()
        if watch.done == runs:
            watch.grown_mb()

    with tempfile.TemporaryDirectory() as folder:
        for k, data in enumerate(target.seeds):
            (Path(folder) / str(k)).write_bytes(data)
        options = [
            f"-seed={seed}",
            f"-max_len={MOST_BYTES}",
            "-len_control=0",
            "-print_final_stats=0",
            "-close_fd_mask=0",
        ]
        atheris.Setup([sys.argv[0], f"-runs={runs}", *options, folder], once)
        atheris.Fuzz()


def _feed(target: Target, data: bytes) -> None:
    faulthandler.dump_traceback_later(SLOW_S, exit=True)
    try:
        target.feed(data)
    except BaseException:
        print(f"input {data!r}", file=sys.stderr)
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()


class _Memory:
    """Compares the memory of a warm process with what it has at the end."""

    def __init__(self, runs: int) -> None:
        self.done = 0
        self._settled = max(1, int(WARM_SHARE * runs))
        self._before = 0.0

    def step(self) -> None:
        self.done += 1
        if self.done == self._settled:
            self._before = self._mb()

    def grown_mb(self) -> float:
        now = self._mb()
        print(f"{self.done} inputs, {now:.0f} MB, {now - self._before:+.1f} MB since {self._settled}", flush=True)
        return now - self._before

    @staticmethod
    def _mb() -> float:
        return float(psutil.Process().memory_info().rss) / 1e6


if __name__ == "__main__":
    sys.exit(main())
