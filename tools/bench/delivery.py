"""Is an event ever lost: the broker away again and again, and publish killed at random moments, under traffic."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

from common.bus import Bus
from common.errors import DeviceError
from common.eventlog import Event, EventLogWriter
from common.settings import Settings
from common.wire import EventNotice
from tools.bench import report
from tools.bench.alone import alone, alone_settings
from tools.bench.outage import Outage
from tools.bench.witness import Witness, broken_lives

CAMERAS = ("door", "yard", "gate")
OUTAGES, AWAY_S, BETWEEN_S = 10, 30.0, 2.0
KILLS, LIFE_S = 50, 1.5  # a life of publish ends at a random moment within this
RATE = 12.0  # faces a second over all cameras, three events each
HEARD_S = 120.0


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code: 1 when an event was lost."""
    parser = report.parser("delivery", "events over outages of the broker and kills of publish")
    parser.add_argument("--outages", type=int, default=OUTAGES, help="of the broker (default %(default)s)")
    parser.add_argument("--away", type=float, default=AWAY_S, help="seconds of each (default %(default)s)")
    parser.add_argument("--kills", type=int, default=KILLS, help="of publish (default %(default)s)")
    parser.add_argument("--rate", type=float, default=RATE, help="faces a second (default %(default)s)")
    options = parser.parse_args(arguments)
    rows = [outages(options.outages, options.away, options.rate), kills(options.kills, options.rate)]
    report.show(f"{len(CAMERAS)} cameras, {options.rate:g} faces/s, QoS 1", rows, options.json)
    return int(any(row["lost"] or row["broken"] for row in rows))


class Traffic:
    """Writes the lives of faces to the event log as track does, one after the other on each camera.

    Attributes:
        written: Events that are on disk.
    """

    def __init__(self, settings: Settings, bus: Bus, rate: float) -> None:
        self.written: list[tuple[str, int]] = []
        self._writer = EventLogWriter(settings.state_dir, settings.events)
        self._doorbell = bus.publisher("events")
        self._pause_s = 1 / rate
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        self._writer.close()

    def stop(self) -> None:
        """No more faces; those that are there have ended.

        Raises:
            DeviceError: There was no traffic.
        """
        self._done.set()
        self._thread.join()
        if not self.written:
            raise DeviceError("no event was written")

    def _run(self) -> None:
        number = 0
        while not self._done.wait(self._pause_s):
            number += 1
            for seq, kind in enumerate(("start", "update", "end"), 1):
                row = self._writer.append([_event(number, kind)])
                self.written.append((_id(number), seq))
                self._doorbell.send(EventNotice(row, time.monotonic_ns()))


def outages(count: int, away_s: float, rate: float) -> dict[str, Any]:
    """The broker dies and comes back empty; the witness is back before the node."""
    backs = []
    with Outage() as broker, alone_settings(broker.port, CAMERAS) as settings, Bus(settings.runtime_dir) as bus:
        with alone(settings, "publish"), Traffic(settings, bus, rate) as traffic:
            for _ in range(count):
                time.sleep(BETWEEN_S)
                broker.kill()
                time.sleep(away_s)
                broker.back()
                begun = time.monotonic()
                _hear(broker.witness, list(traffic.written))
                backs.append(time.monotonic() - begun)
            traffic.stop()
            _hear(broker.witness, traffic.written)
        return {
            "fault": f"{count} outages, {away_s:g} s",
            **_account(broker.witness, traffic),
            "after s": report.median(backs),
            "worst s": max(backs),
        }


def kills(count: int, rate: float) -> dict[str, Any]:
    """Publish is killed at random moments, and started again."""
    dice = random.Random(count)
    with Outage() as broker, alone_settings(broker.port, CAMERAS) as settings, Bus(settings.runtime_dir) as bus:
        with Traffic(settings, bus, rate) as traffic:
            for _ in range(count):
                with alone(settings, "publish") as process:
                    time.sleep(dice.uniform(0, LIFE_S))
                    process.kill()
            traffic.stop()
            with alone(settings, "publish"):
                _hear(broker.witness, traffic.written)
        return {"fault": f"{count} kills", **_account(broker.witness, traffic)}


def _hear(witness: Witness, written: list[tuple[str, int]]) -> None:
    """Wait until everything was heard, or the time is up: what is missing then counts as lost."""
    missing, looked = set(written), 0

    def all_heard() -> bool:
        nonlocal looked
        news, looked = witness.events[looked:], len(witness.events)
        missing.difference_update((row["id"], row["seq"]) for row in news)
        return not missing

    witness.wait(all_heard, HEARD_S)


def _account(witness: Witness, traffic: Traffic) -> dict[str, Any]:
    """What was written, heard, lost, repeated and heard before its predecessor."""
    heard = Counter((row["id"], row["seq"]) for row in witness.events)
    newest: dict[str, int] = {}
    disorder = 0
    for row in witness.events:
        disorder += row["seq"] > newest.get(row["id"], 0) + 1
        newest[row["id"]] = max(row["seq"], newest.get(row["id"], 0))
    return {
        "written": len(traffic.written),
        "lost": len(set(traffic.written) - set(heard)),
        "repeated": sum(heard.values()) - len(heard),
        "disorder": disorder,
        "broken": len(broken_lives(witness.events, ended=True)),
    }


def _id(number: int) -> str:
    return f"01JF{number:022d}"


def _event(number: int, kind: Any) -> Event:
    camera = CAMERAS[number % len(CAMERAS)]
    return Event(0, _id(number), 0, kind, camera, number, time.time_ns(), time.monotonic_ns(), "boot",
                 (0.1, 0.1, 0.2, 0.4), 0.9, 0.95, 1.5, ())  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
