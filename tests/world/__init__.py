"""What the world does to a guest: interpreters, kernels, signals, limits, other libraries."""

from __future__ import annotations

import os

import pytest


def need(library: str) -> None:
    """Skip where a library is not installed, except in CI: there it is, or the run fails."""
    if os.environ.get("CI") != "true":
        pytest.importorskip(library)
