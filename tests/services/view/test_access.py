"""Passwords, sessions and ports."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import ConfigError, DeviceError
from common.settings import ViewSettings
from services.view.access import Access
from services.view.server import bind

PASSWORD = "correct horse ü"
FORM = {"Content_Type": "application/x-www-form-urlencoded"}
BODY = "password=correct+horse+%C3%BC"


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()


@pytest.fixture
def guarded(start_view: Callable):
    return start_view(password=PASSWORD)


def test_foreign_address_without_password_is_refused_with_the_line_to_add(start_view: Callable) -> None:
    page = start_view(host="0.0.0.0", wait=False)
    assert page.process.wait(30) == 2
    words = page.process.stderr.read().decode()
    assert "password" in words
    assert 'view: {host: "0.0.0.0", password_file: view-password.txt}' in words


def test_nothing_but_the_login_is_shown_without_the_password(guarded) -> None:
    for path in ("/api/state", "/snapshot/door.jpg", "/stream/door.mjpg", "/metrics", "/api/events", "/faces/x.jpg"):
        assert guarded.ask(path)[0] == 401
    assert guarded.command({"target": "door", "what": "privacy", "payload": "OFF"}) == 401
    status, headers, _ = guarded.ask("/", Accept="text/html")
    assert (status, headers["location"]) == (303, "login")
    assert guarded.ask("/healthz")[0] == guarded.ask("/login")[0] == guarded.ask("/static/page.css")[0] == 200


def test_password_gives_a_session_that_survives_a_restart(guarded, start_view: Callable) -> None:
    status, headers, _ = guarded.ask("/login", "POST", BODY, **FORM)
    assert (status, headers["location"]) == (303, "./")
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    value = cookie.partition(";")[0]
    assert guarded.ask("/api/state", Cookie=value)[0] == 200
    assert guarded.ask("/api/state", Cookie=value[:-1] + "x")[0] == 401
    access = Access(guarded.settings.view, Path(guarded.settings.state_dir))
    assert access.knows_session(value.partition("=")[2])
    other = Access(ViewSettings(password="another"), Path(guarded.settings.state_dir))
    assert not other.knows_session(value.partition("=")[2])


def test_programs_send_the_password_in_a_header(guarded) -> None:
    assert guarded.ask("/api/state", Authorization=basic(PASSWORD))[0] == 200
    status, headers, _ = guarded.ask("/metrics", Authorization=basic("wrong"))
    assert (status, headers["www-authenticate"][:5]) == (401, "Basic")
    for value in ("Basic ???", "Basic \xbc\xff", "Basic /w==", "Basic", "Bearer \xff", "\xff"):
        assert guarded.ask("/metrics", Authorization=value)[0] == 401
    assert "www-authenticate" not in guarded.ask("/metrics", User_Agent="Mozilla/5.0")[1]


def test_guessing_is_slowed_down(guarded) -> None:
    answers = [guarded.ask("/login", "POST", f"password={number}", **FORM)[0] for number in range(7)]
    assert answers[0] == 401
    assert 429 in answers
    assert guarded.ask("/login", "POST", BODY, **FORM)[0] == 429  # the right one has to wait too


def test_login_form_of_another_site_is_refused(guarded) -> None:
    assert guarded.ask("/login", "POST", BODY, **FORM, Origin="http://evil.example")[0] == 403


def test_waiting_grows_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("services.view.access.time.monotonic", lambda: now[0])
    access = Access(ViewSettings(password="x"), tmp_path)
    for _ in range(5):
        access.try_password("y", "192.0.2.1")
    assert access.wait_s("192.0.2.1") == 1.0
    assert access.wait_s("192.0.2.2") == 0.0
    now[0] += 1.5
    access.try_password("y", "192.0.2.1")
    assert access.wait_s("192.0.2.1") == 2.0
    now[0] += 2.5
    assert access.try_password("x", "192.0.2.1")
    assert access.wait_s("192.0.2.1") == 0.0


def test_neighbours_in_an_ipv6_network_share_their_tries(tmp_path: Path) -> None:
    access = Access(ViewSettings(password="x"), tmp_path)
    for number in range(5):
        access.try_password("y", f"2001:db8::{number}")
    assert access.wait_s("2001:db8::77") > 0
    assert access.wait_s("2001:db8:0:1::1") == 0


def test_an_ipv4_neighbour_on_a_socket_for_both_does_not_share_them(tmp_path: Path) -> None:
    access = Access(ViewSettings(password="x"), tmp_path)
    for _ in range(5):
        access.try_password("y", "::ffff:192.0.2.1")
    assert access.wait_s("192.0.2.1") > 0
    assert access.wait_s("::ffff:192.0.2.2") == 0


def test_empty_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="empty"):
        Access(ViewSettings(password=""), tmp_path)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_needs_no_password(tmp_path: Path, host: str) -> None:
    assert Access(ViewSettings(host=host), tmp_path).open


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "hall.local", ""])
def test_other_addresses_need_one(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="password_file"):
        Access(ViewSettings(host=host), tmp_path)


def test_taken_port_names_its_holder_and_is_tried_again(start_view: Callable, until) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        page = start_view(port=port, wait=False)
        reason = until(lambda: page.stats().get("state") == "waiting" and page.stats()["reason"])
        assert f"127.0.0.1:{port} is taken by process" in reason
    until(lambda: page.stats().get("state") == "running")
    assert page.ask("/healthz")[0] == 200


def test_address_of_another_machine_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match=r"view\.host='192\.0\.2\.7'"):
        bind("192.0.2.7", 18770)
    with socket.create_server(("127.0.0.1", 0)) as holder, pytest.raises(DeviceError, match="taken by process"):
        bind("127.0.0.1", holder.getsockname()[1])
