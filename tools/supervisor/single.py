"""Runs one service in the foreground, without a supervisor."""

from __future__ import annotations

import difflib
import os
import sys
from pathlib import Path
from typing import NoReturn

from common.config import RESOLVED, child_environment, write_resolved
from common.errors import ConfigError
from common.fleet import Member, members
from common.settings import Settings
from tools.supervisor.conf import ROOT
from tools.supervisor.node import running


def run_single(settings: Settings, directory: Path, name: str) -> NoReturn:
    """Become a service; it joins the node when that is up.

    Raises:
        ConfigError: No such process.
    """
    member = _member(settings, name)
    resolved = Path(settings.runtime_dir) / "settings.json"
    if running(settings) is None:
        write_resolved(settings)
    os.chdir(directory)
    command = [sys.executable, "-P", "-m", member.process.module, *([member.argument] if member.argument else [])]
    search = os.pathsep.join([str(ROOT), *filter(None, [child_environment().get("PYTHONPATH")])])
    environment = child_environment(PYTHONPATH=search, **{RESOLVED: str(resolved)})
    os.execve(command[0], command, environment)  # noqa: S606 - our own interpreter


def _member(settings: Settings, name: str) -> Member:
    every = {member.name: member for member in members(settings.cameras, settings.infer.max_workers, settings.optional)}
    if name not in every:
        near = difflib.get_close_matches(name, every, 1, 0.4)
        raise ConfigError(f"no process {name!r}; {f'did you mean {near[0]!r}?' if near else ', '.join(every)}")
    return every[name]
