"""What Home Assistant was told of earlier: in the device form an entity that is gone must be taken back by name."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from common.stats import read_json, write_json

log = logging.getLogger(__name__)


class Announced:
    """Platforms of all entities that were ever announced, by topic and key, kept in the state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "discovery.json"
        stored = read_json(self._path)
        self._known = {topic: dict(row) for topic, row in stored.items() if isinstance(row, dict)}

    def complete(self, topic: str, payload: str) -> str:
        """The payload with a line for each entity that is gone: its platform alone removes it."""
        config: dict[str, Any] = json.loads(payload)
        entities = config.get("components")
        if entities is None:
            return payload  # the component form: every entity has a topic of its own, which `state` takes back
        earlier = self._known.get(topic, {})
        gone = {key: {"platform": platform} for key, platform in earlier.items() if key not in entities}
        self._known[topic] = {**earlier, **{key: str(entity["platform"]) for key, entity in entities.items()}}
        return json.dumps({**config, "components": {**entities, **gone}}, separators=(",", ":"))

    def keep(self) -> None:
        """Write it down."""
        try:
            write_json(self._path, self._known)
        except OSError as error:
            log.warning("announced entities are not remembered error=%s", error.strerror)
