"""Hears what the node tells over MQTT, as any other program in the house would."""

from __future__ import annotations

import json
import queue
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from common.errors import DeviceError
from common.settings import Settings


@dataclass(frozen=True, slots=True)
class Heard:
    """A message.

    Attributes:
        topic: Below the node's own topic: `events`, `stats`, `demo/faces`.
        payload: What JSON it is, else its text.
        arrived: Wall time, seconds.
    """

    topic: str
    payload: Any
    arrived: float


class Subscriber:
    """Everything that a node publishes, in a queue; pictures are left out."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = f"{settings.mqtt.base}/{settings.node}/"
        self._queue: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        version = mqtt.MQTTv5 if settings.mqtt.protocol == "5" else mqtt.MQTTv311
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=version, transport=settings.mqtt.transport)
        if settings.mqtt.username is not None:
            client.username_pw_set(settings.mqtt.username, settings.mqtt.password)
        if settings.mqtt.tls:
            client.tls_set(settings.mqtt.tls_ca, settings.mqtt.tls_certificate, settings.mqtt.tls_key)
            client.tls_insecure_set(settings.mqtt.tls_insecure)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        self._client, self._mqtt = client, settings.mqtt

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            DeviceError: No broker there.
        """
        try:
            self._client.connect(self._mqtt.host, self._mqtt.port)
        except OSError as error:
            where = f"{self._mqtt.host}:{self._mqtt.port}"
            raise DeviceError(f"no MQTT broker at {where}: {error}; start it, or leave mqtt.host away") from error
        self._client.loop_start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def take(self, timeout_s: float) -> Heard | None:
        """The next message; None after the time-out."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _on_connect(self, client: mqtt.Client, *_rest: Any) -> None:
        client.subscribe([(f"{self._prefix}events", 1), (f"{self._prefix}stats", 0), (f"{self._prefix}+/faces", 1)])

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            payload = json.loads(message.payload)
        except ValueError:
            payload = message.payload.decode("utf-8", "replace")
        self._queue.put(Heard(message.topic.removeprefix(self._prefix), payload, time.time()))
