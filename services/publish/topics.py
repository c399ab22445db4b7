"""Every MQTT topic in one table: its name, what it carries, how it is sent. Code, documents and tests go by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RESTART = "restart"  # what can be set for a process

ONLINE, OFFLINE, DISABLED = "online", "offline", "disabled"
ON, OFF = "ON", "OFF"
PRESS = "PRESS"

# Payloads that are plain text, as patterns; the others are JSON (`payloads`) or a picture.
TEXTS: dict[str, str] = {
    "availability": f"{ONLINE}|{OFFLINE}",
    "camera_status": f"{ONLINE}|{OFFLINE}|{DISABLED}",
    "count": "[0-9]+",
    "on_off": f"{ON}|{OFF}",
    "rate": r"[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?",
    "press": PRESS,
}
SWITCHES: dict[str, str] = {
    "enabled": "on_off",
    "detect_fps": "rate",
    "privacy": "on_off",
}  # what can be set, and to what
Direction = Literal["sent", "heard"]


@dataclass(frozen=True, slots=True)
class Channel:
    """A row: one topic, or one a camera or process.

    Attributes:
        address: Below `<base>/<node>`, with `{camera}` or `{process}` in braces.
        payload: A key of `TEXTS` or of `payloads.JSON_PAYLOADS`, or `jpeg`.
        qos: At which it is sent.
        retain: The broker keeps the last one.
        direction: `sent` or `heard` by the node.
        about: What it is for.
    """

    address: str
    payload: str
    qos: Literal[0, 1]
    retain: bool
    direction: Direction
    about: str


def _rows() -> list[Channel]:
    rows = [
        Channel("status", "availability", 1, True, "sent", "The node is there; `offline` is its last will."),
        Channel("stats", "stats", 0, False, "sent", "Numbers of all processes, every few seconds."),
        Channel("events", "event", 1, False, "sent", "Start, update and end of every face, at least once."),
        Channel("{camera}/status", "camera_status", 1, True, "sent", "What the camera does."),
        Channel("{camera}/faces", "count", 1, True, "sent", "Faces shown now."),
        Channel("{camera}/occupancy", "on_off", 1, True, "sent", "Somebody is there."),
        Channel("{camera}/tracks", "tracks", 0, False, "sent", "Faces of each frame, where switched on."),
        Channel(
            "{camera}/snapshot", "jpeg", 1, True, "sent", "Best view of the latest face; empty when there is none."
        ),
        Channel("{camera}/still", "jpeg", 1, True, "sent", "The picture with its boxes, now and then; empty: none."),
        Channel("{process}/restart/set", "press", 1, False, "heard", "Restart the process."),
        Channel("{process}/restart/error", "refusal", 1, False, "sent", "Why that was refused."),
    ]
    for what, payload in SWITCHES.items():
        rows += [
            Channel(f"{{camera}}/{what}/set", payload, 1, False, "heard", f"Set {what}."),
            Channel(f"{{camera}}/{what}/state", payload, 1, True, "sent", f"How {what} stands."),
            Channel(f"{{camera}}/{what}/error", "refusal", 1, False, "sent", f"Why setting {what} was refused."),
        ]
    return rows


CHANNELS: dict[str, Channel] = {row.address: row for row in _rows()}


@dataclass(frozen=True, slots=True)
class Topics:
    """Topics of one node, all below `<base>/<node>`.

    Attributes:
        base: First level or levels, `vedette` unless configured otherwise.
        node: Name of the node.
    """

    base: str
    node: str

    @property
    def root(self) -> str:
        """What every topic of this node begins with."""
        return f"{self.base}/{self.node}"

    @property
    def status(self) -> str:
        """`online`, or the last will `offline`."""
        return self._at("status")

    @property
    def stats(self) -> str:
        """Numbers of all processes."""
        return self._at("stats")

    @property
    def events(self) -> str:
        """Start, update and end of every face."""
        return self._at("events")

    def camera(self, camera: str, leaf: str) -> str:
        """A topic of a camera: status, faces, occupancy, tracks, snapshot, still."""
        return self._at(f"{{camera}}/{leaf}", camera=camera)

    def set(self, target: str, what: str) -> str:
        """Where a command for a camera or process is sent to."""
        return self._command(target, what, "set")

    def state(self, target: str, what: str) -> str:
        """Where the value of a switch stands, retained."""
        return self._command(target, what, "state")

    def error(self, target: str, what: str) -> str:
        """Where it is told why a command was refused, not retained."""
        return self._command(target, what, "error")

    @property
    def commands(self) -> str:
        """Subscription for the commands of all cameras and processes."""
        return f"{self.root}/+/+/set"

    def command(self, topic: str) -> tuple[str, str] | None:
        """Target and what to set of a command's topic; None when it is none of this node."""
        levels = topic.removeprefix(f"{self.root}/").split("/")
        if not topic.startswith(f"{self.root}/") or len(levels) != 3 or levels[2] != "set":
            return None
        return levels[0], levels[1]

    def channel(self, topic: str) -> Channel | None:
        """The row of a topic of this node; None for any other topic."""
        if not topic.startswith(f"{self.root}/"):
            return None
        levels = topic.removeprefix(f"{self.root}/").split("/")
        for row in CHANNELS.values():
            wanted = row.address.split("/")
            if len(wanted) == len(levels) and all(
                want == level or want[0] == "{" for want, level in zip(wanted, levels, strict=True)
            ):
                return row
        return None

    def _command(self, target: str, what: str, leaf: str) -> str:
        kind = "process" if what == RESTART else "camera"
        return self._at(f"{{{kind}}}/{what}/{leaf}", **{kind: target})

    def _at(self, address: str, **names: str) -> str:
        return f"{self.root}/{CHANNELS[address].address.format(**names)}"
