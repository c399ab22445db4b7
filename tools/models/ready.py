"""Sees to it that the model of a node is there before the node starts."""

from __future__ import annotations

import sys

from common.settings import Settings


def pull_if_missing(settings: Settings) -> None:
    """Pull the model that the settings name when it is one of the manifest and not in the cache.

    Raises:
        ConfigError: No such model, or one that must be brought by hand.
        DeviceError: It could not be fetched.
        ModelError: What was fetched is not what the manifest says.
    """
    from services.infer.manifest import MODEL_FILES, known_model
    from tools.models.pull import models_dir, pull

    name = settings.infer.model
    if name.endswith(MODEL_FILES) or known_model(name).cached(models_dir()).is_file():
        return
    pull(name, lambda line: print(line, file=sys.stderr, flush=True))
