"""What belongs to the node alone, whatever others left in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.private import make_private, private_file

NOBODY = 65534


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def no_umask() -> object:
    before = os.umask(0)
    yield
    os.umask(before)


def test_every_directory_on_the_way_is_private(tmp_path: Path, no_umask: object) -> None:
    made = make_private(tmp_path / "a" / "b")
    assert mode(made) == mode(made.parent) == 0o700
    descriptor = private_file(made / "file")
    os.close(descriptor)
    assert mode(made / "file") == 0o600


def test_an_empty_directory_is_made_private_and_a_used_one_is_refused(tmp_path: Path) -> None:
    empty, used = tmp_path / "empty", tmp_path / "used"
    for path in (empty, used):
        path.mkdir()
        path.chmod(0o755)
    (used / "file").touch()
    assert mode(make_private(empty)) == 0o700
    with pytest.raises(ConfigError, match=f"other users may enter it; chmod 700 {used}"):
        make_private(used)


def test_a_place_that_others_can_rename_is_refused(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(ConfigError, match="put something else in the place"):
        make_private(open_to_all / "run")
    open_to_all.chmod(0o1777)  # like /tmp
    assert make_private(open_to_all / "run")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give things away")
@pytest.mark.parametrize("kind", ["directory", "link"])
def test_what_somebody_else_has_made_before_us_is_refused(tmp_path: Path, kind: str) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    theirs = shared / "vedette-0"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        theirs.symlink_to(tmp_path / "elsewhere")
    else:
        theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(ConfigError, match=r"put something else in the place of .*vedette-0;"):
        make_private(theirs / "vedette" / "hall")
    if kind == "directory":
        with pytest.raises(ConfigError, match=f"it belongs to user {NOBODY}"):
            make_private(theirs)
