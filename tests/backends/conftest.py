"""Tests against programs that have environments of their own; `make test-backends` makes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

VENVS = os.environ.get("VEDETTE_BACKEND_VENVS", "")


@pytest.fixture
def interpreter() -> Callable[[str], str]:
    """Python of one of the environments; skips when it was not made."""

    def get(name: str) -> str:
        path = Path(VENVS) / name / "bin" / "python"
        if not VENVS or not path.exists():
            pytest.skip(f"no environment {name}; `make test-backends` makes it")
        return str(path)

    return get
