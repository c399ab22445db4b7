"""Against a real gRPC server in a process of its own; `make test-backends` does the same with MLServer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError, DeviceError, ModelError
from common.settings import InferSettings, RemoteSettings
from services.infer.onnxruntime_backend import CPU, OnnxRuntimeBackend

pytest.importorskip("tritonclient.grpc")
from services.infer.remote_backend import RemoteBackend

SIZE = (96, 64)
BACK_S = 30


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def serve(port):
    running = []

    def start(path, name="yunet", *fault):
        server = Path(__file__).with_name("inference_server.py")
        process = subprocess.Popen(
            [sys.executable, server, str(port), str(path), name, *fault], stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def settings(port, **remote):
    remote = {"timeout_ms": 2000, "retry_s": 0.5, **remote}
    return InferSettings(backend="remote", remote=RemoteSettings(url=f"127.0.0.1:{port}", **remote))


def filled(bound):
    bound.tensor[:] = np.random.default_rng(1).uniform(0, 255, bound.tensor.shape)
    bound.run()
    return {name: value.copy() for name, value in bound.outputs.items()}


def test_same_numbers_as_on_this_machine(model, serve, port):
    path = model("yunet")
    serve(path)
    backend = RemoteBackend(path, settings(port))
    assert backend.placement.nodes == {f"yunet at 127.0.0.1:{port}": 1}
    assert not backend.placement.fallback
    there, here = filled(backend.bind(SIZE)), filled(OnnxRuntimeBackend(path, InferSettings()).bind(SIZE))
    assert there.keys() == here.keys()
    assert all(np.abs(there[name] - here[name]).max() < 1e-3 for name in here)


def test_several_pictures_are_one_question_and_each_is_answered_as_alone(model, serve, port):
    path = model("yunet")
    serve(path)
    backend, here = RemoteBackend(path, settings(port)), OnnxRuntimeBackend(path, InferSettings()).bind(SIZE)
    bound, asked = backend.bind(SIZE, 3), []
    real = backend.server.infer
    backend.server.infer = lambda name, tensor: asked.append(len(tensor)) or real(name, tensor)
    for count in (3, 1, 2, None):
        bound.tensor[:] = np.random.default_rng(count).uniform(0, 255, bound.tensor.shape)
        bound.run(count)
        for row in range(count or 3):
            here.tensor[:] = bound.tensor[row]
            here.run()
            for name, value in here.outputs.items():
                np.testing.assert_allclose(bound.outputs[name][row], value[0], rtol=1e-4, atol=1e-3)
    assert asked == [3, 1, 2, 3]
    assert not backend.placement.fallback


@pytest.mark.parametrize("fallback", [True, False])
def test_server_whose_model_takes_one_picture_is_refused_for_batches(model, make_model, serve, port, fallback):
    serve(make_model({"scores": np.zeros((1, 4, 2), np.float32)}, ""))
    backend = RemoteBackend(model("yunet"), settings(port, fallback=fallback))
    with pytest.raises(
        ModelError, match=r"yunet at 127.0.0.1:\d+: input has a batch axis that is fixed to 1, so infer"
    ):
        backend.bind((64, 64), 2)


def test_batch_is_run_here_while_the_server_is_away_and_there_when_it_is_back(model, serve, port):
    path = model("yunet")
    backend = RemoteBackend(path, settings(port))
    bound = backend.bind(SIZE, 2)
    here = filled(bound)
    assert backend.placement.nodes.keys() == {CPU}
    process = serve(path)
    assert backend.server.watch.back.wait(BACK_S)
    there = filled(bound)
    assert not backend.placement.fallback
    assert all(np.abs(there[name] - here[name]).max() < 1e-3 for name in here)
    process.kill()
    process.wait()
    bound.run(1)
    assert backend.placement.nodes.keys() == {CPU}
    assert all(np.abs(bound.outputs[name] - here[name]).max() < 1e-3 for name in here)


def test_killed_server_is_replaced_at_once_and_found_again(model, serve, port, caplog):
    path = model("yunet")
    process = serve(path)
    backend = RemoteBackend(path, settings(port))
    bound = backend.bind(SIZE)
    before = filled(bound)
    process.kill()
    process.wait()
    after = filled(bound)
    assert all(np.abs(before[name] - after[name]).max() < 1e-3 for name in before)
    assert backend.placement.nodes.keys() == {CPU}
    assert f"runs on this machine instead of yunet at 127.0.0.1:{port}: UNAVAILABLE" in backend.placement.fallback
    assert "server lost" in caplog.text
    serve(path)
    assert backend.server.watch.back.wait(BACK_S)
    assert not backend.placement.fallback
    filled(bound)
    assert backend.placement.nodes == {f"yunet at 127.0.0.1:{port}": 1}


def test_stopped_server_costs_one_frame_the_timeout_and_the_others_nothing(model, serve, port):
    path = model("yunet")
    process = serve(path)
    backend = RemoteBackend(path, settings(port, timeout_ms=1500))
    bound = backend.bind(SIZE)
    os.kill(process.pid, signal.SIGSTOP)
    start = time.monotonic()
    bound.run()
    assert time.monotonic() - start < 1.5 + 5  # the machine may be busy; a second time-out would be 3 s and more
    assert "DEADLINE_EXCEEDED" in backend.placement.fallback
    real, asked = backend.server.infer, []

    def infer(*arguments):
        if threading.current_thread() is threading.main_thread():
            asked.append(arguments)
        return real(*arguments)

    backend.server.infer = infer
    for _ in range(20):
        bound.run()
    assert not asked, "frames do not look for the server; the watching thread does"
    os.kill(process.pid, signal.SIGCONT)
    assert backend.server.watch.back.wait(BACK_S)


def test_server_that_is_away_at_the_start_is_found_later(model, serve, port):
    path = model("yunet")
    backend = RemoteBackend(path, settings(port))
    bound = backend.bind(SIZE)
    here = filled(bound)
    assert backend.placement.nodes.keys() == {CPU}
    serve(path)
    assert backend.server.watch.back.wait(BACK_S)
    there = filled(bound)
    assert not backend.placement.fallback
    assert all(np.abs(there[name] - here[name]).max() < 1e-3 for name in here)


def test_without_fallback_the_worker_waits_for_the_server(model, serve, port):
    path = model("yunet")
    with pytest.raises(DeviceError, match="does not answer"):
        RemoteBackend(path, settings(port, fallback=False))
    process = serve(path)
    bound = RemoteBackend(path, settings(port, fallback=False)).bind(SIZE)
    assert len(filled(bound)) == 12
    process.kill()
    process.wait()
    with pytest.raises(DeviceError, match="UNAVAILABLE"):
        bound.run()


def test_model_that_the_server_does_not_know_is_a_configuration_error(model, serve, port):
    path = model("yunet")
    serve(path)
    with pytest.raises(ConfigError, match=r"other at 127.0.0.1:\d+: NOT_FOUND Model other not found"):
        RemoteBackend(path, settings(port, model="other"))


def test_answer_in_another_shape_names_the_output(model, serve, port):
    path = model("yunet")
    serve(path, "yunet", "shape")
    with pytest.raises(ModelError, match=r"output 'cls_8' is shape \(1, 1, 96, 1\), \(1, 96, 1\) expected"):
        RemoteBackend(path, settings(port)).bind(SIZE)


def test_address_with_a_scheme_is_refused(model):
    remote = RemoteSettings(url="http://127.0.0.1:8001")
    with pytest.raises(ConfigError, match="without a scheme"):
        RemoteBackend(model("yunet"), InferSettings(backend="remote", remote=remote))
