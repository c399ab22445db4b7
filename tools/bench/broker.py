"""A mosquitto of the benchmark's own, and a subscriber that notes when messages arrive."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from common.errors import ConfigError, DeviceError
from tools.bench.private import free_port

START_S = 10.0


class Broker:
    """A running mosquitto on loopback; a context manager."""

    def __init__(self) -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        if program is None:
            raise ConfigError("this benchmark needs a broker: apt install mosquitto")
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="vd-"))
        configuration = self._directory / "mosquitto.conf"
        configuration.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
        self._process = subprocess.Popen([program, "-c", str(configuration)], stderr=subprocess.DEVNULL)

    def __enter__(self) -> Self:
        import socket

        end = time.monotonic() + START_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            if self._process.poll() is not None or time.monotonic() > end:
                self.close()
                raise DeviceError("mosquitto does not listen")
            time.sleep(0.02)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self._directory, ignore_errors=True)


class Subscriber:
    """Hears a topic; `heard` holds (captured_ns, arrival) of each message, monotonic nanoseconds."""

    def __init__(self, port: int, topic: str) -> None:
        self.heard: list[tuple[int, int]] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._note
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(topic)

    def run(self, done: threading.Event) -> None:
        """Listen until done."""
        while not done.is_set():
            self._client.loop(0.1)
        self._client.disconnect()

    def _note(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        arrived = time.monotonic_ns()
        self.heard.append((int(json.loads(message.payload)["captured_ns"]), arrived))
