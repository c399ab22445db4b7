"""A backend whose construction fails as nothing of ours would: for tests of a crash loop."""

from __future__ import annotations

from pathlib import Path

from common.settings import InferSettings


class Crasher:
    """Never there."""

    def __init__(self, path: Path, settings: InferSettings, layout: str) -> None:
        raise ZeroDivisionError(f"crashed on purpose at {path.name} {settings.width} {layout}")
