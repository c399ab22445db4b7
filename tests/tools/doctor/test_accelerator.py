from __future__ import annotations

import importlib.util

import pytest

from tools.doctor.accelerator import accelerator

pytestmark = pytest.mark.usefixtures("yunet")


def only(settings):
    (finding,) = accelerator(settings)
    return finding


def test_nothing_is_said_of_the_plain_cpu(make_settings):
    assert not list(accelerator(make_settings()))


def test_a_provider_that_takes_nothing_is_a_warning_with_the_reason(make_settings):
    finding = only(make_settings(infer={"providers": ["AzureExecutionProvider"]}))
    assert finding.result in {"warn", "fail"}  # fail where this ONNX Runtime has no second provider
    assert "took none of the" in finding.text or "is not there" in finding.text


def test_a_missing_package_is_named_with_how_to_get_it(make_settings):
    if importlib.util.find_spec("hailo_platform"):
        pytest.skip("this machine has HailoRT")
    finding = only(make_settings(infer={"backend": "hailo"}))
    assert finding.result == "fail"
    assert "hailo-all" in finding.text


def test_a_backend_that_works_tells_where_the_nodes_are(make_settings):
    pytest.importorskip("openvino")
    finding = only(make_settings(infer={"backend": "openvino", "width": 96}))
    assert finding.result == "ok"
    assert "nodes on CPU" in finding.text


def test_a_server_that_is_away_is_a_warning_when_this_machine_can_do_it(make_settings):
    pytest.importorskip("tritonclient")
    finding = only(make_settings(infer={"backend": "remote", "width": 96, "remote": {"url": "127.0.0.1:1"}}))
    assert finding.result == "warn"
    assert "runs on this machine instead of yunet at 127.0.0.1:1" in finding.text
