"""The names of every MQTT topic, in one place."""

from __future__ import annotations

from dataclasses import dataclass

SWITCHES = ("enabled", "detect_fps", "privacy")  # what can be set for a camera
RESTART = "restart"  # what can be set for a process

ONLINE, OFFLINE = "online", "offline"
ON, OFF = "ON", "OFF"
PRESS = "PRESS"


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
        return f"{self.root}/status"

    @property
    def stats(self) -> str:
        """Numbers of all processes."""
        return f"{self.root}/stats"

    @property
    def events(self) -> str:
        """Start, update and end of every face."""
        return f"{self.root}/events"

    def camera(self, camera: str, leaf: str) -> str:
        """A topic of one camera: `status`, `faces`, `occupancy`, `tracks` or `snapshot`."""
        return f"{self.root}/{camera}/{leaf}"

    def set(self, target: str, what: str) -> str:
        """Where a command for a camera or process is sent to."""
        return f"{self.root}/{target}/{what}/set"

    def state(self, target: str, what: str) -> str:
        """Where the value of a switch stands, retained."""
        return f"{self.root}/{target}/{what}/state"

    def error(self, target: str, what: str) -> str:
        """Where it is told why a command was refused, not retained."""
        return f"{self.root}/{target}/{what}/error"

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
