"""No event is lost: over broker outages, killed brokers, killed publish processes, refusals."""

from __future__ import annotations

import random
import signal
import socket
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from common.stats import read_json
from tools.demo.broker import embedded_broker


def lives(events: list[Any]) -> dict[str, list[str]]:
    """Types by event id in order of arrival, with repetitions dropped as `seq` allows."""
    seen: dict[str, dict[int, str]] = defaultdict(dict)
    for event in events:
        seen[event["id"]].setdefault(event["seq"], event["type"])
    return {key: list(rows.values()) for key, rows in seen.items()}


def position(node: Any) -> int:
    """How far the broker has acknowledged the log."""
    return int(read_json(Path(node.settings.state_dir) / "publish.json").get("rowid", 0))


def whole(events: list[Any], written: list[tuple[str, str]]) -> bool:
    """Every written event arrived, each life in order."""
    found = lives(events)
    return {(key, kind) for key, kinds in found.items() for kind in kinds} == set(written)


def in_order(events: list[Any]) -> bool:
    """Every life that arrived is whole."""
    return all(kinds == ["start", "update", "end"] for kinds in lives(events).values())


def test_order_per_id_is_kept(broker, make_node, make_faces, listen, until) -> None:
    listener = listen(broker.port, "vedette/hall/events")
    node = make_node(broker.port)
    faces = make_faces(node.settings)
    faces.live(100)
    until(lambda: whole(listener.on("vedette/hall/events"), faces.written), "all events")
    events = listener.on("vedette/hall/events")
    assert in_order(events)
    assert len(events) == 300


def test_nothing_is_lost_while_the_broker_is_killed_again_and_again(broker, make_node, make_faces, until) -> None:
    node = make_node(broker.port)
    faces = make_faces(node.settings)
    for _ in range(4):
        node.online()
        faces.live(20)
        node.ring_doorbell(faces.live(20))  # these are on their way, or not, when it dies
        broker.kill()
        faces.live(20)
        broker.start()
    until(lambda: position(node) == len(faces.written), "all acknowledged")
    assert position(node) == 4 * 3 * 20 * 3


def test_a_subscriber_that_is_back_first_hears_every_outage(broker, make_node, make_faces, listen, until) -> None:
    listener = listen(broker.port, "vedette/hall/events")
    node = make_node(broker.port)
    node.online()
    faces = make_faces(node.settings)
    for count in range(1, 4):
        node.ring_doorbell(faces.live(5))
        until(lambda: whole(listener.on("vedette/hall/events"), faces.written), "before")
        broker.kill()
        node.wait_for("waiting", "broker 127.0.0.1")
        node.process.send_signal(signal.SIGSTOP)  # so that the subscriber is the first to be back
        faces.live(50)
        broker.start()
        until(lambda count=count: listener.subscribed == count + 1, "subscriber back")
        node.process.send_signal(signal.SIGCONT)
        until(lambda: whole(listener.on("vedette/hall/events"), faces.written), "after")
    assert in_order(listener.on("vedette/hall/events"))


def test_nothing_is_lost_when_publish_is_killed_at_random_moments(broker, make_node, make_faces, listen, until) -> None:
    listener = listen(broker.port, "vedette/hall/events")
    node = make_node(broker.port)
    faces = make_faces(node.settings)
    dice = random.Random(4)
    for _ in range(8):
        node.online()
        target = len(listener.messages) + dice.randrange(1, 200)
        faces.live(100)
        until(lambda target=target: len(listener.messages) >= target, "traffic")
        node.kill()
        node.start()
    until(lambda: whole(listener.on("vedette/hall/events"), faces.written), "all events")
    assert in_order(listener.on("vedette/hall/events"))


def test_a_backlog_of_10000_events_is_delivered(broker, make_node, make_faces, listen, until, free_port) -> None:
    node = make_node(free_port)
    faces = make_faces(node.settings)
    node.kill()
    faces.live(3334)
    listener = listen(broker.port, "vedette/hall/events")
    second = make_node(broker.port, runtime_dir=node.settings.runtime_dir + "2")
    began = time.monotonic()
    until(lambda: len(listener.messages) >= 10_002, "backlog", 60)
    print(f"{10_002 / (time.monotonic() - began):.0f} events/s with the start of the process")
    assert whole(listener.on("vedette/hall/events"), faces.written)
    until(lambda: second.report["gauges"].get("backlog") == 0, "backlog gauge")


