"""What is wrong with settings, in words: problems that a single key shows, and those that only several show."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common.addresses import names_secret, shown
from common.fleet import FLEET, members
from common.settings import Settings
from common.settings_types import keys_at

NAME = re.compile(r"[A-Za-z0-9_-]{1,40}\Z")
TAKEN = {"status", "stats", "events"} | set(FLEET)  # MQTT topics of the node, which a camera's would collide with


def report(path: Path | None, problems: list[str]) -> str:
    """All problems of a file in one message."""
    head = f"{path}: " if path else ""
    if len(problems) == 1:
        return head + problems[0]
    return f"{head}{len(problems)} problems\n" + "\n".join(f"  {problem}" for problem in problems)


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known name that was probably meant, when one is like it."""
    from difflib import get_close_matches  # only for messages: 0.2 MB in every process

    return get_close_matches(name, list(known), 1, 0.5)


def describe(error: Mapping[str, Any]) -> str:
    """One problem in words: key, value, what is allowed, nearest name."""
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    if error["type"] == "unexpected_keyword_argument":
        allowed = keys_at(location[:-1])
        near = nearest(location[-1], allowed)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(allowed))}"
        return f"{key}: unknown key; {hint}"
    if error["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{key}: missing"
    value = "a secret" if _may_be_secret(location, error.get("input")) else shown(repr(error.get("input")))
    message = str(error["msg"]).replace("Input should", "it should")
    return f"{key}={value[:80]}: {message}"


def _may_be_secret(location: list[str], value: Any) -> bool:
    """True for the value of a secret, and for what stands where a group with a secret in it was expected."""
    hides = any(map(names_secret, [*location, *keys_at(location)]))
    return hides or (isinstance(value, dict) and any(names_secret(str(key)) for key in value))


def cross_checks(settings: Settings) -> Iterator[str]:
    """Problems that no single key shows."""
    for kind, name in [("node", settings.node), *(("camera", name) for name in settings.cameras)]:
        if not NAME.match(name):
            yield f"{kind} {name!r}: letters, digits, _ and - only, at most 40"
    for name in settings.cameras:
        if name in TAKEN:
            yield f"cameras.{name}: the name is taken by a topic or process; choose another one"
    infer = settings.infer
    if infer.workers > infer.max_workers:
        yield f"infer.workers={infer.workers}: it should be at most infer.max_workers={infer.max_workers}"
    if infer.regions and infer.max_batch > 1:
        yield f"infer.max_batch={infer.max_batch}: it should be 1 with infer.regions: a frame fills a run then"
    if settings.mqtt.password is not None and settings.mqtt.username is None:
        yield "mqtt.password: mqtt.username is missing"
    for key in ("base", "discovery_prefix"):
        if re.search(r"[#+\0]|^/|/$", getattr(settings.mqtt, key)):
            yield f"mqtt.{key}={getattr(settings.mqtt, key)!r}: no wildcard (# +) and no slash at its ends"
    yield from _rtsp_checks(settings)
    yield from _screen_checks(settings)
    yield from _process_checks(settings)


def _rtsp_checks(settings: Settings) -> Iterator[str]:
    rtsp = settings.rtsp
    if (rtsp.enabled or rtsp.push) and not settings.view.enabled:
        yield "rtsp: view.enabled is false, and view is the process that serves and pushes"
    for camera, urls in rtsp.push.items():
        if camera not in settings.cameras:
            yield f"rtsp.push.{camera}: no such camera; known: {', '.join(settings.cameras)}"
        for url in urls:
            try:
                parts = urlsplit(url)
                good = parts.scheme in {"rtsp", "rtsps"} and bool(parts.hostname) and parts.port != 0
            except ValueError:
                good = False
            if not good or re.search(r"\s", url):  # it may hold a password: not repeated here
                yield f"rtsp.push.{camera}: it should be like rtsp://user:password@host:8554/{camera}"


def _screen_checks(settings: Settings) -> Iterator[str]:
    screen = settings.screen
    if screen.camera is not None and screen.camera not in settings.cameras:
        yield f"screen.camera={screen.camera!r}: no such camera; known: {', '.join(settings.cameras)}, or null for all"
    if screen.mode is not None and not re.fullmatch(r"\d{2,5}x\d{2,5}(@\d{1,3})?", screen.mode):
        yield f"screen.mode={screen.mode!r}: like 1280x720 or 1280x720@60"


def _process_checks(settings: Settings) -> Iterator[str]:
    known = {member.name for member in members(settings.cameras, settings.infer.max_workers)} | set(FLEET)
    cores = os.sched_getaffinity(0)
    for name, process in settings.processes.items():
        if name not in known:
            near = nearest(name, known)
            yield f"processes.{name}: no such process; {f'did you mean {near[0]!r}?' if near else sorted(known)}"
        if process.cores is not None and not set(process.cores) & cores:
            yield f"processes.{name}.cores={process.cores}: this machine has {sorted(cores)}"
