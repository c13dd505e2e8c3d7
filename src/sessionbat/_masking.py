"""What is removed from an event before it may leave the process: the client's ``mask=`` option.

The recorder calls this on the caller's thread, before anything is encoded, queued or written. It
fails closed: where a mask raises or answers with junk, nothing that it might have removed is sent.
"""

from __future__ import annotations

import base64
import inspect
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from sessionbat._encoding import Snapshot, encode_value, is_plain
from sessionbat._encoding.plain_values import to_plain
from sessionbat._encoding.well_formed import split_metrics
from sessionbat.accounting import WITHHELD
from sessionbat.errors import ConfigurationError

#: What stands where something was removed.
MASKED: Final = "[masked]"

#: Gets an event as a plain dict of its own and returns it, changed as it likes; None: do not send.
MaskFunction: TypeAlias = Callable[[dict[str, Any]], dict[str, Any] | None]
#: Key names and patterns, or a function.
MaskOption: TypeAlias = Iterable[str | re.Pattern[str]] | MaskFunction

#: Who and when: a mask may read these fields and not change them.
IDENTITY: Final = ("type", "id", "created_at", "app", "session_id", "interaction_id")

#: Why an event is not sent, or not as the mask would have it.
FAILED: Final = "mask-failed"
IDENTITY_KEPT: Final = "mask-identity"

#: Of a longer text only so much is searched, and the rest is never sent.
_MAX_SEARCHED_CHARACTERS: Final = 16 * 1024 * 1024
#: What is removed before such an end, so that no half of a match is left there.
_REMOVED_BEFORE_THE_END: Final = 64 * 1024
_MAX_DEPTH: Final = 200
_CLASS_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")


class Masked(NamedTuple):
    """What a mask made of an event: the fields that it may change; why not, if not."""

    #: ``tags`` and ``context``, as JSON, and ``observation``; None: do not send.
    fields: dict[str, Any] | None
    #: A slug to count; None when everything went as it should.
    trouble: str | None = None


class Mask:
    """One client's mask; usable from every thread.

    Args:
        option: What the host passed as ``mask=``.

    Raises:
        ConfigurationError: It can never work.
    """

    def __init__(self, option: MaskOption) -> None:
        self._function = _checked(option) if callable(option) else _Rules(_listed(option))
        self._running = threading.local()

    def apply(self, envelope: dict[str, Any], observation: dict[str, Any]) -> Masked:
        """Remove from an event what has to be removed; never raises.

        Args:
            envelope: The outer fields as plain values.
            observation: The inner fields, holding any Python values. Neither is changed.
        """
        try:
            answer = self._asked(_plain_event(envelope, observation))
            if answer is None:
                return Masked(None, WITHHELD)
            changed = _well_formed(answer, observation["kind"])
            kept = all(answer.get(name, envelope[name]) == envelope[name] for name in IDENTITY)
            return Masked(changed, None if kept else IDENTITY_KEPT)
        except Exception:  # noqa: BLE001 - the mask is the host's own code
            return Masked(_without_payload(observation), FAILED)

    def _asked(self, event: dict[str, Any]) -> Any:
        if getattr(self._running, "inside", False):
            raise RecursionError("a mask must not record")
        self._running.inside = True
        try:
            return self._function(event)
        finally:
            self._running.inside = False


def _without_payload(observation: dict[str, Any]) -> dict[str, Any]:
    """What may still be sent of an event whose mask failed: that it happened, and its numbers."""
    error = observation["error"]
    if error is not None:
        kind = to_plain(error.get("type")) if isinstance(error, dict) else None
        known = type(kind) is str and _CLASS_NAME.fullmatch(kind) is not None
        error = {"type": kind if known else "Error", "message": MASKED}
    return {
        "tags": _EMPTY_ARRAY,
        "context": _EMPTY_OBJECT,
        "observation": {
            "kind": observation["kind"],
            "name": None,
            "started_at": None,
            "input": None if observation["input"] is None else MASKED,
            "output": None if observation["output"] is None else MASKED,
            "error": error,
            "metadata": {"mask": "failed"},
            "metrics": observation["metrics"],
        },
    }


_EMPTY_ARRAY: Final = orjson.Fragment(b"[]")
_EMPTY_OBJECT: Final = orjson.Fragment(b"{}")


def _plain_event(envelope: dict[str, Any], observation: dict[str, Any]) -> dict[str, Any]:
    """Copy an event as plain values, so that a mask changes nothing of the host's."""
    if not is_plain(observation.values()):
        observation = _converted(observation)
    event = {**envelope, "observation": observation}
    try:
        copied: dict[str, Any] = orjson.loads(orjson.dumps(event))  # a twentieth of a conversion
    except TypeError:  # a lone surrogate, a wide integer
        copied = to_plain(event)
    return copied


def _converted(observation: dict[str, Any]) -> dict[str, Any]:
    plain = {}
    for name, value in observation.items():
        if type(value) is Snapshot:
            plain[name] = value.value()
            if value.original_bytes is not None:
                plain["truncated"] = {"original_bytes": value.original_bytes}
        else:
            plain[name] = to_plain(value)
    return plain


