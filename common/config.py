"""Reads the settings: YAML file, environment, secrets; checks them once; hands the result on to the services.

The one place that reads the environment. Services get a JSON file of checked settings, so that only the command line
pays for the library that checks them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.private import make_private, private_file
from common.settings import Settings
from common.settings_problems import cross_checks, describe, report
from common.settings_types import build

SEARCH = ("vedette.yml", "/etc/vedette/vedette.yml")
RESOLVED = "VEDETTE_SETTINGS"  # path of the checked settings as JSON, set by `vedette up` for its children
CONFIG = "VEDETTE_CONFIG"  # path of the YAML file, when it is not found by SEARCH
PREFIX = "VEDETTE__"


def load(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings of a YAML file, with the environment applied.

    Args:
        path: The file; None searches VEDETTE_CONFIG, then SEARCH.
        overrides: Values by dotted key (`view.port`) that win over file and environment.

    Raises:
        ConfigError: The file cannot be read, or a key or value is wrong; the message lists every problem.
    """
    path = path or find()
    tree = _read_yaml(path)
    problems: list[str] = []
    for key, value in environment_keys():
        _put(tree, key, value)
    for dotted, value in (overrides or {}).items():
        _put(tree, dotted.split("."), value)
    tree = _expand(tree, "", problems)
    if problems:
        raise ConfigError(report(path, problems))
    return check(tree, path)


def check(tree: Mapping[str, Any], path: Path | None = None) -> Settings:
    """Settings of a tree of plain values, checked, with directories filled in.

    Raises:
        ConfigError: As `load`.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        settings = TypeAdapter(Settings).validate_python(tree)
    except ValidationError as error:
        raise ConfigError(report(path, [describe(dict(item)) for item in error.errors()])) from None
    problems = list(cross_checks(settings))
    if problems:
        raise ConfigError(report(path, problems))
    base = path.parent.resolve() if path else Path.cwd()
    return _with_directories(_with_secrets(settings, base), base)


def for_service() -> Settings:
    """Settings for a service: what the starter has checked, else the YAML file as `load` finds it.

    Raises:
        ConfigError: As `load`.
    """
    resolved = os.environ.get(RESOLVED)
    if not resolved:
        return load()
    try:
        return typing.cast(Settings, build(Settings, json.loads(Path(resolved).read_text())))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{RESOLVED}={resolved}: not the settings that this version writes: {error!r}") from error


def write_resolved(settings: Settings) -> tuple[str, Path]:
    """Write the checked settings for the services, mode 0600.

    Returns:
        Name and value of the environment variable that hands them on.
    """
    path = Path(settings.runtime_dir) / "settings.json"
    make_private(path.parent)
    temporary = path.with_suffix(".new")
    with os.fdopen(private_file(temporary), "w") as file:
        json.dump(dataclasses.asdict(settings), file)
    temporary.replace(path)
    return RESOLVED, path


def cache_dir() -> Path:
    """Directory for what can be fetched again: models, clips."""
    chosen = os.environ.get("VEDETTE_CACHE") or os.environ.get("XDG_CACHE_HOME")
    if os.environ.get("VEDETTE_CACHE"):
        return Path(str(chosen))
    return Path(chosen) / "vedette" if chosen else Path.home() / ".cache" / "vedette"


def supervised() -> bool:
    """True when supervisord started this process."""
    return "SUPERVISOR_ENABLED" in os.environ


def supervisor_url() -> str:
    """Where the supervisor listens, for its event listener; empty outside."""
    return os.environ.get("SUPERVISOR_SERVER_URL", "")


def no_telemetry() -> None:
    """Forbid ONNX Runtime to report to its maker; call it before that is imported.

    Its official Linux builds do so from 1.29 on unless this is set: names of models and hardware go to a server, and a
    database of what is still to be sent lies in the user's cache. `disable_telemetry_events()` comes too late.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def child_environment(**extra: str) -> dict[str, str]:
    """Environment for a child process of ours: this one's, with `extra`."""
    return {**os.environ, **extra}


def environment_keys() -> Iterator[tuple[list[str], Any]]:
    """Settings in the environment: `VEDETTE__INFER__WORKERS=2` gives `(["infer", "workers"], 2)`."""
    import yaml

    for name, text in sorted(os.environ.items()):
        if name.startswith(PREFIX):
            try:
                yield name.removeprefix(PREFIX).lower().split("__"), yaml.safe_load(text)
            except yaml.YAMLError:
                raise ConfigError(f"{name}: not a YAML value; quote a text with signs of YAML") from None


def find() -> Path:
    """The settings file when none is named: VEDETTE_CONFIG, then SEARCH.

    Raises:
        ConfigError: There is none.
    """
    named = os.environ.get(CONFIG)
    if named:
        return Path(named)
    for candidate in map(Path, SEARCH):
        if candidate.is_file():
            return candidate
    raise ConfigError(f"no settings file; looked for {', '.join(SEARCH)}; name one with -c FILE")


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:  # its own words show the line, and a secret may stand there
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{path}: not readable as YAML: {where}{error.problem or error.context}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: a mapping expected, like `cameras: ...`")
    return tree


def _put(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        below = tree.get(key)
        if not isinstance(below, dict):
            below = tree[key] = {}
        tree = below
    tree[keys[-1]] = value


def _expand(value: Any, where: str, problems: list[str]) -> Any:
    """The tree with `${NAME}` in texts replaced from the environment."""
    if isinstance(value, dict):
        return {key: _expand(item, f"{where}.{key}".lstrip("."), problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, f"{where}[{index}]", problems) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def secret(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            problems.append(f"{where}: ${{{match[1]}}} is not set in the environment")
        return found or ""

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", secret, value)


def _with_secrets(settings: Settings, base: Path) -> Settings:
    """Passwords from files put in place."""
    for section in ("mqtt", "view", "rtsp"):
        part = getattr(settings, section)
        if part.password_file is None:
            continue
        path = base / part.password_file
        try:
            text = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{section}.password_file={str(path)!r}: {error}") from error
        settings = dataclasses.replace(settings, **{section: dataclasses.replace(part, password=text)})
    return settings


def _with_directories(settings: Settings, base: Path) -> Settings:
    """State and runtime directory absolute; empty ones become those of the XDG base directory specification."""
    home = Path.home()
    state = settings.state_dir or str(
        Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "vedette" / settings.node
    )
    fallback = f"/tmp/vedette-{os.getuid()}"  # noqa: S108 - `make_private` refuses it when somebody else has made it
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or fallback) / "vedette" / settings.node
    if settings.runtime_dir:
        runtime = (base / Path(settings.runtime_dir).expanduser()).resolve()
    library = settings.infer.provider_library
    if library:
        whole = str((base / Path(library).expanduser()).resolve())
        settings = dataclasses.replace(settings, infer=dataclasses.replace(settings.infer, provider_library=whole))
    return dataclasses.replace(
        settings,
        state_dir=str((base / Path(state).expanduser()).resolve()),
        runtime_dir=str(runtime),
    )
