"""The SDKs of LangSmith and Langfuse as they are, pointed at this server by environment alone."""

from __future__ import annotations

import os

import pytest


def need(library: str) -> None:
    """Skip where a library is not installed, except in CI: there it is, or the run fails."""
    if os.environ.get("CI") != "true":
        pytest.importorskip(library)