def _well_formed(answer: Any, kind: str) -> dict[str, Any]:
    """Take from a function's answer what an event may hold; raises where it is no event."""
    observation = {**_ALL_FIELDS, **answer["observation"], "kind": kind}
    metrics, metadata = split_metrics(observation["metrics"], observation["metadata"])
    observation |= {"metrics": metrics, "metadata": metadata}
    tags, context = answer.get("tags", []), answer.get("context", {})
    if not (type(context) is type(metadata) is type(metrics) is dict):
        raise TypeError("context, metadata and metrics are objects")
    if type(tags) is not list or not all(type(tag) is str for tag in tags):
        raise TypeError("tags are a list of strings")
    return {
        "tags": orjson.Fragment(encode_value(tags)),
        "context": orjson.Fragment(encode_value(context)),
        "observation": observation,
    }


_ALL_FIELDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("kind", "name", "started_at", "input", "output", "error")),
    "metadata": {},
    "metrics": {},
}


def _checked(function: MaskFunction) -> MaskFunction:
    if inspect.iscoroutinefunction(function):
        raise ConfigurationError(
            f"mask must be a plain function, got the coroutine function {function.__name__!r}."
            " It runs inside each recording call, which waits for nothing.",
            slug="bad-mask",
        )
    return function


def _listed(option: Any) -> list[Any]:
    try:
        return [option] if isinstance(option, str | re.Pattern) else list(option)
    except TypeError:
        raise _unusable(option) from None


def _unusable(entry: object) -> ConfigurationError:
    return ConfigurationError(
        f"mask takes key names, compiled patterns of str, or one function; got {entry!r:.200}."
        " Write for example mask=['password', re.compile(r'sk-\\w+')].",
        slug="bad-mask",
    )


class _Rules:
    """Key names and patterns, as a function like those that hosts write.

    A value whose key is named is replaced whole; what a pattern finds inside any text is replaced
    there. Text that is itself a JSON object or array, as the arguments of tool calls are, is
    looked into. ``metrics`` hold numbers only and stay as they are.
    """

    def __init__(self, entries: list[Any]) -> None:
        names = set()
        patterns = []
        for entry in entries:
            if isinstance(entry, str) and (name := "".join(_words(entry))):
                names.add(name)
            elif _is_usable_pattern(entry):
                patterns.append(entry)
            else:
                raise _unusable(entry)
        self._names = frozenset(names)
        self._longest_name = max(map(len, names), default=0)
        self._patterns = tuple(patterns)
        # The same few keys come with every event.
        self._is_named = lru_cache(maxsize=1024)(self._has_named_words)

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        observation = event["observation"]
        for owner, name in ((event, "context"), (observation, "metadata")):
            owner[name] = {} if self._is_named(name) else self._object(owner[name], 0)
        event["tags"] = [] if self._is_named("tags") else self._value(event["tags"], 0)
        error = observation["error"]
        if error is not None and self._is_named("error"):
            observation["error"] = {"type": "Error", "message": MASKED}
        elif error is not None:
            observation["error"] = self._value(error, 0)
        for name in observation.keys() - {"kind", "metadata", "error", "metrics"}:
            observation[name] = self._field(name, observation[name], 0)
        return event

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
            masked["base64"] = self._base64(masked["base64"], depth)
        return masked

    def _text(self, text: str, depth: int) -> str:
        end = ""
        if len(text) > _MAX_SEARCHED_CHARACTERS:
            if _may_be_json(text):
                return MASKED
            kept = _MAX_SEARCHED_CHARACTERS - _REMOVED_BEFORE_THE_END
            end = f"…[+{len(text) - kept} characters]"
            text = text[:_MAX_SEARCHED_CHARACTERS]
        text = self._found(self._json(text, depth))
        return text[:-_REMOVED_BEFORE_THE_END] + end if end else text

    def _json(self, text: str, depth: int) -> str:
        if not _may_be_json(text):
            return text
        try:
            inside = orjson.loads(text)
        except ValueError:  # it only began like JSON
            return text
        masked = self._value(inside, depth + 1)
        return text if masked == inside else orjson.dumps(masked).decode()

    def _base64(self, encoded: str, depth: int) -> str:
        try:
            text = base64.b64decode(encoded).decode("utf-8", "replace")
        except ValueError:  # the host's own, and not what it says
            return encoded
        return encoded if self._text(text, depth) == text else MASKED

    def _found(self, text: str) -> str:
        for pattern in self._patterns:
            text = pattern.sub(MASKED, text)
        return text

    def _has_named_words(self, key: str) -> bool:
        """Whether some words of a key, one behind the other, are a name: ``x-api-key``."""
        words = list(_words(key))
        for first in range(len(words)):
            run = ""
            for word in words[first:]:
                run += word
                if run in self._names:
                    return True
                if len(run) >= self._longest_name:
                    break
        return False


def _may_be_json(text: str) -> bool:
    return _JSON_BEGINS.match(text) is not None


_JSON_BEGINS: Final = re.compile(r"\s*[\[{]")
_WORD: Final = re.compile(r"[^\W\d_]+|\d+")
_CAPITAL: Final = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def _words(key: str) -> Iterator[str]:
    """Split a key into its words: ``userApiKey2`` is ``user``, ``api``, ``key``, ``2``."""
    for found in _WORD.finditer(_CAPITAL.sub(" ", key)):
        yield found[0].casefold()


def _is_usable_pattern(entry: object) -> bool:
    # One that finds nothing at all in a text would put its mark between any two characters.
    return (
        isinstance(entry, re.Pattern)
        and isinstance(entry.pattern, str)
        and entry.search("") is None
    )


def _free_key(key: str, taken: dict[str, Any]) -> str:
    return key if key not in taken else _free_key(f"{key}#{len(taken) + 1}", taken)
