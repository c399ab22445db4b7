"""The systemd unit: filled in from deploy/vedette.service, written, enabled, and removed again."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from common.config import child_environment
from common.errors import ConfigError, DeviceError
from common.settings import Settings
from tools.supervisor.conf import ROOT

UNIT = Path("/etc/systemd/system/vedette.service")
TEMPLATE = "vedette.service"
ORDINARY_UID = 1000
DIRECTORIES = {"/run/": "RuntimeDirectory", "/var/lib/": "StateDirectory"}  # what systemd makes for the unit's user


def render_unit(settings: Settings, file: Path, user: str | None = None) -> str:
    """Text of the unit for a settings file.

    Raises:
        ConfigError: No such user, or a path that a unit cannot hold.
    """
    account = _account(user)
    values = {
        "NODE": settings.node,
        "USER": account.pw_name,
        "UID": str(account.pw_uid),
        "HOME": account.pw_dir,
        "DIRECTORY": str(file.parent),
        "VEDETTE": str(_command()),
        "CONFIG": str(file),
        "DIRECTORIES": "".join(_directories(settings)),
    }
    for value in values.values():
        if re.search(r'["\\\r]|\n(?!$|[A-Z])', value):
            raise ConfigError(f"path {value!r}: no quotation mark, backslash or line end allowed in a unit")
    text = _template().read_text(encoding="utf-8")
    return re.sub(r"@([A-Z]+)@", lambda match: values[match[1]].replace("%", "%%"), text)


def install_unit(settings: Settings, file: Path, user: str | None) -> Iterator[str]:
    """Write, enable and start the unit; yields what is done.

    Raises:
        DeviceError: No systemd, no right, or systemd refuses.
    """
    text = render_unit(settings, file, user)
    account = _account(user)
    _require_root()
    UNIT.write_text(text, encoding="utf-8")
    yield f"wrote {UNIT}"
    if account.pw_uid >= ORDINARY_UID:  # else logind removes shared memory at the last logout, and /run/user with it
        _run("loginctl", "enable-linger", account.pw_name)
        yield f"user {account.pw_name} lingers: shared memory outlives a logout"
    _run("systemctl", "daemon-reload")
    _run("systemctl", "enable", "--now", UNIT.name)
    yield f"enabled and started {UNIT.name}; see `systemctl status vedette` and `vedette status`"


def uninstall_unit() -> Iterator[str]:
    """Stop, disable and remove the unit; yields what is done.

    Raises:
        DeviceError: No systemd, no right, or systemd refuses.
    """
    if not UNIT.exists():
        yield f"{UNIT} is not there"
        return
    _require_root()
    _run("systemctl", "disable", "--now", UNIT.name)
    UNIT.unlink()
    _run("systemctl", "daemon-reload")
    yield f"removed {UNIT}"


def _account(user: str | None) -> pwd.struct_passwd:
    """Who shall run it: who was named, who called sudo, or who we are."""
    name = user or child_environment().get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(f"--user {name}: no such user") from None


def _directories(settings: Settings) -> Iterator[str]:
    """Lines for directories that only root could make."""
    for path in (settings.runtime_dir, settings.state_dir):
        for prefix, key in DIRECTORIES.items():
            if path.startswith(prefix) and not path.startswith("/run/user/"):
                yield f"{key}={path.removeprefix(prefix)}\n{key}Mode=0700\n"


def _command() -> Path:
    """The `vedette` that runs now."""
    beside = Path(sys.executable).with_name("vedette")
    if beside.is_file():
        return beside
    raise ConfigError(f"{beside} is not there: install Vedette into this environment (make setup)")


def _template() -> Path:
    for path in (ROOT / "deploy" / TEMPLATE, Path(sys.prefix) / "share" / "vedette" / TEMPLATE):
        if path.is_file():
            return path
    raise ConfigError(f"the template {TEMPLATE} is not there; install Vedette anew")


def _require_root() -> None:
    if shutil.which("systemctl") is None or not Path("/run/systemd/system").is_dir():
        raise DeviceError("this machine has no systemd; start `vedette up` by what it has")
    if os.getuid() != 0:
        raise DeviceError("only root may do that: sudo vedette service ...")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise DeviceError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
