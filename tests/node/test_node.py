"""The whole node: real processes under supervisord, a real broker, a real face in a real clip."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from common.bus import Bus
from common.errors import VedetteError
from common.fleet import members
from common.settings import Settings
from common.shm import segments
from common.stats import read_stats
from tools.bench.broker import Broker
from tools.bench.private import Ear, free_port
from tools.bench.waiting import until
from tools.demo.clip import fetch_clip
from tools.models.pull import pull
from tools.supervisor.node import node, scale, stop

DEADLINE_S = 60


class Listener:
    """Everything an independent subscriber heard."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self._changed = threading.Condition()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._note
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _note(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        with self._changed:
            self.messages.append((message.topic, message.payload, message.retain))
            self._changed.notify_all()

    def wait(self, wanted: Callable[[], Any]) -> Any:
        with self._changed:
            value = self._changed.wait_for(wanted, DEADLINE_S)
        assert value, self.messages[-20:]
        return value

    def events(self) -> dict[str, list[dict[str, Any]]]:
        """Event payloads by id, duplicates left out by `seq`."""
        found: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        for topic, payload, _ in list(self.messages):
            if topic.endswith("/events"):
                event = json.loads(payload)
                found[event["id"]][event["seq"]] = event
        return {key: [rows[seq] for seq in sorted(rows)] for key, rows in found.items()}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture(scope="module")
def clip() -> Path:
    try:
        pull("yunet")
        return fetch_clip(lambda _: None)
    except VedetteError as error:
        pytest.skip(f"model or clip cannot be fetched: {error}")


@pytest.fixture
def broker() -> Iterator[Broker]:
    try:
        made = Broker()
    except VedetteError as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture
def running(
    make_settings: Callable[..., Settings], node_dir: Path, clip: Path, broker: Broker
) -> Iterator[tuple[Settings, Ear, Listener]]:
    settings = make_settings(
        node="test",
        cameras={"door": {"source": f"file:{clip}"}},
        mqtt={"port": broker.port},
        view={"port": free_port()},
        infer={"width": 320, "workers": 1},
        publish={"stats_s": 1},
    )
    listener = Listener(broker.port)
    with node(settings, node_dir), Bus(settings.runtime_dir) as bus:
        ear = Ear(bus)
        ear.wait(lambda heard: any(frame.shown.any() for frame in heard), DEADLINE_S)
        yield settings, ear, listener
    listener.close()


def pids(settings: Settings) -> dict[str, int]:
    return {
        name: int(row["pid"]) for name, row in read_stats(settings.runtime_dir).items() if row["state"] == "running"
    }


def test_every_process_may_be_killed_and_no_event_is_lost(running: tuple[Settings, Ear, Listener]) -> None:
    settings, ear, listener = running
    listener.wait(listener.events)
    names = [member.name for member in members(settings.cameras, 1)]
    until(lambda: set(names) <= set(pids(settings)))
    for name in names:
        before = pids(settings)[name]
        os.kill(before, signal.SIGKILL)
        killed_ns = time.monotonic_ns()
        until(lambda name=name, before=before: pids(settings).get(name, before) != before)  # type: ignore[misc]
        ear.wait(lambda heard, at=killed_ns: sum(f.frame.captured_ns > at for f in heard) > 5, DEADLINE_S)  # type: ignore[misc]
    listener.wait(lambda: any(topic == "vedette/test/stats" for topic, _, _ in listener.messages))
    for rows in listener.events().values():
        assert [row["seq"] for row in rows] == list(range(rows[0]["seq"], rows[0]["seq"] + len(rows)))
        assert rows[0]["type"] == "start"
        assert [row["type"] for row in rows].count("end") <= 1


def test_a_stopped_process_is_replaced_and_the_others_go_on(running: tuple[Settings, Ear, Listener]) -> None:
    settings, ear, _ = running
    before = until(lambda: pids(settings) if "infer:0" in pids(settings) and "view" in pids(settings) else None)
    os.kill(before["infer:0"], signal.SIGSTOP)
    stopped_ns = time.monotonic_ns()
    after = until(
        lambda: found if (found := pids(settings)).get("infer:0", before["infer:0"]) != before["infer:0"] else None
    )
    ear.wait(lambda heard: any(frame.frame.captured_ns > stopped_ns for frame in heard), DEADLINE_S)
    assert {name: pid for name, pid in after.items() if name != "infer:0"} == {
        name: pid for name, pid in before.items() if name != "infer:0" and name in after
    }


def test_scaling_touches_no_other_process(running: tuple[Settings, Ear, Listener]) -> None:
    settings, ear, _ = running
    before = until(lambda: pids(settings) if "infer:0" in pids(settings) and "view" in pids(settings) else None)
    scale(settings, 2)
    until(lambda: "infer:1" in pids(settings))
    scale(settings, 1)
    now_ns = time.monotonic_ns()
    ear.wait(lambda heard: sum(frame.frame.captured_ns > now_ns for frame in heard) > 10, DEADLINE_S)
    after = pids(settings)
    assert {name: after.get(name) for name in before} == before


def test_nothing_is_left_after_the_supervisor_was_killed(
    make_settings: Callable[..., Settings], node_dir: Path, clip: Path
) -> None:
    settings = make_settings(cameras={"door": {"source": f"file:{clip}"}}, view={"port": free_port()})
    with node(settings, node_dir) as alive, Bus(settings.runtime_dir) as bus:
        Ear(bus).wait(lambda heard: len(heard) > 5, DEADLINE_S)
        children = read_stats(settings.runtime_dir)
        parent = int(Path(f"/proc/{children['track']['pid']}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        until(lambda: not alive())
        until(lambda: not any(lives(int(row["pid"])) for row in children.values()))
    assert segments(settings.runtime_dir) == []


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_when_the_node_ends_every_face_has_left_and_everybody_was_told(running) -> None:
    settings, _, listener = running
    listener.wait(listener.events)
    assert stop(settings)
    listener.wait(lambda: ("vedette/test/status", b"offline", False) in listener.messages)
    lives = listener.events()
    assert all([row["type"] for row in rows].count("end") == 1 for rows in lives.values())
    last = {topic: data for topic, data, _ in listener.messages}
    assert last["vedette/test/door/occupancy"] == b"OFF"
    assert last["vedette/test/door/faces"] == b"0"
    assert last["vedette/test/door/status"] == b"offline"
