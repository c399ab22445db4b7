"""A real broker, a real publish process, an independent subscriber, and the other processes' ends of the bus."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from common import config
from common.bus import Bus
from common.eventlog import Event, EventLogWriter
from common.settings import Settings
from common.stats import read_stats
from common.wire import CONFIRMED, CameraState, EventNotice, FrameHandle, TrackFrame
from services.publish.topics import Topics
from tools.bench import waiting
from tools.schema.conform import fault

ROOT = Path(__file__).parents[3]
TOPICS = Topics("vedette", "hall")
UNLIMITED = (
    "max_queued_messages 1000000\nmax_inflight_messages 0\n"  # 0 makes mosquitto 2.0.11 hang up on a refused message
)
DEADLINE_S = 30.0


def wait_until(condition: Callable[[], Any], what: str = "", deadline_s: float = DEADLINE_S) -> Any:
    return waiting.until(condition, deadline_s, what)


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Broker:
    """mosquitto on a free port, without persistence: what it forgets is gone."""

    def __init__(
        self,
        directory: Path,
        extra: str = "",
        listener: str = "allow_anonymous true\n",
        limits: str = UNLIMITED,
        whole: str = "",
    ) -> None:
        self.port = closed_port()
        self._file = directory / f"mosquitto-{self.port}.conf"
        text = whole.replace("listener 1883", f"listener {self.port} 127.0.0.1")  # a configuration as it is
        self._file.write_text(text or f"listener {self.port} 127.0.0.1\n{listener}{limits}{extra}")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(["mosquitto", "-c", str(self._file)], stderr=subprocess.DEVNULL)
        wait_until(self._answers, "mosquitto")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"mosquitto ended with {self._process.returncode}"
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0


class Listener:
    """Subscribes to everything, and remembers it; comes back by itself when the broker does."""

    def __init__(self, port: int, topic: str = "#", **credentials: str) -> None:
        self.messages: list[mqtt.MQTTMessage] = []
        self.subscribed = 0
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"listener-{os.getpid()}-{id(self)}",
                                  protocol=mqtt.MQTTv5)  # fmt: skip
        self.client.reconnect_delay_set(1, 1)
        if credentials:
            self.client.username_pw_set(**credentials)
        as_published = SubscribeOptions(qos=1, retainAsPublished=True)  # so that the retain flag can be judged
        self.client.on_connect = lambda client, *_: client.subscribe(topic, options=as_published)
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = lambda _c, _u, message: self.messages.append(message)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        wait_until(lambda: self.subscribed, "subscription")

    def _on_subscribe(self, *_: Any) -> None:
        self.subscribed += 1

    def on(self, topic: str) -> list[Any]:
        """Payloads on a topic, as text or JSON."""
        return [read(message.payload) for message in list(self.messages) if message.topic == topic]

    def last(self, topic: str) -> Any:
        return (self.on(topic) or [None])[-1]

    def tell(self, topic: str, payload: str, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def read(payload: bytes) -> Any:
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return payload
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return text


class Node:
    """A node of which only publish runs; the test plays capture and track."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.dir = Path(settings.state_dir)
        self.name, self._path = config.write_resolved(settings)
        self.bus = Bus(settings.runtime_dir)
        self.tracks = self.bus.publisher("tracks")
        self.notices = self.bus.publisher("events")
        self.cameras = {name: self.bus.publisher("camera", name) for name in settings.cameras}
        self.commands = self.bus.pusher("commands")
        self.control = self.bus.subscriber("control")
        self.log_text = b""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = config.child_environment(**{self.name: str(self._path)})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.publish"], cwd=ROOT, env=environment, stderr=subprocess.PIPE
        )
        threading.Thread(target=self._read_log, args=(self.process.stderr,), daemon=True).start()

    def _read_log(self, pipe: Any) -> None:
        with pipe:
            for line in pipe:
                self.log_text += line

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(10)

    @property
    def report(self) -> dict[str, Any]:
        assert self.process is not None
        report = read_stats(self.settings.runtime_dir).get("publish", {})
        return report if report.get("pid") == self.process.pid else {}

    def wait_for(self, state: str, reason: str = "") -> str:
        """Wait for a state whose reason contains the given words."""
        self_says = lambda: self.report.get("state") == state and reason in self.report.get("reason", "")  # noqa: E731
        try:
            wait_until(self_says, f"{state} {reason}")
        except TimeoutError:
            raise AssertionError(f"{self.report}\n{self.log_text.decode()}") from None
        return str(self.report["reason"])

    def online(self) -> None:
        self.wait_for("running")

    def say(self, camera: str, status: str = "online") -> None:
        state = CameraState(camera, status, "", 640, 480, 30.0, 30.0, 1, time.monotonic_ns())  # type: ignore[arg-type]
        self.cameras[camera].send(state)

    def see(self, camera: str, faces: int = 1, frame: FrameHandle | None = None, event: str = "") -> None:
        now = time.monotonic_ns()
        frame = frame or FrameHandle(camera, 1, 0, 1, 1, now, 0, now)
        self.tracks.send(track_frame(frame, faces, event))

    def ring_doorbell(self, rowid: int) -> None:
        self.notices.send(EventNotice(rowid, time.monotonic_ns()))

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()
        self.bus.close()


