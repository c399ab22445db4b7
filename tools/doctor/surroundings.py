"""Checks of what the node works with: model, providers, cameras, broker, port, systemd."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from common.config import cache_dir
from common.errors import DeviceError, VedetteError
from common.settings import Settings
from tools.doctor.finding import Finding, fail, ok, warn
from tools.supervisor.node import running

REACH_S = 3.0
DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
PROVIDERS = "import onnxruntime; print(*onnxruntime.get_available_providers())"
UNIT = "vedette.service"


def model(settings: Settings) -> Iterator[Finding]:
    """The models are in the cache."""
    from services.infer.manifest import find_model

    for key in ("model", "embedder"):
        name = getattr(settings.infer, key)
        if name is None or ":" in name:
            continue
        try:
            _spec, path = find_model(name, cache_dir() / "models", f"infer.{key}")
        except DeviceError as error:
            yield warn(key, str(error), f"vedette models pull {name}; `vedette up` does it, too")
        except VedetteError as error:
            yield fail(key, str(error), "see `vedette models list`")
        else:
            yield ok(key, f"{name} at {path}")


def providers(settings: Settings) -> Iterator[Finding]:
    """ONNX Runtime has the providers that the settings name."""
    if settings.infer.backend != "onnxruntime":
        return
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROVIDERS], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        yield fail("providers", done.stderr.strip().splitlines()[-1], "pip install onnxruntime")
        return
    available = done.stdout.split()
    missing = [
        name for name in settings.infer.providers if name not in available and name != settings.infer.provider_name
    ]
    text = f"ONNX Runtime has {', '.join(available)}"
    if missing:
        yield warn(
            "providers", f"{text}; not {', '.join(missing)}", "install its package, or set infer.provider_library"
        )
    else:
        yield ok("providers", text)


def cameras(settings: Settings) -> Iterator[Finding]:
    """Every camera's device, file or address can be reached."""
    for name, camera in settings.cameras.items():
        yield _camera(f"camera {name}", camera.source)


def broker(settings: Settings) -> Iterator[Finding]:
    """Somebody listens where the MQTT broker should be."""
    host, port = settings.mqtt.host, settings.mqtt.port
    problem = _reach(host, port)
    if problem:
        yield warn("broker", f"{host}:{port}: {problem}; events wait in the log", "start the broker, or set mqtt.host")
    else:
        yield ok("broker", f"something listens at {host}:{port}")


def page(settings: Settings) -> Iterator[Finding]:
    """The page's port is free, or served by this node."""
    host, port = settings.view.host, settings.view.port
    if not settings.view.enabled or running(settings) is not None:
        yield ok("page", f"http://{host}:{port}/" if settings.view.enabled else "switched off")
        return
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            yield fail("page", f"{host}:{port}: {error.strerror}", "another program has it; set view.port or view.host")
        else:
            yield ok("page", f"{host}:{port} is free")


def unit(_settings: Settings) -> Iterator[Finding]:
    """The node starts with the machine."""
    if shutil.which("systemctl") is None or not Path("/run/systemd/system").is_dir():
        yield ok("start at boot", "this machine has no systemd")
        return
    done = subprocess.run(["systemctl", "is-enabled", UNIT], capture_output=True, text=True, timeout=10, check=False)
    if done.stdout.strip() == "enabled":
        yield ok("start at boot", f"{UNIT} is enabled")
    else:
        yield warn("start at boot", f"{UNIT} is not enabled", "sudo vedette service install")


def _camera(check: str, source: str) -> Finding:
    scheme, _, rest = source.partition(":")
    if scheme in {"file", "still", "v4l2"}:
        path = Path(rest)
        if os.access(path, os.R_OK if scheme != "v4l2" else os.R_OK | os.W_OK):
            return ok(check, f"{path} is readable")
        if scheme == "v4l2" and path.exists():
            return fail(check, f"no right to use {path}", "sudo usermod -aG video $USER, then log in again")
        return fail(check, f"{path} is not there or not readable", "see `v4l2-ctl --list-devices`; set its source")
    if scheme in DEFAULT_PORTS:
        address = urlsplit(source)
        problem = _reach(address.hostname or "", address.port or DEFAULT_PORTS[scheme])
        where = f"{address.hostname}:{address.port or DEFAULT_PORTS[scheme]}"
        return fail(check, f"{where}: {problem}", "is the camera on?") if problem else ok(check, f"{where} answers")
    if scheme == "picamera2" and importlib.util.find_spec("picamera2") is None:
        return fail(check, "picamera2 is missing", "sudo apt install python3-picamera2, venv with system packages")
    return ok(check, source)


def _reach(host: str, port: int) -> str:
    """Why a TCP connection fails; empty when it does not."""
    try:
        socket.create_connection((host, port), timeout=REACH_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""
