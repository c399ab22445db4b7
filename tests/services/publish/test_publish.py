"""What stands on the broker, by an independent subscriber."""

from __future__ import annotations

import signal
import time
from typing import Any


def test_birth_is_online_and_a_killed_node_is_offline_by_its_last_will(broker, make_node, listen, until) -> None:
    listener = listen(broker.port)
    node = make_node(broker.port)
    until(lambda: listener.last("vedette/hall/status") == "online", "birth")
    node.kill()
    until(lambda: listener.last("vedette/hall/status") == "offline", "will")
    assert listener.on("vedette/hall/status") == ["online", "offline"]


def test_an_ended_node_says_offline_itself_and_exits_with_0(broker, make_node, listen, until) -> None:
    listener = listen(broker.port)
    node = make_node(broker.port)
    until(lambda: listener.last("vedette/hall/status") == "online", "birth")
    assert node.stop() == 0
    until(lambda: listener.last("vedette/hall/status") == "offline", "goodbye")


def test_an_event_arrives_with_every_field_of_the_contract(broker, make_node, make_faces, listen, until) -> None:
    listener = listen(broker.port)
    node = make_node(broker.port)
    node.online()
    node.ring_doorbell(make_faces(node.settings).live(1))
    start, update, end = until(lambda: len(events := listener.on("vedette/hall/events")) == 3 and events, "events")
    assert [row["type"] for row in (start, update, end)] == ["start", "update", "end"]
    assert [row["seq"] for row in (start, update, end)] == [1, 2, 3]
    assert start["v"] == 1
    assert start["box"] == [0.1, 0.1, 0.2, 0.4]
    assert start["zones"] == ["gate"]
    assert start["snapshot"] == "vedette/hall/door/snapshot"
    assert start["time"].endswith("Z")
    assert {"id", "camera", "track_id", "score", "best_score", "duration_s"} <= set(start)
    message = next(message for message in listener.messages if message.topic == "vedette/hall/events")
    assert (message.qos, message.retain) == (1, False)
    assert 0 < message.properties.MessageExpiryInterval <= 30 * 86_400
    assert ("schema", "1") in message.properties.UserProperty


def test_tracks_leave_at_once_with_their_capture_time(broker, make_node, listen, until) -> None:
    listener = listen(broker.port)
    node = make_node(broker.port, publish={"tracks": True, "tracks_hz": 0})
    node.online()
    before = time.monotonic_ns()
    until(lambda: (node.see("door", 2), listener.on("vedette/hall/door/tracks"))[1], "tracks")
    payload = listener.last("vedette/hall/door/tracks")
    assert payload["camera"] == "door"
    assert before <= payload["captured_ns"] <= time.monotonic_ns()
    assert payload["tracks"][0] == {"id": 1, "box": [0.1, 0.1, 0.2, 0.4], "score": 0.9, "state": "confirmed"}
    assert len(payload["tracks"]) == 2


def test_tracks_are_silent_unless_switched_on(broker, make_node, listen, until) -> None:
    listener = listen(broker.port)
    node = make_node(broker.port)
    node.online()
    until(lambda: (node.see("door"), listener.last("vedette/hall/door/faces") == 1)[1], "faces")
    assert not listener.on("vedette/hall/door/tracks")


def test_faces_and_occupancy_follow_the_tracks_with_the_off_delay(broker, make_node, listen, until) -> None:
    listener = listen(broker.port)
    node = make_node(broker.port, events={"off_delay_s": 1.0})
    until(lambda: listener.last("vedette/hall/door/occupancy") == "OFF", "first state")
    until(lambda: (node.see("door", 2), listener.last("vedette/hall/door/faces") == 2)[1], "two faces")
    until(lambda: listener.last("vedette/hall/door/occupancy") == "ON", "occupied")
    node.see("door", 0)
    until(lambda: listener.last("vedette/hall/door/faces") == 0, "no face")
    assert listener.last("vedette/hall/door/occupancy") == "ON"
    until(lambda: listener.last("vedette/hall/door/occupancy") == "OFF", "empty")


def test_camera_status_follows_capture_and_its_silence(broker, make_node, listen, until) -> None:
    listener = listen(broker.port)
    node = make_node(broker.port)
    topic = "vedette/hall/door/status"
    for said, told in (("online", "online"), ("disabled", "disabled"), ("ended", "offline"), ("online", "online")):
        until(lambda said=said, told=told: (node.say("door", said), listener.last(topic) == told)[1], said)
    until(lambda: listener.last(topic) == "offline", "silence")
    assert listener.on(topic)[-5:] == ["online", "disabled", "offline", "online", "offline"]


def test_stats_name_every_process_that_reports(broker, make_node, listen, until) -> None:
    listener = listen(broker.port)
    make_node(broker.port, publish={"stats_s": 0.5})
    stats: dict[str, Any] = until(lambda: listener.last("vedette/hall/stats"), "stats")
    assert stats["node"] == "hall"
    assert stats["cameras"]["door"]["faces"] == 0
    assert {"state", "drops", "cpu_percent", "rss_mb", "restarts", "latency_ms"} <= set(stats["processes"]["publish"])


def test_everything_retained_is_back_after_the_broker_forgot_it(broker, make_node, listen, until) -> None:
    node = make_node(broker.port)
    node.online()
    listener = listen(broker.port)
    until(lambda: (node.see("door", 3), listener.last("vedette/hall/door/faces") == 3)[1], "three faces")
    broker.kill()
    node.wait_for("waiting", "connection refused")
    broker.start()
    node.online()
    late = listen(broker.port)
    until(lambda: late.last("vedette/hall/status") == "online", "birth")
    assert late.last("vedette/hall/door/faces") in {0, 3}  # what is true now, not what was configured
    assert late.last("vedette/hall/door/enabled/state") == "ON"


def test_3_1_1_carries_the_same(broker, make_node, make_faces, listen, until) -> None:
    listener = listen(broker.port)
    node = make_node(broker.port, mqtt={"protocol": "3.1.1"})
    node.online()
    node.ring_doorbell(make_faces(node.settings).live(1))
    events = until(lambda: len(events := listener.on("vedette/hall/events")) == 3 and events, "events")
    assert [event["type"] for event in events] == ["start", "update", "end"]


def test_topics_of_a_camera_that_was_removed_are_taken_back(broker, make_node, make_settings, listen, until) -> None:
    source = {"source": "pattern:64x48@30"}
    node = make_node(broker.port, cameras={"door": source, "yard": source})
    listener = listen(broker.port)
    until(lambda: listener.last("vedette/hall/yard/status") == "offline", "yard")
    node.stop()
    node.close()
    make_node(broker.port, cameras={"door": source})
    until(lambda: listener.last("vedette/hall/yard/status") == "", "taken back")
    until(lambda: listener.last("homeassistant/device/vedette_hall_yard/config") == "", "entities taken back")
    late = listen(broker.port)
    until(lambda: late.last("vedette/hall/status") == "online", "retained")
    assert not [message.topic for message in late.messages if "yard" in message.topic]


def test_a_stopped_broker_is_noticed_and_tracks_are_dropped_not_queued(broker, make_node, listen, until) -> None:
    node = make_node(broker.port, mqtt={"keepalive_s": 5}, publish={"tracks": True, "tracks_hz": 0})
    node.online()
    broker.pause()
    until(lambda: (node.see("door", 4), node.report.get("state") == "waiting")[1], "noticed", 40)
    broker.go_on()
    node.online()
    assert node.process.poll() is None
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(10) == 0
