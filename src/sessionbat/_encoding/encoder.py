"""Any Python value → valid JSON bytes, at the call: the snapshot that an event carries.

Plain values (what JSON itself knows) are encoded as they stand, after a look that bounds depth,
nodes and size. Everything else is first rebuilt from known types by ``plain_values``. Nothing here
raises, runs code of an unknown type or waits; what does not fit is cut where a reader can see it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import chain
from math import isfinite
from typing import Any, Final

import orjson

from sessionbat._encoding.class_facts import name_of
from sessionbat._encoding.cutting import (
    SHORTEST_CUT,
    cut_strings,
    cut_text,
    keep_items,
    mend_strings,
    mend_text,
    strings_of,
    text_size,
)
from sessionbat._encoding.plain_values import MAX_DEPTH, MAX_NODES, Conversion, to_plain
from sessionbat._encoding.well_formed import only_numbers, split_metrics
from sessionbat.event import MAX_EVENT_BYTES

# orjson must not encode what another thread has put there since the look.
_OPTIONS: Final = (
    orjson.OPT_UTC_Z | orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS
)
#: In the order of their turn to use the nodes of an event, each leaving some to those behind it.
_PAYLOAD: Final = ("error", "metrics", "metadata", "output", "input")
_NODES_KEPT_FOR_OTHERS: Final = 1000
_ATTEMPTS_TO_FIT: Final = 16
_NOT_SHOWN: Final = "<not shown: too long>"
_MAX_BARE_CHARACTERS: Final = 256
#: So few nodes can do no harm by repeating a long key.
_FEW_NODES: Final = 128
# Asks the string itself, never a ``__len__`` that a subclass has; a TypeError for any other key.
_text_length: Final = str.__len__
_ENVELOPE_TEXTS: Final = ("type", "id", "app", "session_id", "interaction_id")


class Snapshot:
    """A value as it was at one moment, already JSON; may stand for ``input`` or ``output``."""

    __slots__ = ("data", "original_bytes")

    def __init__(self, value: object) -> None:
        """Take the snapshot; later changes of ``value`` do not reach it."""
        #: How long it would have been, where it was cut; else None.
        self.original_bytes: int | None = None
        self.data = encode_value(value, on_cut=self._cut_from)

    def _cut_from(self, original_bytes: int) -> None:
        self.original_bytes = original_bytes

    def value(self) -> Any:
        """Decode it again into plain values."""
        return orjson.loads(self.data)


def encode_value(
    value: object,
    max_bytes: int = MAX_EVENT_BYTES,
    on_cut: Callable[[int], object] | None = None,
) -> bytes:
    """Encode one value by the table of ``docs/event-format.md``, cut to a limit; never raises.

    Args:
        value: Any Python value.
        max_bytes: The longest result allowed.
        on_cut: Told how long it would have been, where it had to be cut.
    """
    try:
        if is_plain((value,), max_bytes):
            line = _encode_as_is(value)
            if line is not None and len(line) <= max_bytes:
                return line
        # In a list, because a string on its own has nowhere to be cut in place.
        holder = [to_plain(value)]
        line = _encode_to_fit(holder, holder, holder, max_bytes + 2, on_cut or (lambda _: None))
        return line[1:-1] if line is not None else _NOT_SHOWN.encode()
    except Exception as failure:  # noqa: BLE001 - nothing is known to get here; the host is safe
        return orjson.dumps(_failure_note(failure))


def encode_event(
    envelope: dict[str, Any], observation: dict[str, Any], max_bytes: int = MAX_EVENT_BYTES
) -> bytes:
    """Encode one event as a single line; never raises and never exceeds ``max_bytes``.

    Args:
        envelope: The outer fields without ``observation``; it is completed in place.
        observation: The inner fields, holding any Python values; a ``Snapshot`` may be ``input`` or
            ``output``. What is no finite number in ``metrics`` moves to ``metadata``.
        max_bytes: The longest line allowed, at least ``event.MIN_EVENT_BYTES``. Of a longer one the
            longest strings are cut, and items left out where that is not enough.
    """
    try:
        asked, shown = observation["input"], observation
        if type(asked) is Snapshot and asked.original_bytes is None:
            # It was looked at when it was taken.
            shown, asked = {**observation, "input": orjson.Fragment(asked.data)}, None
        line = None
        if _are_numbers(observation["metrics"]) and is_plain(
            (
                asked,
                observation["output"],
                observation["metadata"],
                observation["error"],
                observation["name"],
                observation["started_at"],
            ),
            max_bytes,
        ):
            envelope["observation"] = shown
            line = _encode_as_is(envelope)
        envelope["observation"] = observation
        if line is None:
            line = _encode_field_by_field(envelope, observation, max_bytes)
        if line is None or len(line) > max_bytes:
            line = _encode_converted(envelope, observation, max_bytes)
        return line if line is not None else _encode_bare(envelope, observation, _NOT_SHOWN)
    except Exception as failure:  # noqa: BLE001 - nothing is known to get here; the host is safe
        return _encode_bare(envelope, observation, _failure_note(failure))


def _are_numbers(metrics: object) -> bool:
    if type(metrics) is not dict:
        return False
    try:
        for value in metrics.values():
            kind = type(value)
            if kind is not int and not (kind is float and isfinite(value)):
                return False
    except RuntimeError:  # another thread is changing it just now
        return False
    return True


def is_plain(values: Collection[Any], max_characters: int = MAX_EVENT_BYTES) -> bool:
    """Whether orjson can encode the values as they stand, within the limits on every side.

    Compares exact types by identity, so it runs nobody's code. It gives up before a shared, endless
    or huge structure could unfold: items, keys and characters count as often as they are met. It
    may say no to what would just have fitted; the conversion then finds the exact limit.
    """
    todo = [*values]
    texts: list[str] = []
    containers: list[Any] = []
    try:
        for value in todo:  # which grows meanwhile, by what each container holds
            kind = type(value)
            if kind is str:
                texts.append(value)
            elif kind is dict or kind is list or kind is tuple:
                if len(todo) + len(value) > MAX_NODES:
                    return False
                containers.append(value)
                todo += value.values() if kind is dict else value
            elif not (value is None or kind is int or kind is float or kind is bool):
                return False
        # Added up here, at once: a subtraction at each text takes a third of the whole look.
        characters = sum(map(len, texts))
        if len(todo) > _FEW_NODES:
            keys = chain.from_iterable([c for c in containers if type(c) is dict])
            characters += sum(map(_text_length, keys))
        # So few containers cannot lie within each other too deep.
        is_shallow = len(containers) <= MAX_DEPTH or _is_shallow(values)
    except (TypeError, RuntimeError):  # a key is no text; or another thread is changing it just now
        return False
    return is_shallow and characters <= max_characters


def _is_shallow(values: Collection[Any]) -> bool:
    """Whether no container lies more than ``MAX_DEPTH`` deep; only for what is known to be small.

    Level by level: a level's containers are what those of the level above hold.
    """
    level: Iterable[Any] = values
    for _ in range(MAX_DEPTH + 1):
        containers = [
            v for v in level if (kind := type(v)) is dict or kind is list or kind is tuple
        ]
        if not containers:
            return True
        level = chain.from_iterable(c.values() if type(c) is dict else c for c in containers)
    return False


def _encode_as_is(value: object) -> bytes | None:
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except Exception:  # noqa: BLE001 - a lone surrogate, a wide integer: it has to be converted
        return None


def _encode_field_by_field(
    envelope: dict[str, Any], observation: dict[str, Any], max_bytes: int
) -> bytes | None:
    """Encode an event of which only some fields need converting; None if it has to be cut."""
    fields = dict(observation)
    fields["metrics"], fields["metadata"] = split_metrics(fields["metrics"], fields["metadata"])
    for name, value in fields.items():
        if type(value) is Snapshot:
            if value.original_bytes is not None:
                return None
            fields[name] = orjson.Fragment(value.data)
        elif not is_plain((value,), max_bytes):
            fields[name] = plain = to_plain(value)
            if not is_plain((plain,), max_bytes):
                return None
    if type(fields["metadata"]) is not dict:
        return None
    return _encode_as_is({**envelope, "observation": fields})


def _encode_converted(
    envelope: dict[str, Any], observation: dict[str, Any], max_bytes: int
) -> bytes | None:
    cut_from = sum(
        taken.original_bytes or 0 for taken in observation.values() if type(taken) is Snapshot
    )
    for name, value in envelope.items():
        if type(value) is str:
            envelope[name] = mend_text(value)
    _convert_in_place(observation)
    if cut_from:
        observation["truncated"] = {"original_bytes": cut_from}

    def mark_as_cut(original_bytes: int) -> None:
        # What was cut from a snapshot, or before a mask saw the event, was longer still.
        earlier = (observation.get("truncated") or {}).get("original_bytes", 0)
        observation["truncated"] = {"original_bytes": max(original_bytes, earlier)}

    payload = [observation.get(name) for name in _PAYLOAD]
    return _encode_to_fit(envelope, observation, payload, max_bytes, mark_as_cut)


def _convert_in_place(observation: dict[str, Any]) -> None:
    nodes_left = MAX_NODES
    turns_left = len(_PAYLOAD)
    for name in (*_PAYLOAD, *(observation.keys() - set(_PAYLOAD))):
        value = observation.get(name)
        turns_left -= 1
        if type(value) is Snapshot:
            observation[name] = value.value()
            continue
        kept_back = max(turns_left * _NODES_KEPT_FOR_OTHERS, 0)
        conversion = Conversion(max(nodes_left - kept_back, 0))
        observation[name] = conversion.convert(value)
        nodes_left = conversion.nodes_left + kept_back
    observation["metrics"], observation["metadata"] = only_numbers(
        observation["metrics"], observation["metadata"]
    )


def _encode_to_fit(
    document: Any,
    texts_in: Any,
    items_in: list[Any],
    max_bytes: int,
    on_cut: Callable[[int], object],
) -> bytes | None:
    """Encode plain values, cutting in place until they fit; None if they cannot.

    Args:
        document: What is encoded.
        texts_in: The part of it whose strings may be cut.
        items_in: The parts of it that may lose items.
        max_bytes: The longest result allowed.
        on_cut: Told how long it would have been, before anything is cut.
    """
    characters, original_bytes = text_size(texts_in)
    if original_bytes <= max_bytes:
        line = _encode_mended(document, texts_in)
        if len(line) <= max_bytes:
            return line
        original_bytes = len(line)
    on_cut(original_bytes)
    items = MAX_NODES
    # A little less than all the room, so that one attempt is mostly enough.
    characters = characters * max_bytes * 63 // (original_bytes * 64)
    for _ in range(_ATTEMPTS_TO_FIT):
        characters = min(characters, cut_strings(texts_in, characters))
        line = _encode_mended(document, texts_in)
        if len(line) <= max_bytes:
            return line
        texts = strings_of(texts_in)
        text_bytes = len(orjson.dumps(texts))
        other_bytes = len(line) - text_bytes
        if other_bytes > max_bytes // 2 or len(texts) * SHORTEST_CUT > max_bytes // 2:
            items //= 4
            keep_items(items_in, items)
        else:
            # A little less than the share: the marks of the cuts take room as well.
            characters = characters * (max_bytes - other_bytes) * 31 // (text_bytes * 32)
    return None


def _encode_mended(document: Any, texts_in: Any) -> bytes:
    line = _encode_as_is(document)
    if line is not None:
        return line
    mend_strings(texts_in)
    return orjson.dumps(document, option=_OPTIONS)


def _encode_bare(envelope: dict[str, Any], observation: dict[str, Any], note: str) -> bytes:
    """Encode what is left of an event that cannot be shown: who and when, and a note why."""
    bare: dict[str, Any] = {"tags": [], "context": {}}
    for owner, names, target in (
        (envelope, _ENVELOPE_TEXTS, bare),
        (observation, ("kind", "name"), bare.setdefault("observation", {})),
    ):
        for name in names:
            value = owner.get(name)
            target[name] = _short_text(value) if type(value) is str else None
    bare["created_at"] = envelope.get("created_at")
    bare["observation"] |= {
        "started_at": None,
        "input": note,
        "output": note,
        "error": None,
        "metadata": {},
        "metrics": {},
        "truncated": observation.get("truncated"),
    }
    return orjson.dumps(bare, option=_OPTIONS)


def _short_text(text: str) -> str:
    return mend_text(cut_text(text, _MAX_BARE_CHARACTERS))


def _failure_note(failure: Exception) -> str:
    return mend_text(f"<not encoded: {name_of(type(failure))[:_MAX_BARE_CHARACTERS]}>")
