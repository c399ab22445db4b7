"""Export with tiny modules; needs PyTorch (`make test-models` has it), the rest of the workshop does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError, ModelError
from services.infer.manifest import InputSpec
from tools.models import graph
from tools.models.export import export
from tools.models.export_job import Request
from tools.models.frames import demo_clip, pictures
from tools.models.proof import run, session

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
EXAMPLES = Path(__file__).parents[3] / "examples" / "models"
SOURCE = """
import torch
class Plain(torch.nn.Module):
    outputs = ("maps", "mean")
    def __init__(self, width=4):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, width, 3, padding=1)
    def forward(self, x):
        y = torch.relu(self.conv(x))
        return y, y.mean((2, 3))
class Branch(Plain):
    outputs = ("maps",)
    def forward(self, x):
        y = self.conv(x)
        if y.mean() > 0:
            return y * 2
        return y
class Frozen(Plain):  # a trace keeps the size of its example
    outputs = ("maps",)
    def forward(self, x):
        return torch.nn.functional.interpolate(self.conv(x), size=(int(x.shape[2]) * 2, int(x.shape[3]) * 2))
class Words(Plain):
    def forward(self, x):
        return {"a": x}
class Rare(Plain):
    outputs = ("values",)
    def forward(self, x):
        return torch.linalg.svd(x.mean(1))[1]
"""
INPUT = InputSpec(scale=1 / 255, multiple=8)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_module_goes_the_whole_way_with_free_size_and_batch(source, photos, tmp_path, exporter):
    if exporter == "dynamo":
        pytest.importorskip("onnxscript")
    out = tmp_path / "plain.onnx"
    request = Request(
        target=f"{source}:Plain", out=out, arguments={"width": 6}, input=INPUT, size=(64, 32),
        dynamic=frozenset({"size", "batch"}), exporter=exporter,
    )  # fmt: skip
    steps = export(request, pictures(str(photos), 2))
    assert [step.name for step in steps] == ["pytorch", "torchscript", "onnx", "simplified"]
    assert "trace" in steps[1].detail and steps[1].path.is_file()
    loaded = session(out)
    found = run(loaded, {"input": np.zeros((3, 3, 48, 80), np.float32)})
    assert found["maps"].shape == (3, 6, 48, 80) and found["mean"].shape == (3, 6)


def test_branch_on_the_data_is_scripted_and_told_why(source, photos, tmp_path):
    request = Request(target=f"{source}:Branch", out=tmp_path / "b.onnx", input=INPUT, size=(64, 32))
    steps = export(request, pictures(str(photos), 2))
    assert "script, since a branch depends on the data (tiny.py:15)" in steps[1].detail
    assert "If" in {node.op_type for node in graph.read(tmp_path / "b.onnx").graph.node}


def test_trace_that_is_wrong_at_another_size_is_not_taken(source, photos, tmp_path):
    request = Request(target=f"{source}:Frozen", out=tmp_path / "f.onnx", input=INPUT, size=(64, 32))
    steps = export(request, pictures(str(photos), 2))
    assert "script, since the trace is not true for every picture and size" in steps[1].detail


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("Words", ModelError, "the module gives dict"),
        ("Rare", ModelError, "linalg_svd"),
        ("Nothing", ConfigError, "has no Nothing"),
    ],
)
def test_what_cannot_be_exported_is_named(source, photos, tmp_path, name, kind, words):
    with pytest.raises(kind, match=words):
        export(Request(target=f"{source}:{name}", out=tmp_path / "x.onnx", size=(64, 32)), pictures(str(photos), 2))


def test_checkpoint_is_tensors_only(source, photos, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "was_run",)

    torch.save({"state_dict": {"conv.weight": Trap()}}, tmp_path / "trap.pt")
    request = Request(target=f"{source}:Plain", out=tmp_path / "x.onnx", checkpoint=str(tmp_path / "trap.pt"))
    with pytest.raises(ModelError, match="holds more than tensors"):
        export(request, pictures(str(photos), 1))
    assert not (tmp_path / "was_run").exists()


def test_checkpoint_of_another_shape_names_the_tensor(source, photos, tmp_path):
    wrong = {"conv.weight": torch.zeros(4, 3, 5, 5), "conv.bias": torch.zeros(4)}
    torch.save({"state_dict": {f"module.{key}": value for key, value in wrong.items()}}, tmp_path / "w.pt")
    request = Request(target=f"{source}:Plain", out=tmp_path / "x.onnx", checkpoint=str(tmp_path / "w.pt"))
    with pytest.raises(ModelError, match=r"conv\.weight"):
        export(request, pictures(str(photos), 1))


def test_example_detector_takes_the_published_weights_and_finds_the_face(yunet, tmp_path):
    from common.settings import InferSettings
    from services.infer.detector import build_detector
    from services.infer.manifest import known_model
    from tools.models.sidecar import write_sidecar

    shots, spec, out = pictures(demo_clip(), 2), known_model("yunet"), tmp_path / "yunet.onnx"
    steps = export(
        Request(target=f"{EXAMPLES / 'yunet.py'}:YuNet", checkpoint="yunet", out=out, input=spec.input), shots
    )
    assert [step.name for step in steps] == ["pytorch", "weights", "torchscript", "onnx", "simplified"]
    write_sidecar(spec, out)
    geometry, planes = shots[0]
    ours = build_detector(InferSettings(model=str(out)), geometry).detect(planes, geometry)
    published = build_detector(InferSettings(model="yunet"), geometry).detect(planes, geometry)
    assert len(ours.scores) == 1
    np.testing.assert_allclose(ours.boxes, published.boxes, atol=0.01)
