"""Everything retained: what stands on the broker, sent on change and all of it again on each new connection.

The names of what was ever retained are kept in the state directory, so that topics of cameras that are no longer
configured, and entities that are no longer announced, are taken back.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from common.stats import read_json, write_json
from services.publish.client import Ack
from services.publish.link import Link

log = logging.getLogger(__name__)


class Retained:
    """The node's retained topics with their current payloads."""

    def __init__(self, link: Link, state_dir: Path) -> None:
        self._link = link
        self._path = state_dir / "retained.json"
        stored = read_json(self._path).get("topics")
        self._earlier = {topic for topic in stored if isinstance(topic, str)} if isinstance(stored, list) else set()
        self._written: set[str] | None = None
        self._trouble = ""
        self._payloads: dict[str, bytes] = {}

    def put(self, topic: str, payload: bytes | str, *, always: bool = False) -> None:
        """Set the payload of a topic; told only when it changed.

        Args:
            topic: Where.
            payload: What; an empty one takes the topic back.
            always: Tell it even when it is what stands there, as the answer to a command.
        """
        data = payload.encode() if isinstance(payload, str) else payload
        if self._payloads.get(topic) == data and not always:
            return
        self._payloads[topic] = data
        self._link.send(topic, data, retain=True)

    def get(self, topic: str) -> bytes:
        """Current payload of a topic, empty when there is none."""
        return self._payloads.get(topic, b"")

    def send_all(self) -> None:
        """Tell everything as it is now, and take back what earlier runs left."""
        self.remember()
        for topic in sorted(self._earlier - set(self._payloads)):
            self._link.send(topic, b"", retain=True, on_ack=functools.partial(self._taken_back, topic))
        for topic, payload in self._payloads.items():
            self._link.send(topic, payload, retain=True)

    def remember(self) -> None:
        """Write the names down when they have changed; those of earlier runs stay until taken back."""
        names = set(self._payloads) | self._earlier
        if names == self._written:
            return
        try:
            write_json(self._path, {"topics": sorted(names)})
            self._written, self._trouble = names, ""
        except OSError as error:
            if self._trouble != str(error.strerror):  # it is tried again and again
                self._trouble = str(error.strerror)
                log.warning("retained topics are not remembered error=%s", error.strerror)

    def _taken_back(self, topic: str, ack: Ack) -> None:
        if not ack.refusal:
            self._earlier.discard(topic)
