"""Whether an operation failed, and how: its type and message, in the event's form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sessionbat._otel import values
from sessionbat._otel.attributes import Attributes, Names
from sessionbat._otel.model import Span, SpanEvent

MAX_MESSAGE_CHARACTERS: Final = 10_000

_NAMED: Final = Names("error.type")
_STATUS_CODES: Final = Names("http.response.status_code", "http.status_code")
_LEVEL: Final = Names("langfuse.observation.level", "gen_ai.tool.status")
_MESSAGES: Final = ("langfuse.observation.status_message", "error.message", "exception.message")
_UNTOLD: Final = frozenset({"_other", "other", "error", "exception", "unknown"})
_CANCELLED: Final = ("CancelledError", "GeneratorExit", "AbortError", "cancelled", "canceled")
_TRACEBACK: Final = "Traceback (most recent call last)"
#: ``BadRequestError('Error code: 400')``, as LangSmith and LangChain write an exception.
_REPR: Final = re.compile(r"([A-Za-z_][\w.]{0,200})\((['\"])(.*)\2,?\)\s*\Z", re.DOTALL)
#: ``CancelledError()``, as they write one that says nothing.
_BARE: Final = re.compile(r"([A-Za-z_][\w.]{0,200}(?:Error|Exception|Exit|Interrupt))\(\)\Z")
#: ``BadRequestError: Error code: 400``.
_PREFIX: Final = re.compile(r"([A-Za-z_][\w.]{0,200}(?:Error|Exception|Exit|Timeout)): ")
_STATUS: Final = re.compile(r"(?:[Ee]rror code|status_code|HTTP|status code)[:=]? (\d{3})\b")


_NOTHING: Final = (None, None)


@dataclass(frozen=True, slots=True)
class Failure:
    """How an operation ended, when it did not end well."""

    type: str
    message: str
    is_cancelled: bool = False

    def to_event(self) -> dict[str, str]:
        """Write it as the event's ``error``."""
        return {"type": self.type, "message": self.message}


def failure_of(span: Span, attributes: Attributes) -> Failure | None:
    """Say how a span failed; None when it did not. A status that is unset means success."""
    named = attributes.name(_NAMED)
    if not (span.status == "error" or named or _says_so(attributes)):
        return None
    exception = _exception(span)
    raised = values.name(exception.get("exception.type"))
    message = _message(span, attributes, exception)
    if message.startswith("{"):
        message = _of_dictionary(message)
    spelt = _REPR.match(message.partition(_TRACEBACK)[0].strip()[:MAX_MESSAGE_CHARACTERS])
    bare = _BARE.match(message.partition(_TRACEBACK)[0].strip()[:MAX_MESSAGE_CHARACTERS])
    prefixed = _PREFIX.match(message)
    type_ = next(filter(_is_telling, (named, raised, (spelt or bare or _NOTHING)[1])), None)
    type_ = type_ or (prefixed[1] if prefixed else None) or named or raised or "Error"
    if spelt or bare:
        message = spelt[3] if spelt else ""
    elif prefixed and prefixed[1].rpartition(".")[2] == type_.rpartition(".")[2]:
        message = message[prefixed.end() :]
    message = message.partition(_TRACEBACK)[0].strip()[:MAX_MESSAGE_CHARACTERS]
    is_cancelled = (raised or type_).rpartition(".")[2] in _CANCELLED
    return Failure(type_, message, is_cancelled)


def http_status_of(attributes: Attributes, failure: Failure | None) -> int | None:
    """Give the HTTP status that the provider answered, also where only the message has it."""
    status = values.count(attributes.first(_STATUS_CODES))
    if status is None and failure is not None:
        written = _STATUS.search(failure.message[:500])
        status = int(written[1]) if written else None
    return status if status is not None and 100 <= status <= 599 else None


def _says_so(attributes: Attributes) -> bool:
    if not attributes.present(_LEVEL):
        return False
    level = values.text(attributes.raw.get("langfuse.observation.level")).upper()
    status = values.text(attributes.raw.get("gen_ai.tool.status")).lower()
    return level == "ERROR" or status == "error"


def _is_telling(type_: str | None) -> bool:
    return bool(type_) and (type_ or "").rpartition(".")[2].lower() not in _UNTOLD


def _exception(span: Span) -> Mapping[str, Any]:
    found: SpanEvent | None = None
    for event in span.events[:1000]:
        if event.name == "exception":
            found = event  # the last is the one that got out
    return found.attributes if found is not None else {}


def _message(span: Span, attributes: Attributes, exception: Mapping[str, Any]) -> str:
    said = (
        span.status_message,
        *(values.text(attributes.raw.get(each)) for each in _MESSAGES),
        values.text(exception.get("exception.message")),
    )
    return next((each[: 10 * MAX_MESSAGE_CHARACTERS] for each in said if each.strip()), "")


def _of_dictionary(message: str) -> str:
    """Read a message that is a dictionary in Python's spelling; OpenAI Agents write such."""
    said = values.unrepresented(message)
    for path in (("data", "error"), ("error", "message"), ("message",), ("error",)):
        inner = values.dig(said, *path)
        if isinstance(inner, str) and inner:
            return inner
    return message
