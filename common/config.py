"""Reads the settings: YAML file, environment, secrets; checks them once; hands the result on to the services.

The one place that reads the environment. Services get a JSON file of checked settings, so that only the command line
pays for the library that checks them.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from common.errors import ConfigError
from common.fleet import FLEET, members
from common.settings import Settings

SEARCH = ("vedette.yml", "/etc/vedette/vedette.yml")
RESOLVED = "VEDETTE_SETTINGS"  # path of the checked settings as JSON, set by `vedette up` for its children
CONFIG = "VEDETTE_CONFIG"  # path of the YAML file, when it is not found by SEARCH
PREFIX = "VEDETTE__"
NAME = re.compile(r"[A-Za-z0-9_-]{1,40}\Z")
TAKEN = {"status", "stats", "events"} | set(FLEET)  # MQTT topics of the node, which a camera's would collide with


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
        raise ConfigError(_report(path, problems))
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
        raise ConfigError(_report(path, [_describe(dict(item)) for item in error.errors()])) from None
    problems = list(_cross_checks(settings))
    if problems:
        raise ConfigError(_report(path, problems))
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
        return typing.cast(Settings, _build(Settings, json.loads(Path(resolved).read_text())))
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
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(dataclasses.asdict(settings), file)
    temporary.replace(path)
    return RESOLVED, path


def make_private(directory: Path) -> Path:
    """Make a directory (and its parents) that only its owner may enter; returns it.

    Raises:
        ConfigError: It cannot be made or written.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable", str(directory))
    except OSError as error:
        raise ConfigError(f"directory {directory}: {error.strerror}; choose another one or change its owner") from error
    return directory


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
            except yaml.YAMLError as error:
                raise ConfigError(f"{name}: not a YAML value: {error}") from error


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
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
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


def _describe(error: Mapping[str, Any]) -> str:
    """One problem in words: key, value, what is allowed, nearest name."""
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    if error["type"] == "unexpected_keyword_argument":
        allowed = _keys_at(location[:-1])
        near = difflib.get_close_matches(location[-1], allowed, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(allowed))}"
        return f"{key}: unknown key; {hint}"
    if error["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{key}: missing"
    value = "a secret" if location[-1] == "password" else repr(error.get("input"))
    message = str(error["msg"]).replace("Input should", "it should")
    return f"{key}={value[:80]}: {message}"


def _keys_at(location: list[str]) -> list[str]:
    """Names of the keys that the settings have at a place."""
    hint: Any = Settings
    for part in location:
        hint = _strip(hint)
        if dataclasses.is_dataclass(hint):
            hint = get_type_hints(hint, include_extras=False).get(part)
        elif get_origin(hint) is dict:
            hint = get_args(hint)[1]
    hint = _strip(hint)
    return [field.name for field in dataclasses.fields(hint)] if dataclasses.is_dataclass(hint) else []


def _strip(hint: Any) -> Any:
    """A type without its annotations and without None."""
    while get_origin(hint) is typing.Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in {types.UnionType, typing.Union}:
        return next(_strip(arm) for arm in get_args(hint) if arm is not types.NoneType)
    return hint


def _cross_checks(settings: Settings) -> Iterator[str]:
    """Problems that no single key shows."""
    for kind, name in [("node", settings.node), *(("camera", name) for name in settings.cameras)]:
        if not NAME.match(name):
            yield f"{kind} {name!r}: letters, digits, _ and - only, at most 40"
    for name in settings.cameras:
        if name in TAKEN:
            yield f"cameras.{name}: the name is taken by a topic or process; choose another one"
    infer = settings.infer
    if infer.workers > infer.max_workers:
        yield f"infer.workers={infer.workers}: it should be at most infer.max_workers={infer.max_workers}"
    if settings.mqtt.password is not None and settings.mqtt.username is None:
        yield "mqtt.password: mqtt.username is missing"
    for key in ("base", "discovery_prefix"):
        if re.search(r"[#+\0]|^/|/$", getattr(settings.mqtt, key)):
            yield f"mqtt.{key}={getattr(settings.mqtt, key)!r}: no wildcard (# +) and no slash at its ends"
    yield from _rtsp_checks(settings)
    yield from _screen_checks(settings)
    yield from _process_checks(settings)


def _rtsp_checks(settings: Settings) -> Iterator[str]:
    rtsp = settings.rtsp
    if (rtsp.enabled or rtsp.push) and not settings.view.enabled:
        yield "rtsp: view.enabled is false, and view is the process that serves and pushes"
    for camera, urls in rtsp.push.items():
        if camera not in settings.cameras:
            yield f"rtsp.push.{camera}: no such camera; known: {', '.join(settings.cameras)}"
        for url in urls:
            try:
                parts = urlsplit(url)
                good = parts.scheme in {"rtsp", "rtsps"} and bool(parts.hostname) and parts.port != 0
            except ValueError:
                good = False
            if not good or re.search(r"\s", url):  # it may hold a password: not repeated here
                yield f"rtsp.push.{camera}: it should be like rtsp://user:password@host:8554/{camera}"


def _screen_checks(settings: Settings) -> Iterator[str]:
    screen = settings.screen
    if screen.camera is not None and screen.camera not in settings.cameras:
        yield f"screen.camera={screen.camera!r}: no such camera; known: {', '.join(settings.cameras)}, or null for all"
    if screen.mode is not None and not re.fullmatch(r"\d{2,5}x\d{2,5}(@\d{1,3})?", screen.mode):
        yield f"screen.mode={screen.mode!r}: like 1280x720 or 1280x720@60"


def _process_checks(settings: Settings) -> Iterator[str]:
    known = {member.name for member in members(settings.cameras, settings.infer.max_workers)} | set(FLEET)
    cores = os.sched_getaffinity(0)
    for name, process in settings.processes.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.4)
            yield f"processes.{name}: no such process; {f'did you mean {near[0]!r}?' if near else sorted(known)}"
        if process.cores is not None and not set(process.cores) & cores:
            yield f"processes.{name}.cores={process.cores}: this machine has {sorted(cores)}"


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
    fallback = f"/tmp/vedette-{os.getuid()}"  # noqa: S108 - made with mode 0700 and owner checked before use
    runtime = settings.runtime_dir or str(
        Path(os.environ.get("XDG_RUNTIME_DIR") or fallback) / "vedette" / settings.node
    )
    library = settings.infer.provider_library
    if library:
        whole = str((base / Path(library).expanduser()).resolve())
        settings = dataclasses.replace(settings, infer=dataclasses.replace(settings.infer, provider_library=whole))
    return dataclasses.replace(
        settings,
        state_dir=str((base / Path(state).expanduser()).resolve()),
        runtime_dir=str((base / Path(runtime).expanduser()).resolve()),
    )


def _report(path: Path | None, problems: list[str]) -> str:
    head = f"{path}: " if path else ""
    if len(problems) == 1:
        return head + problems[0]
    return f"{head}{len(problems)} problems\n" + "\n".join(f"  {problem}" for problem in problems)


def _build(hint: Any, value: Any) -> Any:
    """Dataclasses from the plain values that `dataclasses.asdict` made of them."""
    hint = _strip(hint)
    if value is None:
        return None
    if dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        return typing.cast(Any, hint)(**{key: _build(hints[key], item) for key, item in value.items()})
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is dict:
        return {key: _build(arguments[1], item) for key, item in value.items()}
    if origin is list:
        return [_build(arguments[0], item) for item in value]
    if origin is tuple:
        return tuple(_build(argument, item) for argument, item in zip(arguments, value, strict=True))
    return value
