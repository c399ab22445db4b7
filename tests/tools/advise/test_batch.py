"""Batches measured on the real thing: this machine's CPU, and a server that is slow to start."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from common.pixels import Geometry, PixelFormat
from common.settings import InferSettings, RemoteSettings
from tools.advise.batch import counts_for, measure_batches
from tools.advise.candidate import Frames, keep
from tools.advise.choose import best_batch
from tools.advise.clock import Clock

SERVER = Path(__file__).parents[2] / "services" / "infer" / "inference_server.py"


@pytest.fixture
def frames(tmp_path: Path) -> Frames:
    geometry = Geometry(320, 192, PixelFormat.BGR)
    pictures = np.random.default_rng(1).integers(0, 256, (3, geometry.frame_bytes), np.uint8)
    return keep([(geometry, geometry.planes(row)) for row in pictures], tmp_path / "frames.npy")


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    pytest.importorskip("tritonclient.grpc")
    running = []

    def start(path: Path) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, str(SERVER), str(port), str(path), "yunet", "slow"]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert running[-1].stdout.readline() == "ready\n"
        return f"127.0.0.1:{port}"

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def quick() -> Clock:
    return Clock(2.0, lambda _what, _part: None)


def test_a_worker_leaves_the_others_their_share_of_the_cameras() -> None:
    assert counts_for(1, 1) == [1]
    assert counts_for(2, 2) == [1]
    assert counts_for(2, 1) == [1, 2]
    assert counts_for(3, 1) == [1, 2, 3]
    assert counts_for(9, 2) == [1, 2, 4]


def test_questions_that_are_slow_to_start_are_shared(yunet: Path, frames: Frames, serve) -> None:
    remote = RemoteSettings(url=serve(yunet), timeout_ms=5000, fallback=False)
    infer = InferSettings(width=96, backend="remote", remote=remote)
    batches, problem = measure_batches(infer, frames, [1, 2, 4], quick())
    assert (problem, [batch.count for batch in batches]) == ("", [1, 2, 4])
    assert batches[0].whole_ms > 30
    assert best_batch(batches, problem)[0] > 1


def test_model_that_takes_one_picture_says_so(frames: Frames, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    info = onnx.helper.make_tensor_value_info
    shape = [1, 3, 64, 64]
    same = onnx.helper.make_node("Identity", ["input"], ["same"])
    graph = onnx.helper.make_graph([same], "one", [info("input", 1, shape)], [info("same", 1, shape)])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, tmp_path / "one.onnx")
    (tmp_path / "one.toml").write_text('decoder = "yolov5"')
    infer = InferSettings(model=str(tmp_path / "one.onnx"))
    batches, problem = measure_batches(infer, frames, [1, 2], quick())
    assert batches == []
    assert "batch axis that is fixed to 1" in problem
    assert best_batch(batches, problem)[0] == 1
