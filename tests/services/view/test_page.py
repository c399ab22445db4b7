"""The page in a real Chromium."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.eventlog import Event, EventLogWriter, boot_id
from common.settings import EventSettings
from common.wire import CameraControl, Command

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
PIXELS = """() => {
    const image = document.querySelector(".frame img");
    const canvas = document.createElement("canvas");
    canvas.width = 64; canvas.height = 36;
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0, 64, 36);
    return Array.from(pen.getImageData(0, 0, 64, 36).data).join();
}"""
TOO_WIDE = """() => Array.from(document.body.querySelectorAll("*"))
    .filter((node) => !node.closest(".scroll, .hidden, .skip"))
    .filter((node) => node.getBoundingClientRect().right > window.innerWidth + 1)
    .map((node) => node.outerHTML.slice(0, 150))"""
UNNAMED = """() => Array.from(document.querySelectorAll("button, a, input, textarea, img, svg[role=img], select"))
    .filter((node) => node.checkVisibility() && !(node.getAttribute("aria-label") || node.textContent.trim()
        || node.labels?.length || node.hasAttribute("alt") || node.title))
    .map((node) => node.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser; each test has its own context in it, which shares nothing with the others."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any, page: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page; fails when the console had errors or another host was asked."""
    troubles: list[str] = []
    opened: list[Any] = []

    def begin(**context: Any) -> Any:
        opened.append(browser.new_context(**context))
        tab = opened[-1].new_page()
        tab.on("console", lambda line: troubles.append(line.text) if line.type in {"error", "warning"} else None)
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        base = f"http://127.0.0.1:{page.port}/"
        tab.on("request", lambda ask: None if ask.url.startswith((base, "blob:")) else troubles.append(ask.url))
        tab.goto(base)
        return tab

    begin.troubles = troubles  # type: ignore[attr-defined]
    yield begin
    for context in opened:
        context.close()
    assert troubles == []


@pytest.fixture
def shown(tab_until: Callable[..., Any], producer: Any, open_page: Callable[..., Any]) -> Any:
    """The page with a live picture."""
    tab = open_page(viewport={"width": 1280, "height": 900})
    tab_until(tab, "() => document.querySelector('.frame img')?.naturalWidth > 0")
    return tab


@pytest.fixture
def tab_until() -> Callable[..., Any]:
    """Waits for a JavaScript condition; the tab's own way of waiting is forbidden by the page's security policy."""

    def wait(tab: Any, condition: str, deadline_s: float = 30) -> Any:
        end = time.monotonic() + deadline_s
        while not (value := tab.evaluate(condition)):
            assert time.monotonic() < end, condition
            tab.wait_for_timeout(50)
        return value

    return wait


def test_live_picture_changes_and_nothing_else_complains(shown: Any, tab_until: Callable[..., Any]) -> None:
    before = shown.evaluate(PIXELS)
    tab_until(shown, f"() => ({PIXELS})() !== {json.dumps(before)}")
    assert shown.locator(".frame img").get_attribute("alt") == "Live picture of camera door"
    assert shown.title() == "vedette · Vedette"
    tab_until(shown, "() => document.getElementById('fig-faces').textContent === '1'")
    tab_until(shown, "() => document.querySelectorAll('.stages .stage').length === 6")


def test_every_control_has_a_name_and_can_be_reached_by_keyboard(shown: Any) -> None:
    shown.wait_for_selector("#processes tr")
    assert shown.evaluate(UNNAMED) == []
    reached = set()
    for _ in range(40):
        shown.keyboard.press("Tab")
        reached.add(
            shown.evaluate("() => document.activeElement.ariaLabel || document.activeElement.textContent.trim()")
        )
    assert {"Pause camera door", "Privacy of camera door: faces are shown", "Restart infer:0", "10 min"} <= reached


def test_buttons_send_commands_and_a_restart_asks_first(shown: Any, producer: Any, until: Callable[..., Any]) -> None:
    shown.get_by_label("Privacy of camera door").click()
    until(lambda: producer.commands == [Command("door", "privacy", "ON")])
    producer.control = CameraControl("door", privacy=True)
    shown.get_by_label("Privacy of camera door: faces are covered").wait_for()
    restart = shown.get_by_role("button", name="Restart infer:0")
    restart.click()
    shown.get_by_role("button", name="Cancel").click()
    restart.click()
    shown.locator("#confirm").get_by_role("button", name="Restart").click()
    until(lambda: len(producer.commands) == 2)
    assert producer.commands[1] == Command("infer:0", "restart", "PRESS")


def test_zone_is_drawn_by_mouse_and_by_keyboard(shown: Any) -> None:
    shown.get_by_label("Draw a zone in the picture of door").click()
    box = shown.locator("#zone-canvas").bounding_box()
    for x, y in ((0.1, 0.2), (0.5, 0.2), (0.5, 0.9)):
        shown.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    shown.locator("#zone-canvas").focus()
    shown.keyboard.press("ArrowRight")
    shown.keyboard.press("Enter")
    shown.locator("#zone-name").fill("gate")
    lines = shown.locator("#zone-lines").input_value()
    assert lines.startswith("cameras:\n  door:\n    zones:\n      gate: [[0.1")
    assert lines.rstrip().endswith("[0.510, 0.500]]")
    shown.keyboard.press("Escape")


def test_faces_and_events_appear_as_they_are_logged(shown: Any, page: Any) -> None:
    log = EventLogWriter(page.settings.state_dir, EventSettings())
    event_id, now = "01JDABCDEFGHJKMNPQRSTVWXYZ", time.time_ns()
    fixed = (event_id, 0, "start", "door", 7, now, 1, boot_id(), (0.1, 0.2, 0.3, 0.4), 0.9, 0.9, 0.0, ("gate",))
    log.append([Event(0, *fixed)])
    log.close()
    shown.get_by_text("#7 is here · door in gate").wait_for()
    assert shown.locator("#faces li").count() == 1
    assert shown.locator("#timeline rect").count() == 1


def test_pictures_of_faces_leave_the_page_when_privacy_is_switched_on(
    shown: Any, page: Any, producer: Any, tab_until: Callable[..., Any]
) -> None:
    event_id = "01JDABCDEFGHJKMNPQRSTVWXYZ"
    picture = Path(page.settings.state_dir) / "snapshots" / "door" / f"{event_id}.jpg"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(page.ask("/snapshot/door.jpg")[2])
    log = EventLogWriter(page.settings.state_dir, EventSettings())
    fixed = (event_id, 0, "start", "door", 7, time.time_ns(), 1, boot_id(), (0.1, 0.2, 0.3, 0.4), 0.9, 0.9, 0.0, ())
    log.append([Event(0, *fixed)])
    log.close()
    tab_until(shown, "() => document.querySelector('#faces img')?.naturalWidth > 0")
    producer.control = CameraControl("door", privacy=True)
    tab_until(shown, "() => !document.querySelector('#faces img').hasAttribute('src')")
    assert shown.locator("#faces img").is_hidden()


def test_page_says_when_the_node_is_away_and_comes_back(
    page: Any, start_view: Callable[..., Any], open_page: Callable[..., Any], tab_until: Callable[..., Any]
) -> None:
    tab = open_page()
    tab.get_by_text("vedette", exact=True).wait_for()
    tab_until(tab, "() => document.getElementById('health-text').textContent !== 'Connecting'")
    page.process.terminate()
    page.process.wait(10)
    tab.get_by_text("The node does not answer").wait_for()
    assert "tries again by itself" in tab.locator("#banner").inner_text()
    start_view(port=page.port)
    tab_until(tab, "() => !document.getElementById('banner').textContent.includes('answered')")
    open_page.troubles.clear()  # type: ignore[attr-defined] # the browser logs each refused connection


SIZES = [(360, 740), (820, 1100), (1920, 1080)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_phones_tablets_and_desks_in_both_colours(
    open_page: Callable[..., Any], producer: Any, scheme: str, tmp_path: Path
) -> None:
    for width, height in SIZES:
        tab = open_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        tab.wait_for_selector("#processes tr")
        assert tab.evaluate(TOO_WIDE) == [], (width, height)
        background = tab.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, background[4:-1].split(","))) < 200) == (scheme == "dark")
        assert tab.screenshot(path=tmp_path / "page.png")
        tab.close()


def test_login_page_lets_in(browser: Any, start_view: Callable[..., Any]) -> None:
    guarded = start_view(password="open sesame")
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(f"http://127.0.0.1:{guarded.port}/")
    tab.get_by_label("Password").fill("wrong")
    tab.get_by_role("button", name="Log in").click()
    tab.get_by_text("That is not the password.").wait_for()
    tab.get_by_label("Password").fill("open sesame")
    tab.get_by_role("button", name="Log in").click()
    tab.get_by_role("article", name="Camera door").wait_for()
    tab.get_by_label("Log out").click()
    tab.get_by_label("Password").wait_for()
    assert tab.get_by_role("article", name="Camera door").count() == 0
    context.close()