def track_frame(frame: FrameHandle, faces: int = 1, event: str = "", width: int = 640, height: int = 480) -> TrackFrame:
    boxes = np.array([[64 + 130 * i, 48, 192 + 130 * i, 240] for i in range(faces)], np.float32).reshape(-1, 4)
    points = np.array([[x0 + 32, 110, x0 + 96, 110, x0 + 64, 150, x0 + 40, 190, x0 + 88, 190] for x0 in boxes[:, 0]])
    return TrackFrame(
        frame, width, height, frame.captured_ns, frame.captured_ns, time.monotonic_ns(),
        ids=np.arange(1, faces + 1, dtype=np.int64), boxes=boxes, velocities=np.zeros_like(boxes),
        scores=np.full(faces, 0.9, np.float32), states=np.full(faces, CONFIRMED, np.uint8),
        shown=np.ones(faces, np.uint8), detection_index=np.arange(faces, dtype=np.int32),
        hits=np.full(faces, 9, np.int32), ages_s=np.ones(faces, np.float32), event_ids=(event,) * faces,
        detections=boxes, landmarks=points.reshape(-1, 10).astype(np.float32),
    )  # fmt: skip


class Faces:
    """Writes the lives of faces to the event log, as track does."""

    def __init__(self, settings: Settings) -> None:
        Path(settings.state_dir).mkdir(mode=0o700, exist_ok=True)
        self._writer = EventLogWriter(settings.state_dir, settings.events)
        self._count = 0
        self.written: list[tuple[str, str]] = []

    def live(self, number: int, camera: str = "door") -> int:
        """So many faces come and go: a start, an update and an end each; gives the newest row."""
        rows: list[Event] = []
        for _ in range(number):
            self._count += 1
            rows += [self._event(f"01JF{self._count:022d}", kind, camera) for kind in ("start", "update", "end")]
        self.written += [(row.id, row.type) for row in rows]
        return self._writer.append(rows)

    def _event(self, event_id: str, kind: Any, camera: str) -> Event:
        return Event(0, event_id, 0, kind, camera, self._count, time.time_ns(), time.monotonic_ns(), "boot",
                     (0.1, 0.1, 0.2, 0.4), 0.9, 0.95, 1.5, ("gate",))  # fmt: skip

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
def broker(node_dir: Path) -> Iterator[Broker]:
    running = Broker(node_dir)
    yield running
    running.kill()


@pytest.fixture
def make_broker(node_dir: Path) -> Iterator[Callable[..., Broker]]:
    made: list[Broker] = []

    def make(**options: str) -> Broker:
        made.append(Broker(node_dir, **options))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(port: int, topic: str = "#", **credentials: str) -> Listener:
        made.append(Listener(port, topic, **credentials))
        return made[-1]

    yield make
    for one in made:
        one.close()
    for message in [message for one in made for message in one.messages]:
        if message.topic.startswith(("vedette/hall/", "homeassistant/")) and message.topic != "homeassistant/status":
            retain = bool(message.retain)
            assert not fault(TOPICS, message.topic, bytes(message.payload), message.qos, retain=retain)


@pytest.fixture
def make_node(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., Node]]:
    """A started node: `make_node(port, cameras=..., mqtt={...})`."""
    made: list[Node] = []

    def make(port: int, **tree: Any) -> Node:
        tree["mqtt"] = {"host": "127.0.0.1", "port": port, **tree.get("mqtt", {})}
        tree.setdefault("node", "hall")
        node = Node(make_settings(**tree))
        made.append(node)
        node.start()
        return node

    yield make
    for node in made:
        node.close()


@pytest.fixture
def make_faces() -> Iterator[Callable[[Settings], Faces]]:
    made: list[Faces] = []

    def make(settings: Settings) -> Faces:
        made.append(Faces(settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_until


@pytest.fixture
def free_port() -> int:
    return closed_port()
