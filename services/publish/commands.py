"""What users switch and restart: checked, answered, kept, and told to the other processes."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.bus import Sender
from common.controls import MAX_FPS, load_controls, save_controls
from common.fleet import FLEET, members
from common.settings import Settings
from common.stats import Stats, read_stats
from common.wire import CameraControl, ControlState
from services.publish.link import Link
from services.publish.payloads import RefusalPayload
from services.publish.state import Retained
from services.publish.topics import OFF, ON, PRESS, RESTART, SWITCHES, Topics

BROADCAST_S = 1.0
RESTART_S = 10.0  # between two restarts of a process; one that gets no time to work is a process switched off

log = logging.getLogger(__name__)


class CommandRefused(Exception):  # noqa: N818 - an answer, not a fault
    """A command that is not obeyed; the text says why."""


class Commands:
    """Obeys commands from MQTT and from the page.

    Attributes:
        controls: The switches of every camera, as they are now.
    """

    def __init__(
        self,
        settings: Settings,
        sender: Sender,
        link: Link,
        retained: Retained,
        topics: Topics,
        stats: Stats,
        on_privacy: Callable[[str, bool], None],
    ) -> None:
        self._settings, self._sender, self._link = settings, sender, link
        self._retained, self._topics, self._stats = retained, topics, stats
        self._on_privacy = on_privacy
        self.controls = load_controls(settings)
        self._broadcast_at = 0.0
        self._restarted_at: dict[str, float] = {}
        for camera in self.controls:
            for what in SWITCHES:
                self._answer(camera, what)

    def step(self) -> None:
        """Tell the other processes how the switches stand, once a second."""
        if time.monotonic() >= self._broadcast_at:
            self._broadcast()

    def obey(self, target: str, what: str, payload: str) -> None:
        """Do what a command says, or answer why not."""
        try:
            if what in SWITCHES and target in self.controls:
                self._switch(target, what, payload)
            elif what == RESTART:
                self._restart(target, payload)
            else:
                raise CommandRefused(self._unknown(target, what))  # noqa: TRY301 - answered like the others
        except CommandRefused as refusal:
            self._stats.count("commands_refused")
            log.warning("command refused target=%.60r what=%.20r reason=%s", target, what, refusal)
            self._refuse(target, what, payload, str(refusal))

    def _switch(self, camera: str, what: str, payload: str) -> None:
        before = self.controls[camera]
        change: dict[str, Any] = {what: switch_value(what, payload)}
        after = dataclasses.replace(before, **change)
        if after != before:
            self.controls[camera] = after
            log.info("switched camera=%s %s=%s", camera, what, getattr(after, what))
            if what == "privacy":
                self._on_privacy(camera, after.privacy)
            self._broadcast()
            self._keep()
        self._stats.count("commands")
        self._answer(camera, what, always=True)

    def _keep(self) -> None:
        try:
            save_controls(self._settings, self.controls)
        except OSError as error:
            log.error("switches will not outlive a restart error=%s", error.strerror)

    def _broadcast(self) -> None:
        self._broadcast_at = time.monotonic() + BROADCAST_S
        self._sender.send(ControlState(tuple(self.controls.values()), time.monotonic_ns()))

    def _answer(self, camera: str, what: str, *, always: bool = False) -> None:
        self._retained.put(self._topics.state(camera, what), switch_text(self.controls[camera], what), always=always)

    def _refuse(self, target: str, what: str, payload: str, reason: str) -> None:
        if target in self.controls and what in SWITCHES:
            self._answer(target, what, always=True)  # a dashboard that has moved its switch already moves it back
        known = {*self.controls, *self._processes()}
        if target in known and what in {*SWITCHES, RESTART}:
            answer: RefusalPayload = {"v": 1, "payload": payload[:100], "reason": reason}
            self._link.send(self._topics.error(target, what), json.dumps(answer), json=True)

    def _restart(self, name: str, payload: str) -> None:
        processes = self._processes()
        if name not in processes:
            raise CommandRefused(f"no process {name[:60]!r}; known: {', '.join(processes)}")
        if payload != PRESS:
            raise CommandRefused(f"{payload[:20]!r}: {PRESS} expected")
        wait_s = self._restarted_at.get(name, -RESTART_S) + RESTART_S - time.monotonic()
        if wait_s > 0:
            raise CommandRefused(f"{name} was restarted just now; again in {wait_s:.0f} s")
        pid = read_stats(self._settings.runtime_dir).get(name, {}).get("pid")
        if not isinstance(pid, int) or not end_process(pid, name):
            raise CommandRefused(f"{name} is not running")
        self._restarted_at[name] = time.monotonic()
        self._stats.count("commands")
        log.info("restart process=%s pid=%d", name, pid)

    def _processes(self) -> list[str]:
        settings = self._settings
        return [row.name for row in members(settings.cameras, settings.infer.max_workers, settings.optional)]

    def _unknown(self, target: str, what: str) -> str:
        if what in SWITCHES:
            return f"no camera {target[:60]!r}; known: {', '.join(self.controls)}"
        return f"{what[:20]!r} cannot be set; known: {', '.join((*SWITCHES, RESTART))}"


def switch_value(what: str, payload: str) -> bool | float:
    """Value that a payload asks for.

    Raises:
        CommandRefused: It is none; the text says what is allowed.
    """
    if what != "detect_fps":
        if payload not in {ON, OFF}:
            raise CommandRefused(f"{payload[:20]!r}: {ON} or {OFF} expected")
        return payload == ON
    try:
        value = float(payload)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MAX_FPS:
        raise CommandRefused(f"{payload[:20]!r}: a number from 0 to {MAX_FPS:.0f} expected, 0 for every frame")
    return value


def switch_text(control: CameraControl, what: str) -> str:
    """A switch as it stands on MQTT."""
    value = getattr(control, what)
    if isinstance(value, bool):
        return ON if value else OFF
    return f"{value:g}"


def end_process(pid: int, name: str) -> bool:
    """Ask a process of ours to end, after making sure that this id is still the process with this name."""
    family, _, argument = name.partition(":")
    wanted = [b"-m", FLEET[family].module.encode(), *([argument.encode()] if argument else [])]
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        if words[-len(wanted) :] != wanted:
            return False
        signal.pidfd_send_signal(handle, signal.SIGTERM)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
