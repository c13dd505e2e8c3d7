"""Limits the JSON values that a page holds: ``{},`` is 3 bytes in an event and 64 in Python.

Values beyond the limit are cut, and counted at that place; the raw event still has all of them.
"""

from __future__ import annotations

from typing import Any, Final

from sessionbat.server.reading.json_values import MAX_SHOWN_VALUES, count_roughly, unwrap
from sessionbat.server.records import StoredEvent

#: The limit for one event once the page is full.
_TIGHT: Final = 1_000
#: The limit for each minor part of an event that is over its limit.
_MINOR: Final = 1_000


class Values:
    """The number of JSON values that a page can still hold.

    Args:
        most: The limit for the whole page.
        most_of_one: The limit for one event.
    """

    def __init__(self, most: int, most_of_one: int = MAX_SHOWN_VALUES) -> None:
        self._left = most
        self._most_of_one = most_of_one

    def read(self, stored: StoredEvent) -> dict[str, Any]:
        """Decode an event, without the values beyond the limits."""
        allowed = self._allowed()
        event = stored.event
        count = len(stored.raw) - len(stored.raw.translate(None, b",{["))
        if count > allowed:
            event = _cut_event(event, allowed)
        self._left -= min(count, allowed)
        return event

    def unwrap(self, value: Any) -> Any:
        """Decode a string that holds JSON, if there is room for its values."""
        unwrapped = unwrap(value, self._allowed())
        if unwrapped is not value:
            self._left -= count_roughly(value)
        return unwrapped

    def _allowed(self) -> int:
        return self._most_of_one if self._left > 0 else _TIGHT


def _cut_event(event: dict[str, Any], most: int) -> dict[str, Any]:
    """Cut each part of an event; input and output get most of the room."""
    observation = event.get("observation")
    rest = {key: value for key, value in event.items() if key != "observation"}
    cut: dict[str, Any] = _Cutter(_MINOR).cut(rest)
    if isinstance(observation, dict):
        sizes = {"input": most // 2, "output": most // 2}
        known = dict(list(observation.items())[:_MINOR])
        cut["observation"] = {
            key: _Cutter(sizes.get(key, _MINOR)).cut(value) for key, value in known.items()
        }
    return cut


class _Cutter:
    """Copies a value up to a number of values."""

    def __init__(self, room: int) -> None:
        self._room = room

    def cut(self, value: Any) -> Any:
        if isinstance(value, list):
            return self._cut_list(value)
        return self._cut_dict(value) if isinstance(value, dict) else value

    def _cut_list(self, values: list[Any]) -> list[Any]:
        kept: list[Any] = []
        for value in values:
            if self._room <= 0:
                kept.append(f"… and {len(values) - len(kept)} more")
                break
            self._room -= 1
            kept.append(self.cut(value))
        return kept

    def _cut_dict(self, values: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, value in values.items():
            if self._room <= 0:
                kept["…"] = f"and {len(values) - len(kept)} more"
                break
            self._room -= 1
            kept[key] = self.cut(value)
        return kept
