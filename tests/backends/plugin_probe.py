"""Loads a model through a plug-in provider's library and prints what became of it; runs in that plug-in's environment.

python plugin_probe.py NAME MODEL [DEVICE]
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

from common.errors import VedetteError
from common.settings import InferSettings
from services.infer.onnxruntime_backend import OnnxRuntimeBackend


def main(name, model, device=None):
    folder = Path(importlib.util.find_spec("onnxruntime_ggml").origin).parent
    library = str(next(folder.rglob("libonnxruntime_*.so")))
    settings = InferSettings(provider_library=library, provider_name=name, providers=[name], device=device)
    try:
        backend = OnnxRuntimeBackend(Path(model), settings)
    except VedetteError as error:
        return {"error": type(error).__name__, "text": str(error)}
    size = backend.fixed_size or (64, 32)
    bound = backend.bind(size)
    bound.tensor[:] = 1
    bound.run()
    return {
        "wanted": backend.placement.wanted,
        "nodes": dict(backend.placement.nodes),
        "fallback": backend.placement.fallback,
        "claims": [[row.operator, row.provider] for row in backend.assignments()],
        "outputs": {key: value.reshape(-1)[:8].tolist() for key, value in bound.outputs.items()},
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
