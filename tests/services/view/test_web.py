"""What the web server answers: state, events, commands, and to whom."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from common.eventlog import Event, EventLogWriter, boot_id
from common.settings import EventSettings
from common.wire import Command
from services.view.patience import CONNECTIONS

EVENT = "01JDABCDEFGHJKMNPQRSTVWXYZ"


def test_state_names_cameras_processes_and_switches(page, producer, until) -> None:
    until(lambda: page.state()["controls"]["available"])
    state = page.state()
    assert (state["node"], state["version"]) == ("vedette", state["version"])
    [camera] = state["cameras"]
    assert (camera["name"], camera["status"], camera["width"], camera["faces"]) == ("door", "online", 640, 1)
    assert camera["controls"] == {"enabled": True, "detect_fps": 0.0, "privacy": False}
    rows = {row["name"]: row for row in state["processes"]}
    assert set(rows) == {"watchdog", "track", "publish", "view", "infer:0", "capture:door"}
    assert rows["view"]["state"] == "running"
    assert rows["view"]["pss_mb"] > 10
    assert rows["track"]["state"] == "away"


def test_silent_camera_and_silent_publish_are_told(page, producer, until) -> None:
    until(lambda: page.state()["controls"]["available"])
    producer.close()
    until(lambda: page.state()["cameras"][0]["status"] == "offline")
    assert "silent" in page.state()["cameras"][0]["reason"]
    until(lambda: not page.state()["controls"]["available"])
    assert page.command({"target": "door", "what": "privacy", "payload": "ON"}) == 503


def test_commands_reach_publish(page, producer, until) -> None:
    until(lambda: page.state()["controls"]["available"])
    assert page.command({"target": "door", "what": "privacy", "payload": "ON"}) == 202
    assert page.command({"target": "infer:0", "what": "restart", "payload": "PRESS"}) == 202
    wanted = [Command("door", "privacy", "ON"), Command("infer:0", "restart", "PRESS")]
    until(lambda: producer.commands == wanted)


@pytest.mark.parametrize(
    "body",
    [
        {"target": "cellar", "what": "privacy", "payload": "ON"},
        {"target": "door", "what": "privacy", "payload": "maybe"},
        {"target": "door", "what": "detect_fps", "payload": "nan"},
        {"target": "door", "what": "restart", "payload": "PRESS"},
        {"target": "door", "what": "format", "payload": "ON"},
        {"target": "door"},
        [],
        "x" * 5000,
        {"target": "door", "what": "detect_fps", "payload": "Infinity"},
    ],
)
def test_senseless_command_is_refused(asked_page, body: object) -> None:
    assert asked_page.command(body) == 400


def test_command_of_another_site_is_refused(asked_page) -> None:
    body = json.dumps({"target": "door", "what": "privacy", "payload": "OFF"})
    kind = {"Content_Type": "application/json"}
    # a form or a simple request has no such header
    assert asked_page.ask("/api/command", "POST", body, **kind)[0] == 403
    assert asked_page.ask("/api/command", "POST", body, Content_Type="text/plain", X_Vedette="1")[0] == 403
    assert asked_page.ask("/api/command", "POST", body, **kind, X_Vedette="1", Origin="http://evil.example")[0] == 403
    assert asked_page.ask("/api/command", "POST", body, **kind, X_Vedette="1", Sec_Fetch_Site="same-site")[0] == 403
    for origin in ("null", "", "http://[::1", "http://127.0.0.1:9", "http://127.0.0.1@evil.example"):
        assert asked_page.ask("/api/command", "POST", body, **kind, X_Vedette="1", Origin=origin)[0] == 403
    assert asked_page.ask("/api/command", "GET")[0] == 405


def test_command_that_is_all_brackets_is_refused(asked_page) -> None:
    kind = {"Content_Type": "application/json", "X_Vedette": "1"}
    assert asked_page.ask("/api/command", "POST", "[" * 4000, **kind)[0] == 400


def test_pictures_are_not_given_to_other_sites(asked_page) -> None:
    status, headers, _ = asked_page.ask("/snapshot/door.jpg", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")
    assert status == 403
    assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8770", 200),
        ("127.0.0.1", 200),
        ("[::1]:8770", 200),
        (socket.gethostname(), 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:80", 421),
        ("127.0.0.1@evil.example", 421),
        ("[::1].evil.example", 421),
        ("[::1]evil", 421),
        ("2130706433", 421),
        ("", 421),
    ],
)
def test_only_known_host_names_are_answered(asked_page, host: str, status: int) -> None:
    assert asked_page.ask("/healthz", Host=host)[0] == status


def test_unknown_host_is_told_the_line_to_add(start_view: Callable) -> None:
    page = start_view(allowed_hosts=["cams.example"])
    assert page.ask("/healthz", Host="cams.example")[0] == 200
    assert b"view: {allowed_hosts: [other.example]}" in page.ask("/healthz", Host="other.example")[2]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../service.py",
        "/static/%2e%2e/service.py",
        "/static/..%2fservice.py",
        "/static/index.html",
        "/faces/../../view.key.jpg",
        "/faces/..%2f..%2fevents.jpg",
        "/snapshot/..%2fdoor.jpg",
        "/snapshot/cellar.jpg",
        "/stream/cellar.mjpg",
        "/etc/passwd",
        "//etc/passwd",
    ],
)
def test_no_path_leads_out(asked_page, path: str) -> None:
    assert asked_page.ask(path)[0] == 404


def test_every_answer_has_the_security_headers(asked_page) -> None:
    for path in ("/", "/static/app.js", "/api/state", "/nothing", "/healthz"):
        _, headers, _ = asked_page.ask(path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert "server" not in headers


def test_frame_ancestors_are_a_setting(start_view: Callable) -> None:
    _, headers, _ = start_view(frame_ancestors=["http://homeassistant.local:8123"]).ask("/")
    assert "frame-ancestors http://homeassistant.local:8123" in headers["content-security-policy"]
    assert "x-frame-options" not in headers


@pytest.mark.parametrize("prefix", ["", "/cams"])
def test_path_prefix_may_be_stripped_by_the_proxy_or_not(start_view: Callable, prefix: str) -> None:
    page = start_view(root_path="/cams")
    assert page.ask(f"{prefix}/api/state")[0] == 200
    assert page.ask(f"{prefix}/static/app.js")[1]["content-type"].startswith("text/javascript")
    assert page.ask("/cams")[1]["location"] == "/cams/"


def test_files_of_the_page_are_asked_for_once(asked_page) -> None:
    _, headers, data = asked_page.ask("/static/app.js")
    assert data
    assert asked_page.ask("/static/app.js", If_None_Match=headers["etag"])[0] == 304


def test_events_and_faces_come_from_the_state_directory(page) -> None:
    state_dir = Path(page.settings.state_dir)
    assert json.loads(page.ask("/api/events")[2]) == {"rowid": 0, "events": [], "problem": ""}
    log = EventLogWriter(state_dir, EventSettings())
    now, mono = time.time_ns(), time.monotonic_ns()
    fixed = (EVENT, 0, "start", "door", 7, now, mono, boot_id(), (0.1, 0.2, 0.3, 0.4), 0.9, 0.9, 0.0, ("gate",))
    last = log.append([Event(0, *fixed)])
    log.close()
    answer = json.loads(page.ask("/api/events?limit=5")[2])
    [event] = answer["events"]
    assert answer["rowid"] == last
    assert (event["id"], event["type"], event["box"], event["face"]) == (EVENT, "start", [0.1, 0.2, 0.3, 0.4], None)
    assert json.loads(page.ask(f"/api/events?after={last}")[2])["events"] == []
    assert page.ask(f"/faces/{EVENT}.jpg")[0] == 404
    picture = state_dir / "snapshots" / "door" / f"{EVENT}.jpg"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"\xff\xd8 face")
    assert page.ask(f"/faces/{EVENT}.jpg")[2] == b"\xff\xd8 face"
    assert json.loads(page.ask("/api/events")[2])["events"][0]["face"] == f"faces/{EVENT}.jpg"
    assert page.ask("/api/events?limit=many")[0] == 400
    for number in ("9" * 30, "-" + "9" * 30):
        status, _, data = page.ask(f"/api/events?after={number}&limit={number}")
        assert (status, json.loads(data)["problem"]) == (200, "")


def test_metrics_can_be_read_by_prometheus(page, producer, until) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    until(lambda: page.state()["cameras"][0]["faces"] == 1)
    status, headers, data = page.ask("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(data.decode())}
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert families["vedette_camera_faces"].samples[0].value == 1
    up = {sample.labels["process"]: sample.value for sample in families["vedette_process_up"].samples}
    assert (up["view"], up["track"]) == (1, 0)


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HTTP/1.1\r\nX: a",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
    ],
)
def test_whoever_does_not_come_to_the_point_takes_no_place_and_is_sent_away(
    start_view: Callable, until: Callable, begun: bytes
) -> None:
    page = start_view(password="hush")
    idle = [socket.create_connection(("127.0.0.1", page.port), 30) for _ in range(CONNECTIONS + 20)]
    with contextlib.ExitStack() as stack:
        for one in idle:
            stack.enter_context(one)
            with contextlib.suppress(ConnectionError):  # the first of them have lost their places already
                one.sendall(begun)
        assert until(lambda: page.ask("/healthz")[0] == 200)  # all of them at once are a moment's work
        assert [ended(one) for one in idle] == [True] * len(idle)


def ended(one: socket.socket) -> bool:
    """True as soon as the other side has ended a connection; some are told before to come later."""
    try:
        while one.recv(1000):
            pass
    except ConnectionError:
        pass
    return True


def test_a_request_that_comes_in_pieces_is_answered(page) -> None:
    with socket.create_connection(("127.0.0.1", page.port), 10) as one:
        for piece in (b"GET /heal", b"thz HTTP/1.1\r\nHost: local", b"host\r\n\r\n"):
            one.sendall(piece)
        answers = one.makefile("rb")
        assert answers.readline().startswith(b"HTTP/1.1 200")
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert any(line.startswith(b"HTTP/1.1 200") for line in answers)


def test_what_is_no_http_fills_no_log(start_view: Callable) -> None:
    page = start_view()
    for odd in (b"x\r\n\r\n", b"GET /%ff HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" * 2):
        with socket.create_connection(("127.0.0.1", page.port), 30) as one:
            one.sendall(odd)
            while one.recv(1000):
                pass
    assert page.ask("/healthz")[0] == 200
    page.process.terminate()
    assert "Traceback" not in page.process.communicate(timeout=20)[1].decode()


def test_head_of_a_stream_ends(asked_page) -> None:
    assert asked_page.ask("/stream/door.mjpg", "HEAD")[0] == 200


def test_view_stops_at_once_while_somebody_looks(page, producer) -> None:
    stream = page.stream()
    next(stream)
    page.process.terminate()
    assert page.process.wait(5) == 0
    stream.close()
