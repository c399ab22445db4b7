"""Runs the demo: clip, broker, node, and what arrives."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from common.config import environment_keys, load
from common.settings import Settings
from tools.demo.broker import embedded_broker, free_port
from tools.demo.clip import fetch_clip
from tools.demo.screen import Screen, live_screen
from tools.demo.subscriber import Subscriber
from tools.demo.tally import Tally
from tools.models.ready import pull_if_missing
from tools.supervisor.node import node
from tools.supervisor.status import node_status

CAMERA = "demo"
TAKE_S = 0.25
LOOK_S = 1.0
LOG_LINES = 5
EXIT_GOOD, EXIT_NOTHING_CAME = 0, 1


def run_demo(file: Path | None, seconds: float | None, *, headless: bool) -> int:
    """Play the clip until the time is over, or Ctrl-C.

    Args:
        file: Settings whose broker is used; None takes that of the environment, else one of our own.
        seconds: How long; None for ever.
        headless: Print lines instead of tables.

    Returns:
        Exit code: 0, or 1 when no event arrived in the given time.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # also when started in the background, where SIGINT is ignored
        signal.signal(number, signal.default_int_handler)
    tally = Tally()
    interrupted = True
    with private_directory("vedette-demo-") as directory, contextlib.ExitStack() as stack:
        with contextlib.suppress(KeyboardInterrupt):
            settings = _settings(file, directory, stack)
            pull_if_missing(settings)
            subscriber = stack.enter_context(Subscriber(settings))
            alive = stack.enter_context(node(settings, directory))
            with live_screen(_head(settings), headless=headless) as screen:
                _follow(settings, subscriber, screen, tally, alive, seconds)
            interrupted = False
        print("\n" + "\n".join(tally.summary()))
        if tally.events or (interrupted and seconds is None):
            return EXIT_GOOD
        print(f"no event arrived; the last words of the processes:\n{last_words(directory)}", file=sys.stderr)
    return EXIT_NOTHING_CAME


@contextlib.contextmanager
def private_directory(prefix: str) -> Iterator[Path]:
    """A directory of our own for the length of a `with` block; short, since it holds sockets."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def last_words(directory: Path) -> str:
    """The ends of all log files of a node whose state lies in `directory`/state."""
    logs = sorted((directory / "state" / "logs").glob("*.log"))
    return "\n".join(line for log in logs for line in log.read_text(errors="replace").strip().splitlines()[-LOG_LINES:])


def _settings(file: Path | None, directory: Path, stack: contextlib.ExitStack) -> Settings:
    """The demo's settings: the clip as camera, directories of its own, and a broker."""
    clip = fetch_clip(_say)
    tree: dict[str, Any] = {
        "node": "demo",
        "state_dir": str(directory / "state"),
        "runtime_dir": str(directory / "run"),
        "cameras": {CAMERA: {"source": f"file:{clip}", "loop": True}},
        "view": {"port": free_port(8770)},
    }
    if file is None and not any(keys[0] == "mqtt" for keys, _value in environment_keys()):
        port = stack.enter_context(embedded_broker(directory))
        tree["mqtt"] = {"host": "127.0.0.1", "port": port, "protocol": "3.1.1"}
    path = directory / "vedette.yml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    overrides = {"mqtt": dataclasses.asdict(load(file).mqtt)} if file is not None else None
    return load(path, overrides)


def _head(settings: Settings) -> str:
    mqtt, view = settings.mqtt, settings.view
    listen = f"mosquitto_sub -h {mqtt.host} -p {mqtt.port} -t '{mqtt.base}/{settings.node}/#' -v"
    return f"page http://{view.host}:{view.port}/   MQTT {listen}   Ctrl-C ends it"


def _follow(
    settings: Settings,
    subscriber: Subscriber,
    screen: Screen,
    tally: Tally,
    alive: Callable[[], bool],
    seconds: float | None,
) -> None:
    """Show events and processes until the time is over or the node is gone."""
    end = None if seconds is None else time.monotonic() + seconds
    look_at = 0.0
    while alive() and (end is None or time.monotonic() < end):
        heard = subscriber.take(TAKE_S)
        if heard is not None and (event := tally.hear(heard)) is not None:
            screen.event(event)
        if time.monotonic() >= look_at:
            look_at = time.monotonic() + LOOK_S
            tally.look(node_status(settings, cameras=False))
        screen.refresh(tally)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
