"""Key names and patterns as a mask: what most hosts write.

A value whose key is named is replaced whole; what a pattern finds inside any text is replaced
there. Text that holds JSON, as the arguments of tool calls do, is looked into. What cannot be read
is removed where it might hide something.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Any, Final

from sessionbat._masking import json_text
from sessionbat._masking.key_names import KeyNames, split_words
from sessionbat._masking.slow_patterns import Growth, TooSlowError, growth_of, replace
from sessionbat.errors import ConfigurationError

#: What stands where something was removed.
MASKED: Final = "[masked]"

#: Of a longer text only so much is searched, and the rest is never sent.
_MAX_SEARCHED_CHARACTERS: Final = 16 * 1024 * 1024
#: What is removed before such an end, so that no half of a match is left there.
_REMOVED_BEFORE_THE_END: Final = 64 * 1024
_MAX_DEPTH: Final = 200
#: So many texts of one event may turn out too long for a pattern; after them no long one is tried.
_MAX_SLOW_TEXTS: Final = 8
_LONG_CHARACTERS: Final = 256
_NO_TEXT: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")


class Rules:
    """The names and patterns of one client; usable from every thread.

    Raises:
        ConfigurationError: One of them can never work.
    """

    def __init__(self, entries: Iterable[Any]) -> None:
        names: list[str] = []
        patterns: list[tuple[re.Pattern[str], Growth]] = []
        for entry in entries:
            if isinstance(entry, str) and any(split_words(entry)):
                names.append(entry)
            elif _is_pattern(entry):
                patterns.append((entry, _bearable(entry)))
            else:
                raise unusable(entry)
        self.names = KeyNames(names)
        self.patterns = tuple(patterns)

    def apply(self, event: dict[str, Any]) -> bool:
        """Mask an event in place; false where a pattern was too slow for some of its texts."""
        search = _Search(self)
        search.event(event)
        return not search.slow_texts


def unusable(entry: object) -> ConfigurationError:
    """Say what a mask takes instead of this."""
    return ConfigurationError(
        f"mask takes key names, compiled patterns of str, or one function; got {entry!r:.200}."
        " Write for example mask=['password', re.compile(r'sk-\\w+')].",
        slug="bad-mask",
    )


def _is_pattern(entry: object) -> bool:
    # One that finds nothing at all in a text would put its mark between any two characters.
    return (
        isinstance(entry, re.Pattern)
        and isinstance(entry.pattern, str)
        and entry.search("") is None
    )


def _bearable(pattern: re.Pattern[str]) -> Growth:
    growth = growth_of(pattern)
    if growth is Growth.EXPONENTIAL:
        raise ConfigurationError(
            f"mask got the pattern {pattern.pattern[:200]!r}, whose time doubles with each"
            " character of a text. Write it without a repetition inside a repetition.",
            slug="bad-mask",
        )
    return growth


class _Search:
    """One pass over one event."""

    def __init__(self, rules: Rules) -> None:
        self._names = rules.names
        self._is_named = rules.names.mean
        self._patterns = rules.patterns
        self.slow_texts = 0

    def event(self, event: dict[str, Any]) -> None:
        event["context"] = self._named_or_object("context", event["context"])
        event["tags"] = [] if self._is_named("tags") else self._value(event["tags"], 0)
        if "feedback" in event:
            self._feedback(event["feedback"])
        else:
            self._observation(event["observation"])

    def _feedback(self, feedback: dict[str, Any]) -> None:
        # ``observation_id`` stays: it is the id of another event, where no mask changes it either.
        for name in feedback.keys() - {"observation_id"}:
            value = self._field(name, feedback[name], 0)
            feedback[name] = None if name == "score" and value == MASKED else value

    def _observation(self, observation: dict[str, Any]) -> None:
        observation["metadata"] = self._named_or_object("metadata", observation["metadata"])
        error = observation["error"]
        if error is not None and self._is_named("error"):
            observation["error"] = {"type": "Error", "message": MASKED}
        elif error is not None:
            observation["error"] = self._value(error, 0)
        observation["metrics"] = self._metrics(observation["metrics"])
        for name in observation.keys() - {"kind", "metadata", "error", "metrics"}:
            observation[name] = self._field(name, observation[name], 0)

    def _named_or_object(self, name: str, value: dict[str, Any]) -> dict[str, Any]:
        return {} if self._is_named(name) else self._object(value, 0)

    def _metrics(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Mask the names of numbers; the numbers stay."""
        masked: dict[str, Any] = {}
        for key, number in metrics.items():
            masked[_free_key(self._found(key), masked)] = number
        return masked

    def _field(self, name: str, value: Any, depth: int) -> Any:
        if value is not None and self._is_named(name):
            return MASKED
        return self._value(value, depth)

    def _value(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value, depth)
        if kind is not dict and kind is not list:
            return value
        if depth >= _MAX_DEPTH:
            return MASKED
        if kind is dict:
            return self._object(value, depth + 1)
        return [self._value(item, depth + 1) for item in value]

    def _object(self, value: dict[str, Any], depth: int) -> dict[str, Any]:
        masked: dict[str, Any] = {}
        for key, item in value.items():
            masked[_free_key(self._found(key), masked)] = self._field(key, item, depth)
        if masked.get("type") == "bytes" and type(masked.get("base64")) is str:
            masked["base64"] = self._base64(masked["base64"], masked.get("size"), depth)
        return masked

    def _text(self, text: str, depth: int) -> str:
        end = ""
        if len(text) > _MAX_SEARCHED_CHARACTERS:
            if json_text.may_be_json(text):
                return MASKED
            kept = _MAX_SEARCHED_CHARACTERS - _REMOVED_BEFORE_THE_END
            end = f"…[+{len(text) - kept} characters]"
            text = text[:_MAX_SEARCHED_CHARACTERS]
        text = self._found(self._inside(text, depth))
        return text[:-_REMOVED_BEFORE_THE_END] + end if end else text

    def _inside(self, text: str, depth: int) -> str:
        """Look into a text that is JSON, or holds some."""
        if not json_text.may_be_json(text):
            return self._without_named(text)  # ```json, data: {…}, Result: {…}
        try:
            inside = json_text.read(text)
        except json_text.UnreadableError:
            return self._unreadable(text)
        masked = self._value(inside, depth + 1)
        if masked == inside and json_text.shows_all(text, inside):
            return text
        return json_text.write(masked)

    def _unreadable(self, text: str) -> str:
        """Remove a broken object or array that names a key; where its value ends is not known."""
        if json_text.begins_with_quote(text):
            return self._without_named(text)
        named = self._names and json_text.names_a_key(text, self._is_named)
        return MASKED if named else text

    def _without_named(self, text: str) -> str:
        if not self._names or ":" not in text:
            return text
        return json_text.without_values(text, self._is_named, MASKED)

    def _base64(self, encoded: str, size: object, depth: int) -> str:
        """Remove bytes that hold something; those that are no text cannot be looked into."""
        try:
            data = base64.b64decode(encoded)
        except ValueError:  # the host's own, and not what it says
            return encoded
        text = data.decode("utf-8", "replace")
        is_ours = size == len(data)
        if is_ours and _NO_TEXT.search(text):
            return MASKED
        return encoded if self._text(text, depth) == text else MASKED

    def _found(self, text: str) -> str:
        for pattern, growth in self._patterns:
            if len(text) > _LONG_CHARACTERS and self.slow_texts >= _MAX_SLOW_TEXTS:
                return MASKED
            try:
                text = replace(pattern, growth, MASKED, text)
            except TooSlowError:
                self.slow_texts += 1
                return MASKED
        return text


def _free_key(key: str, taken: dict[str, Any]) -> str:
    return key if key not in taken else _free_key(f"{key}#{len(taken) + 1}", taken)
