"""Sees to it that the models of a node are there before the node starts."""

from __future__ import annotations

import sys

from common.settings import Settings


def pull_if_missing(settings: Settings) -> None:
    """Pull the models that the settings name when they are of the manifest and not in the cache.

    Raises:
        ConfigError: No such model, or one that must be brought by hand.
        DeviceError: It could not be fetched.
        ModelError: What was fetched is not what the manifest says.
    """
    from services.infer.manifest import MODEL_FILES, known_model
    from tools.models.pull import models_dir, pull

    for key in ("model", "embedder"):
        name = getattr(settings.infer, key)
        if name is None or name.endswith(MODEL_FILES) or ":" in name:
            continue
        if not known_model(name, f"infer.{key}").cached(models_dir()).is_file():
            pull(name, lambda line: print(line, file=sys.stderr, flush=True))
