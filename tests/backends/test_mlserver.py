"""The remote backend against a real MLServer."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from common.settings import InferSettings, RemoteSettings
from services.infer.onnxruntime_backend import CPU, OnnxRuntimeBackend

pytest.importorskip("tritonclient.grpc")
from services.infer.remote_backend import RemoteBackend

SIZE = (96, 64)
BACK_S = 60


@pytest.fixture
def ports() -> list[int]:
    probes = [socket.socket() for _ in range(3)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    found = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return found


@pytest.fixture
def serve(interpreter, yunet, ports, tmp_path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    program = Path(interpreter("mlserver")).with_name("mlserver")
    http, grpc, metrics = ports
    model = {"name": "yunet", "implementation": "face_runtime.OnnxModel", "parameters": {"uri": str(yunet)}}
    server = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics, "parallel_workers": 0}
    (tmp_path / "model-settings.json").write_text(json.dumps(model))
    (tmp_path / "settings.json").write_text(json.dumps(server))
    shutil.copy(Path(__file__).with_name("face_runtime.py"), tmp_path)
    running: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [str(program), "start", str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=tmp_path
        )
        running.append(process)
        for line in process.stdout or ():
            if "gRPC server running" in line:
                return process
        raise AssertionError("MLServer did not start")

    yield start
    for process in running:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_same_numbers_killed_and_found_again(serve, yunet, ports):
    process = serve()
    remote = RemoteSettings(url=f"127.0.0.1:{ports[1]}", timeout_ms=5000, retry_s=0.5)
    backend = RemoteBackend(yunet, InferSettings(backend="remote", remote=remote))
    bound, local = backend.bind(SIZE), OnnxRuntimeBackend(yunet, InferSettings()).bind(SIZE)
    bound.tensor[:] = local.tensor[:] = np.random.default_rng(1).uniform(0, 255, bound.tensor.shape)
    for one in (bound, local):
        one.run()
    assert not backend.placement.fallback
    assert all(np.abs(bound.outputs[name] - value).max() < 1e-3 for name, value in local.outputs.items())
    process.kill()
    process.wait()
    bound.run()
    assert backend.placement.nodes.keys() == {CPU}
    serve()
    assert backend.server.watch.back.wait(BACK_S)
    bound.run()
    assert not backend.placement.fallback
