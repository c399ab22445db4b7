"""Directories and files that are nobody else's."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import stat
from pathlib import Path

from common.errors import ConfigError

UMASK = 0o077  # of every process of a node
MARKS = {"events.db", "settings.json"}  # of the state and the runtime directory of a node

log = logging.getLogger(__name__)


def make_private(directory: Path) -> Path:
    """Make a directory (and its parents) that only its owner may enter; returns it.

    Raises:
        ConfigError: It cannot be made or written, or others could put something else in its place or into it.
    """
    try:
        for path in reversed([directory, *directory.parents]):
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable", str(directory))
        problem = _open_to_others(directory)
    except OSError as error:
        raise ConfigError(f"directory {directory}: {error.strerror}; choose another one or change its owner") from error
    if problem:
        raise ConfigError(f"directory {directory}: {problem}")
    return directory


def private_file(path: Path) -> int:
    """Descriptor of an empty file that only we may read, whatever the umask is."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def _open_to_others(directory: Path) -> str:
    """Why other users could see or change what lies in a directory; empty when they cannot.

    An empty one is made private, and one that a node has used. What else lies in one may be meant for others, so its
    owner has to do that; our own files are private in it.
    """
    user, found = os.getuid(), directory.stat()
    if found.st_uid != user:
        return f"it belongs to user {found.st_uid}, not to {user}; choose another one or change its owner"
    if found.st_mode & 0o077:
        names = {path.name for path in directory.iterdir()}
        if not names or names & MARKS:
            directory.chmod(0o700)
        elif found.st_mode & 0o022:
            return f"other users may write there; chmod 700 {directory} (a file system without modes: mount it so)"
        else:
            log.warning("other users may enter it; chmod 700 directory=%s", directory)
    for path, parent in itertools.pairwise([directory, *directory.parents]):
        mode, owner = parent.stat().st_mode, path.lstat().st_uid
        if mode & 0o002 and not (mode & stat.S_ISVTX and owner in {0, user}):
            return f"other users may put something else in the place of {path}; choose another one"
    return ""
