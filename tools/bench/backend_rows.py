"""The rows of `vedette bench backends`: each way to run one detector that this machine may have."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from common.config import cache_dir
from common.settings import InferSettings
from services.infer.manifest import find_model
from tools.supervisor.conf import ROOT

TORCH = {  # modules whose outputs come in the order of the ONNX file, by model
    "yunet": {"module": str(ROOT / "examples/models/yunet.py") + ":YuNet", "checkpoint": "yunet"},
    "retinaface-mobilenet": {
        "module": str(ROOT / "examples/models/retinaface.py") + ":RetinaFace",
        "checkpoint": "retinaface-mobilenet",
    },
}
OTHERS = {"CPUExecutionProvider", "AzureExecutionProvider"}  # the second runs models of a cloud
PROVIDERS = "import onnxruntime; print(*onnxruntime.get_available_providers())"


@dataclass(frozen=True, slots=True)
class Row:
    """One way to run the model.

    Attributes:
        name: As the table shows it.
        infer: Settings of the child.
        python: Interpreter of the child.
        missing: What to install when the row cannot be measured; empty when it can.
    """

    name: str
    infer: InferSettings
    python: str = sys.executable
    missing: str = ""


def rows(infer: InferSettings, torch_python: str, int8: Path | None) -> list[Row]:
    """All rows, the article's order; absent ones say what to install.

    Args:
        infer: Model, width, threads.
        torch_python: Interpreter that has PyTorch.
        int8: A quantised form of the model, with its .toml file; None looks beside the model.
    """
    plain = dataclasses.replace(infer, backend="onnxruntime", providers=["CPUExecutionProvider"], workers=1)
    made = [*_torch(plain, torch_python), Row("ONNX Runtime fp32", plain)]
    quantised = int8 or next(iter(int8_files(infer)), None)
    made.append(
        Row("ONNX Runtime INT8", dataclasses.replace(plain, model=str(quantised)))
        if quantised
        else Row("ONNX Runtime INT8", plain, missing=_quantise(infer))
    )
    made += [
        Row(f"ONNX Runtime {name.removesuffix('ExecutionProvider')}", dataclasses.replace(plain, providers=[name]))
        for name in available_providers()
        if name not in OTHERS
    ]
    if infer.provider_library:
        made.append(Row(f"plug-in {infer.provider_name}", dataclasses.replace(infer, workers=1)))
    made.append(_extra("OpenVINO", "openvino", "openvino", plain))
    made.append(_extra("TVM", "tvm", "tvm", plain))
    return made


def int8_files(infer: InferSettings) -> list[Path]:
    """Quantised forms of the settings' model beside it, as `vedette models quantize` leaves them."""
    _, path = find_model(infer.model, cache_dir() / "models")
    stems = dict.fromkeys((path.stem, Path(infer.model).stem))
    found = [file for stem in stems for file in sorted(path.parent.glob(f"{stem}-int8*.onnx"))]
    return [file for file in found if file.with_suffix(".toml").is_file()]


def _quantise(infer: InferSettings) -> str:
    _, path = find_model(infer.model, cache_dir() / "models")
    return f"vedette models quantize {infer.model} --out {path.with_name(f'{Path(infer.model).stem}-int8.onnx')}"


def available_providers() -> list[str]:
    """Providers of the installed ONNX Runtime; asked in a process of its own, it takes 60 MB."""
    done = subprocess.run([sys.executable, "-c", PROVIDERS], capture_output=True, text=True, check=False)
    return done.stdout.split()


def _torch(infer: InferSettings, python: str) -> list[Row]:
    names = {"PyTorch eager": "", "TorchScript": "1"}
    options = TORCH.get(infer.model)
    if options is None:
        hint = f"no PyTorch form of {infer.model} is known; there is one of {', '.join(TORCH)}"
        return [Row(name, infer, missing=hint) for name in names]
    if not _has_torch(python):
        hint = "pip install 'vedette[export]', or name an interpreter that has it: --torch-python"
        return [Row(name, infer, missing=hint) for name in names]
    made = []
    for name, script in names.items():
        settings = {"torch": {**options, "script": script}}
        backend = "tools.bench.torch_backend:TorchBackend"
        made.append(Row(name, dataclasses.replace(infer, backend=backend, provider_options=settings), python))
    return made


def _has_torch(python: str) -> bool:
    if python == sys.executable:
        return importlib.util.find_spec("torch") is not None
    if shutil.which(python) is None:
        return False
    return subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode == 0


def _extra(name: str, backend: str, package: str, infer: InferSettings) -> Row:
    settings = dataclasses.replace(infer, backend=backend)
    if importlib.util.find_spec(package) is None:
        return Row(name, settings, missing=f"pip install 'vedette[{backend}]'")
    return Row(name, settings)
