"""What is removed from an event before it may leave the process: the client's ``mask=`` option.

The recorder calls this on the caller's thread, before anything is encoded, queued or written. It
fails closed: where a mask raises or answers with junk, nothing that it might have removed is sent.
"""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from sessionbat._encoding import Snapshot, encode_value, is_plain
from sessionbat._encoding.plain_values import to_plain
from sessionbat._encoding.well_formed import only_numbers, split_metrics
from sessionbat._masking.rules import MASKED, Rules, unusable
from sessionbat._masking.slow_patterns import SLOW
from sessionbat.accounting import WITHHELD
from sessionbat.errors import ConfigurationError

#: Gets an event as a plain dict of its own and returns it, changed as it likes; None: do not send.
MaskFunction: TypeAlias = Callable[[dict[str, Any]], dict[str, Any] | None]
#: Key names and patterns, or a function.
MaskOption: TypeAlias = Iterable[str | re.Pattern[str]] | MaskFunction

#: Who and when: a mask may read these fields and not change them.
IDENTITY: Final = ("type", "id", "created_at", "app", "session_id", "interaction_id")

#: Why an event is not sent, or not as the mask would have it.
FAILED: Final = "mask-failed"
IDENTITY_KEPT: Final = "mask-identity"

_CLASS_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")
_METRIC_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")
#: What is removed before the mark of a cut, so that no half of a match is left there.
_REMOVED_BEFORE_A_CUT: Final = 64 * 1024
_CUT: Final = re.compile(r"…\[\+\d+ characters\]$")


class Masked(NamedTuple):
    """What a mask made of an event: the fields that it may change; why not, if not."""

    #: ``tags`` and ``context``, as JSON, and ``observation`` or ``feedback``; None: do not send.
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
        self._rules = None if callable(option) else Rules(_listed(option))
        self._function = _checked(option) if callable(option) else None
        self._running = threading.local()

    def apply(self, envelope: dict[str, Any], observation: dict[str, Any]) -> Masked:
        """Remove from an event what has to be removed; never raises.

        Args:
            envelope: The outer fields as plain values.
            observation: The inner fields, holding any Python values. Neither is changed.
        """
        try:
            event = _plain_event(envelope, observation)
            return self._applied(event, envelope, partial(_well_formed, kind=observation["kind"]))
        except Exception:  # noqa: BLE001 - the mask is the host's own code
            return Masked(_without_payload(observation), FAILED)

    def apply_to_feedback(self, envelope: dict[str, Any], feedback: dict[str, Any]) -> Masked:
        """Do the same for an event of feedback.

        Args:
            envelope: The outer fields as plain values.
            feedback: All its fields as plain values, whole. Neither is changed.
        """
        try:
            event = _copied({**envelope, "feedback": feedback})
            return self._applied(event, envelope, _well_formed_feedback)
        except Exception:  # noqa: BLE001 - the mask is the host's own code
            return Masked(_without_words(feedback), FAILED)

    def _applied(
        self,
        event: dict[str, Any],
        envelope: dict[str, Any],
        well_formed: Callable[[Any], dict[str, Any]],
    ) -> Masked:
        if self._function is None:
            assert self._rules is not None
            in_time = self._rules.apply(event)
            return Masked(well_formed(event), None if in_time else SLOW)
        answer = self._asked(self._function, event)
        if answer is None:
            return Masked(None, WITHHELD)
        changed = well_formed(answer)
        kept = all(answer.get(name, envelope[name]) == envelope[name] for name in IDENTITY)
        return Masked(changed, None if kept else IDENTITY_KEPT)

    def _asked(self, function: MaskFunction, event: dict[str, Any]) -> Any:
        if getattr(self._running, "inside", False):
            raise RecursionError("a mask must not record")
        self._running.inside = True
        try:
            return function(event)
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
            "metrics": _numbers_only(observation["metrics"]),
        },
    }