def test_events_that_the_broker_refuses_wait_until_it_takes_them(
    make_broker, node_dir, make_node, make_faces, until
) -> None:
    acl = node_dir / "acl"
    acl.write_text("topic write vedette/hall/status\n")
    acl.chmod(0o644)
    node_dir.chmod(0o755)
    broker = make_broker(extra=f"acl_file {acl}\n")
    node = make_node(broker.port)
    faces = make_faces(node.settings)
    faces.live(3)
    reason = node.wait_for("running", "refuses events")
    assert "not authorized" in reason.lower()
    broker.kill()
    acl.write_text("topic readwrite #\n")
    broker.start()
    until(
        lambda: node.report.get("gauges", {}).get("backlog") == 0 and "refuses" not in node.report["reason"],
        "delivered",
    )
    until(lambda: position(node) == 9, "position")


def test_messages_that_nobody_hears_are_counted(broker, make_node, make_faces, until) -> None:
    node = make_node(broker.port)
    make_faces(node.settings).live(2)
    node.wait_for("running", "nobody subscribes to vedette/hall/events")
    assert until(lambda: node.report.get("totals", {}).get("no_subscribers"), "counted") >= 6


def test_a_log_that_was_replaced_is_sent_from_its_start(broker, make_node, make_faces, listen, node_dir, until) -> None:
    listener = listen(broker.port, "vedette/hall/events")
    node = make_node(broker.port)
    faces = make_faces(node.settings)
    faces.live(5)
    until(lambda: whole(listener.on("vedette/hall/events"), faces.written), "first log")
    node.stop()
    faces.close()
    for path in (node_dir / "state").glob("events.db*"):
        path.unlink()
    listener.messages.clear()
    new = make_faces(node.settings)
    new.live(2)
    node.start()
    until(lambda: whole(listener.on("vedette/hall/events"), new.written), "second log")
    assert in_order(listener.on("vedette/hall/events"))


class Cutter:
    """Stands between node and broker; cuts each connection after a given number of bytes from the node."""

    def __init__(self, port: int, limits: list[int]) -> None:
        self._broker, self._limits = port, limits
        self.cuts = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Cutter:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            limit = self._limits.pop(0) if self._limits else 1 << 40
            threading.Thread(target=self._serve, args=(peer, limit), daemon=True).start()

    def _serve(self, peer: socket.socket, limit: int) -> None:
        with peer, socket.create_connection(("127.0.0.1", self._broker)) as broker:
            threading.Thread(target=self._pass, args=(broker, peer), daemon=True).start()
            while limit > 0:
                data = peer.recv(min(limit, 4096))
                if not data:
                    return
                broker.sendall(data)
                limit -= len(data)
            self.cuts += 1
            for end in (peer, broker):
                end.shutdown(socket.SHUT_RDWR)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def test_a_broker_that_hangs_up_in_the_middle_of_a_publish_loses_nothing(
    broker, make_node, make_faces, listen, until
) -> None:
    listener = listen(broker.port, "vedette/hall/events")
    dice = random.Random(7)
    limits = [9_000 + dice.randrange(6_000) for _ in range(6)]  # beyond what is retained, so within the events
    with Cutter(broker.port, limits) as cutter:
        node = make_node(cutter.port)
        faces = make_faces(node.settings)
        faces.live(200)
        until(lambda: whole(listener.on("vedette/hall/events"), faces.written), "all events", 60)
        assert cutter.cuts == 6
    assert in_order(listener.on("vedette/hall/events"))


def test_a_broker_that_takes_one_message_at_a_time_gets_them_in_order(
    make_broker, make_node, make_faces, listen, until
) -> None:
    broker = make_broker(limits="max_inflight_messages 1\nmax_queued_messages 1000000\n")
    listener = listen(broker.port, "vedette/hall/events")
    node = make_node(broker.port)
    faces = make_faces(node.settings)
    faces.live(100)
    until(lambda: whole(listener.on("vedette/hall/events"), faces.written), "all events")
    assert [(row["id"], row["type"]) for row in listener.on("vedette/hall/events")] == faces.written


def test_a_starved_broker_gets_everything_once_it_works_again(broker, make_node, make_faces, listen, until) -> None:
    listener = listen(broker.port, "vedette/hall/events")
    node = make_node(broker.port)
    faces = make_faces(node.settings)
    node.online()
    for _ in range(3):
        node.ring_doorbell(faces.live(30))
        broker.pause()
        node.ring_doorbell(faces.live(30))
        until(lambda: node.report.get("gauges", {}).get("backlog", 0) > 0, "backlog")
        broker.go_on()
        until(lambda: whole(listener.on("vedette/hall/events"), faces.written), "all events")
    assert in_order(listener.on("vedette/hall/events"))


def test_the_embedded_broker_gets_every_event(node_dir, make_node, make_faces, until) -> None:
    pytest.importorskip("iotcore")
    with embedded_broker(node_dir) as port:
        node = make_node(port, mqtt={"protocol": "3.1.1"})
        node.online()
        faces = make_faces(node.settings)
        node.ring_doorbell(faces.live(50))
        until(lambda: position(node) == len(faces.written), "all acknowledged")
        assert position(node) == 50 * 3
