"""An independent MQTT subscriber: a process of its own that notes when each message of a topic arrives."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import multiprocessing.connection
import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from common.errors import DeviceError
from common.placement import FIFO, ORDINARY

READY_S = 20.0


class MqttEar:
    """The subscriber's process; a context manager. Messages carry `captured_ns`."""

    def __init__(self, port: int, topic: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_listen, args=(port, topic, theirs), daemon=True)
        self._process.start()
        if not self._pipe.poll(READY_S):
            raise DeviceError("the subscriber did not start")
        self._pipe.recv()

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self._process.pid or 0)

    def stop(self) -> list[tuple[int, int]]:
        """End it; gives (captured_ns, arrival) of each message, monotonic nanoseconds."""
        self._pipe.send("stop")
        heard: list[tuple[int, int]] = self._pipe.recv()
        self._process.join(10)
        return heard

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.is_alive():
            self._process.kill()


def _listen(port: int, topic: str, pipe: multiprocessing.connection.Connection) -> None:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    heard: list[tuple[int, bytes]] = []

    def note(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        heard.append((time.monotonic_ns(), bytes(message.payload)))

    def ready(*_: Any) -> None:
        pipe.send("ready")

    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message, client.on_subscribe = note, ready
    client.connect("127.0.0.1", port)
    client.subscribe(topic)
    while not pipe.poll():
        client.loop(0.2)
    pipe.recv()
    pipe.send([(int(json.loads(payload)["captured_ns"]), arrived) for arrived, payload in heard])
    client.disconnect()


def paho_alone(port: int, fps: float, seconds: float) -> list[float]:
    """The floor: milliseconds from a paho publisher through the broker to the same subscriber, payloads as large."""
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    with MqttEar(port, "bench/alone") as ear:
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", port)
        client.loop_start()
        while not client.is_connected():
            time.sleep(0.01)
        with _realtime():
            start = time.monotonic()
            for number in range(int(fps * seconds)):
                time.sleep(max(0.0, start + number / fps - time.monotonic()))
                client.publish("bench/alone", json.dumps({"captured_ns": time.monotonic_ns(), "tracks": "x" * 160}))
        time.sleep(0.3)
        heard = ear.stop()
        client.loop_stop()
        client.disconnect()
    return [(arrived - sent) / 1e6 for sent, arrived in heard]


@contextlib.contextmanager
def _realtime() -> Iterator[None]:
    """SCHED_FIFO for this thread inside, where it is allowed: the sender is as punctual as the node's."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, FIFO, os.sched_param(10))
    try:
        yield
    finally:
        os.sched_setscheduler(0, ORDINARY, os.sched_param(0))
