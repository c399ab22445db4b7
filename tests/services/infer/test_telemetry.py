"""Nothing is reported to anybody: ONNX Runtime is imported with its telemetry forbidden."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
LOAD = """
import os, sys
from pathlib import Path
from common.settings import InferSettings
from services.infer.detector import build_detector
build_detector(InferSettings(), models_dir=Path(sys.argv[1]).parent)
print(sorted(str(path) for path in Path(os.environ["HOME"]).rglob("*onnxruntime*")))
"""


def test_loading_a_model_leaves_no_telemetry_behind(tmp_path: Path, model) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in {"ORT_DISABLE_TELEMETRY", "CI"}}
    child = subprocess.run(
        [sys.executable, "-c", LOAD, str(model("yunet"))], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
        env={**environment, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert child.stdout.strip() == "[]"


def test_no_other_service_imports_it() -> None:
    paths = [*(ROOT / "common").rglob("*.py"), *(ROOT / "services").rglob("*.py")]
    found = {path for path in paths if re.search(r"^\s*(import|from) onnxruntime", path.read_text(), re.MULTILINE)}
    assert found
    assert {path.parent for path in found} == {ROOT / "services" / "infer"}  # whose __init__ forbids the telemetry
