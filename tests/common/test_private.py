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


@pytest.mark.parametrize("holds", ["", "events.db", "settings.json"])
def test_an_empty_directory_and_one_of_a_node_are_made_private(tmp_path: Path, holds: str) -> None:
    tmp_path.chmod(0o755)
    if holds:
        (tmp_path / holds).touch()
    assert mode(make_private(tmp_path)) == 0o700


def test_a_directory_with_something_else_is_left_as_it_is_and_refused_when_others_may_write(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    tmp_path.chmod(0o755)
    assert mode(make_private(tmp_path)) == 0o755
    assert f"other users may enter it; chmod 700 directory={tmp_path}" in caplog.text
    tmp_path.chmod(0o775)
    with pytest.raises(ConfigError, match=f"other users may write there; chmod 700 {tmp_path}"):
        make_private(tmp_path)


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
