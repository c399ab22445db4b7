"""Somebody outside who hears everything that the node tells, and holds it to its word."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

Row = dict[str, Any]
RETRY_S = 0.05


class Witness:
    """Subscribes to everything and comes back by itself.

    Attributes:
        events: Every event as it came, repetitions too.
        newest: The newest payload of every topic.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.events: list[Row] = []
        self.newest: dict[str, bytes] = {}
        self.changed = threading.Condition()
        self._host, self._port, self._done, self._here = host, port, threading.Event(), threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, "witness", clean_session=False)
        self._client.on_message = self._note
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.on_subscribe = lambda *_: self._here.set()
        self._thread = threading.Thread(target=self._run, name="witness", daemon=True)
        self._thread.start()

    def wait_here(self, seconds: float = 20.0) -> None:
        """Wait until the broker has taken the subscription.

        Raises:
            TimeoutError: Not within the time.
        """
        if not self._here.wait(seconds):
            raise TimeoutError("the witness is not let in by the broker")

    def away(self) -> None:
        """The broker is about to go: the next `wait_here` is about a new subscription."""
        self._here.clear()

    def wait(self, wanted: Callable[[], Any], seconds: float) -> Any:
        """Wait for a truth about what was heard; returns it, or what it is at the end of the time."""
        with self.changed:
            return self.changed.wait_for(wanted, seconds)

    def say(self, topic: str, payload: str) -> None:
        """Send a command, as a user would."""
        self._client.publish(topic, payload, 1)

    def close(self) -> None:
        """Hear no more."""
        self._done.set()
        self._thread.join(5)
        self._client.disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        connected = False
        while not self._done.is_set():
            try:
                if not connected:
                    self._client.connect(self._host, self._port, keepalive=10)
                    connected = True
                connected = self._client.loop(0.1) == mqtt.MQTT_ERR_SUCCESS
            except OSError:
                connected = False
            if not connected:
                self._done.wait(RETRY_S)

    def _note(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        with self.changed:
            self.newest[message.topic] = bytes(message.payload)
            if message.topic.endswith("/events"):
                self.events.append(json.loads(message.payload) | {"heard_at": time.monotonic()})
            self.changed.notify_all()


def broken_lives(rows: Iterable[Row], *, ended: bool) -> list[str]:
    """What is wrong with the lives that events tell; empty when every start has one end and `seq` has no gap.

    Args:
        rows: Events with `id`, `seq` and `type`, repetitions allowed.
        ended: No life may be open any more.
    """
    lives: dict[str, dict[int, Row]] = defaultdict(dict)
    wrong = []
    for row in rows:
        before = lives[row["id"]].setdefault(row["seq"], row)
        if before["type"] != row["type"]:
            wrong.append(f"{row['id']} seq {row['seq']} is {before['type']} and {row['type']}")
    for event_id, steps in lives.items():
        types = [steps[seq]["type"] for seq in sorted(steps)]
        if sorted(steps) != list(range(1, len(steps) + 1)):
            wrong.append(f"{event_id} has seq {sorted(steps)}")
        if types[0] != "start" or types.count("start") != 1:
            wrong.append(f"{event_id} has {types.count('start')} starts, begins with {types[0]}")
        if types.count("end") > 1 or ("end" in types and types[-1] != "end"):
            wrong.append(f"{event_id} has {types.count('end')} ends, the last is {types[-1]}")
        if ended and types[-1] != "end":
            wrong.append(f"{event_id} has no end")
    return wrong