def _without_words(feedback: dict[str, Any]) -> dict[str, Any]:
    """Do the same for feedback: its number stays, and which observation it is about."""
    kept = {
        name: value if value is None or name in _NO_WORDS else MASKED
        for name, value in feedback.items()
    }
    return {"tags": _EMPTY_ARRAY, "context": _EMPTY_OBJECT, "feedback": kept}


_NO_WORDS: Final = ("score", "observation_id")


def _numbers_only(metrics: Any) -> dict[str, Any]:
    numbers, _ = only_numbers(metrics, {})
    return {name: number for name, number in numbers.items() if _METRIC_NAME.fullmatch(name)}


_EMPTY_ARRAY: Final = orjson.Fragment(b"[]")
_EMPTY_OBJECT: Final = orjson.Fragment(b"{}")


def _plain_event(envelope: dict[str, Any], observation: dict[str, Any]) -> dict[str, Any]:
    """Copy an event as it would be sent, of plain values: a mask changes nothing of the host's.

    Nothing is moved after this: what is no number in ``metrics`` is in ``metadata`` already.
    """
    observation = dict(observation)
    observation["metrics"], observation["metadata"] = only_numbers(
        observation["metrics"], observation["metadata"]
    )
    if not is_plain(observation.values()):
        observation = _converted(observation)
    return _copied({**envelope, "observation": observation})


def _copied(event: dict[str, Any]) -> dict[str, Any]:
    try:
        copied: dict[str, Any] = orjson.loads(orjson.dumps(event))  # a twentieth of a conversion
    except TypeError:  # a lone surrogate, a wide integer
        copied = to_plain(event)
    for name in ("tags", "context"):
        copied[name] = _without_torn_ends(copied[name])
    return copied


def _without_torn_ends(value: Any) -> Any:
    """Remove what stands before the mark of an earlier cut: it may be half of what is searched."""
    if type(value) is str:
        cut = _CUT.search(value, max(len(value) - 40, 0))
        return value if cut is None else value[: -_REMOVED_BEFORE_A_CUT - len(cut[0])] + cut[0]
    if type(value) is dict:
        return {key: _without_torn_ends(item) for key, item in value.items()}
    return [_without_torn_ends(item) for item in value] if type(value) is list else value


def _converted(observation: dict[str, Any]) -> dict[str, Any]:
    plain = {}
    for name, value in observation.items():
        if type(value) is Snapshot:
            plain[name] = value.value()
            if value.original_bytes is not None:
                plain[name] = _without_torn_ends(plain[name])
                plain["truncated"] = {"original_bytes": value.original_bytes}
        else:
            plain[name] = to_plain(value)
    return plain


def _well_formed(answer: Any, kind: str) -> dict[str, Any]:
    """Take from a function's answer what an event may hold; raises where it is no event."""
    observation = {**_ALL_FIELDS, **answer["observation"], "kind": kind}
    metrics, metadata = split_metrics(observation["metrics"], observation["metadata"])
    observation |= {"metrics": metrics, "metadata": metadata}
    if not (type(metadata) is type(metrics) is dict):
        raise TypeError("metadata and metrics are objects")
    return {**_well_formed_envelope(answer), "observation": observation}


def _well_formed_feedback(answer: Any) -> dict[str, Any]:
    """Do the same for feedback; its fields are brought into their form where they are encoded."""
    return {**_well_formed_envelope(answer), "feedback": dict(answer["feedback"])}


def _well_formed_envelope(answer: Any) -> dict[str, Any]:
    tags, context = answer.get("tags", []), answer.get("context", {})
    if type(context) is not dict:
        raise TypeError("context is an object")
    if type(tags) is not list or not all(type(tag) is str for tag in tags):
        raise TypeError("tags are a list of strings")
    return {
        "tags": orjson.Fragment(encode_value(tags)),
        "context": orjson.Fragment(encode_value(context)),
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
        raise unusable(option) from None
