"""A single event that an endpoint calls too large: cut once, visibly, rather than lost."""

from __future__ import annotations

import json
from typing import Final

from sessionbat._encoding.cutting import cut_strings

#: What is left of such an event at the most; endpoints that take less are not known.
MAX_CUT_BYTES: Final = 128 * 1024


def cut_line(line: bytes) -> bytes | None:
    """Shorten an event to a quarter, at most ``MAX_CUT_BYTES``; None if it was cut before."""
    event = json.loads(line)
    observation = event.get("observation")  # feedback has none; it is short, and never cut here
    if not isinstance(observation, dict) or "refused_bytes" in observation.get("truncated", {}):
        return None
    original = observation.get("truncated", {}).get("original_bytes", len(line))
    observation["truncated"] = {"original_bytes": original, "refused_bytes": len(line)}
    cut_strings(observation, limit=min(len(line) // 4, MAX_CUT_BYTES) // 2)
    shorter = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    return shorter if len(shorter) < len(line) else None
