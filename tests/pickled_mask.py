"""A mask that other processes find, for ``test_pickling``."""

from __future__ import annotations

from typing import Any


def hide_input(event: dict[str, Any]) -> dict[str, Any]:
    """Remove what went in."""
    event["observation"]["input"] = "hidden"
    return event
