"""View model of one observation: a summary row (kind, duration, status) and its payloads.

Payloads may be anything, so values of the wrong type are handled everywhere, and all shown text is
charged to a ``Room``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sessionbat._otel.content_switches import switch_for
from sessionbat.server.pages.view import units
from sessionbat.server.pages.view.budget import Room
from sessionbat.server.pages.view.history import History, Known
from sessionbat.server.pages.view.json_text import Clipped, JsonText, clip
from sessionbat.server.reading.chat import answer_of
from sessionbat.server.reading.event_reading import EventReading, Timing, error_words, status_of
from sessionbat.server.reading.json_values import gist, is_number, mapping, text
from sessionbat.server.reading.message import Call, Message, Part, Result, Words, read_message


@dataclass(frozen=True, slots=True)
class PartView:
    """A piece of a message, or a whole payload: ``words`` (text), ``call``, ``data``, ``shown``."""

    kind: str
    name: str = ""
    text: Clipped | None = None
    value: JsonText | None = None
    #: The event that has shown it, for ``shown``.
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class MessageView:
    """One message, ready to print."""

    role: str
    name: str
    parts: list[PartView]


@dataclass(frozen=True, slots=True)
class ChatView:
    """A payload as a conversation: known messages counted, older ones collapsed, new ones open."""

    known: Known | None = None
    left_out: int = 0
    older: list[MessageView] = field(default_factory=list)
    new: list[MessageView] = field(default_factory=list)
    rest: JsonText | None = None


@dataclass(frozen=True, slots=True)
class DocumentView:
    """A retrieved document; ``share`` is its score as percent of the full bar, if it has one."""

    rank: int
    title: str
    id: str
    score: str
    share: float | None
    text: Clipped | None
    rest: JsonText | None


@dataclass(frozen=True, slots=True)
class RetrievalView:
    """A retrieval's query and its documents."""

    query: Clipped | None
    documents: list[DocumentView]
    found: int
    rest_in: JsonText | None
    rest_out: JsonText | None


@dataclass(frozen=True, slots=True)
class Fact:
    """A label and its value; ``exact`` is the full value if it was shortened."""

    label: str
    value: str
    exact: str = ""


@dataclass(frozen=True, slots=True)
class ErrorView:
    """An error: its type, its message, and all other fields."""

    type: str
    message: Clipped
    rest: JsonText | None


@dataclass(frozen=True, slots=True)
class ObservationView:
    """One observation. ``status`` is empty on success, ``error``, or the recorded status."""

    id: str
    kind: str
    label: str
    gist_in: str
    gist_out: str
    status: str
    timing: Timing
    tokens_in: str
    tokens_out: str
    error: ErrorView | None
    asked: ChatView | None
    answered: ChatView | None
    retrieval: RetrievalView | None
    arguments: PartView | None
    result: PartView | None
    facts: list[Fact]
    tags: list[str]
    context: list[Fact]
    metadata: JsonText | None
    #: How to switch content on, where the sender's instrumentation keeps it to itself.
    content_off: str
    #: Whether there is any input or output.
    has_content: bool


def present_observation(
    reading: EventReading, history: History, room: Room, shared: Mapping[str, Any], tags: set[str]
) -> ObservationView:
    """Build the view of one observation.

    Args:
        reading: The event.
        history: The messages that the page has shown so far; updated with this observation's.
        room: The remaining limit on shown text.
        shared: Context in the page's header, which is not repeated here.
        tags: Tags in the page's header, which are not repeated here.
    """
    is_llm, is_retrieval = reading.kind == "llm", reading.kind == "retrieval"
    if not is_llm and reading.error is None:
        history.add_result(reading.id, reading.output)
    return ObservationView(
        id=reading.id,
        kind=reading.kind,
        label=_label(reading),
        gist_in=_gist_in(reading),
        gist_out=_gist_out(reading),
        status=status_of(reading),
        timing=reading.timing,
        tokens_in=_metric(reading, "input_tokens"),
        tokens_out=_metric(reading, "output_tokens"),
        error=_present_error(reading.error, room),
        asked=_present_asked(reading, history, room) if is_llm else None,
        answered=_present_answered(reading, room) if is_llm else None,
        retrieval=_present_retrieval(reading, room) if is_retrieval else None,
        arguments=None if is_llm or is_retrieval else _present_value(reading.input, room),
        result=None if is_llm or is_retrieval else _present_value(reading.output, room),
        facts=list(_facts(reading)),
        tags=[tag for tag in reading.tags if tag not in tags],
        context=context_facts({k: v for k, v in reading.context.items() if k not in shared}),
        metadata=_printed(_other_metadata(reading), room),
        content_off=_content_off(reading),
        has_content=reading.input is not None or reading.output is not None,
    )


def context_facts(context: Mapping[str, Any]) -> list[Fact]:
    """List context as labels and short values."""
    return [Fact(str(key), _short(value)) for key, value in context.items()]


def _content_off(reading: EventReading) -> str:
    if reading.metadata.get("content") != "off":
        return ""
    scope = text(reading.metadata.get("instrumentation"))
    advice = switch_for(scope)
    return f"{advice} where {scope} runs" if advice else "its sender keeps it to itself"


_NOTHING: Final[tuple[Any, ...]] = (None, {}, [], "")
_METRICS: Final[dict[str, tuple[str, Callable[[float], str]]]] = {
    "latency_ms": ("Latency", units.latency),
    "time_to_first_token_ms": ("First token after", units.latency),
    "input_tokens": ("Input tokens", units.count),
    "output_tokens": ("Output tokens", units.count),
    "total_tokens": ("Total tokens", units.count),
    "cache_read_tokens": ("Read from cache", units.count),
    "cache_creation_tokens": ("Written to cache", units.count),
    "reasoning_tokens": ("Reasoning tokens", units.count),
    "cost_usd": ("Cost", units.money),
    "http_status": ("HTTP status", str),
    "documents_found": ("Documents found", units.count),
}


def _short(value: Any) -> str:
    return value[:400] if isinstance(value, str) else gist(value)


def _label(reading: EventReading) -> str:
    if reading.kind == "llm":
        return reading.name or text(reading.metadata.get("model")) or "model"
    if reading.kind == "retrieval":
        return reading.name or text(reading.metadata.get("index")) or "documents"
    return reading.name or reading.kind


def _gist_in(reading: EventReading) -> str:
    if reading.kind == "llm":
        return ""
    if reading.kind == "retrieval":
        query = _query(reading)
        return f"“{gist(query, 90)}”" if query else gist(reading.input, 90) if reading.input else ""
    return gist(reading.input, 90) if reading.input not in _NOTHING else ""


def _gist_out(reading: EventReading) -> str:
    if reading.error is not None:
        return gist(": ".join(part for part in error_words(reading.error) if part), 140)
    if reading.kind == "llm":
        return _gist_answer(reading)
    if reading.kind == "retrieval":
        return _gist_documents(_documents(reading))
    return gist(reading.output, 110) if reading.output not in _NOTHING else ""


def _gist_answer(reading: EventReading) -> str:
    answer = answer_of(reading.chat_out)
    if answer is None:
        return gist(reading.chat_out.rest, 140) if reading.chat_out.rest else ""
    asked = [f"{call.name}({gist(call.arguments, 70)})" for call in answer.calls[:4]]
    if asked:
        return "calls " + ", ".join(asked)
    return gist(answer.words, 140)


def _gist_documents(documents: list[Any]) -> str:
    scores = [s for s in map(_score, documents) if s is not None]
    best = f", best {max(scores):.2f}" if scores else ""
    if not documents:
        return "nothing found"
    return f"{units.count(len(documents))} document{'s'[: len(documents) != 1]}{best}"


def _metric(reading: EventReading, name: str) -> str:
    value = reading.metrics.get(name)
    return units.count(value) if is_number(value) else ""


def _present_error(error: Any, room: Room) -> ErrorView | None:
    if error is None:
        return None
    type_, message = error_words(error)
    rest = None
    if isinstance(error, dict):
        rest = {k: v for k, v in error.items() if k not in ("type", "message") and v is not None}
    return ErrorView(clip(type_, 200).text, room.clip(message), _printed(rest or None, room))


def _printed(value: Any, room: Room) -> JsonText | None:
    return None if value is None else room.print(value)


def _present_asked(reading: EventReading, history: History, room: Room) -> ChatView:
    messages = reading.chat_in.messages
    known = history.known(messages)
    history.add(reading.id, messages, answer_of(reading.chat_out))
    fresh = messages[known.messages :] if known else messages
    left_out = max(0, len(fresh) - room.limits.messages)
    shown = [_present_message(read_message(raw), room, history) for raw in fresh[left_out:]]
    opened = _first_open(shown)
    rest = _printed(reading.chat_in.rest, room)
    return ChatView(known, left_out, shown[:opened], shown[opened:], rest)


def _first_open(messages: list[MessageView]) -> int:
    """Return the first message to show open: the user's last one, if many come before it."""
    if len(messages) <= 4:
        return 0
    last = (i for i in range(len(messages) - 1, -1, -1) if messages[i].role == "user")
    return min(next(last, len(messages) - 2), len(messages) - 1)


def _present_answered(reading: EventReading, room: Room) -> ChatView:
    raw = reading.chat_out.messages[: room.limits.messages]
    messages = [_present_message(read_message(m, "assistant"), room, History()) for m in raw]
    rest = _printed(reading.chat_out.rest, room)
    return ChatView(left_out=len(reading.chat_out.messages) - len(raw), new=messages, rest=rest)


def _present_message(message: Message, room: Room, history: History) -> MessageView:
    parts = [_present_part(p, room, history) for p in message.parts[: room.limits.messages]]
    return MessageView(gist(message.role, 24), gist(message.name, 60), parts)


def _present_part(part: Part, room: Room, history: History) -> PartView:
    if isinstance(part, Words):
        return PartView("words", text=room.clip(part.text))
    if isinstance(part, Call):
        return PartView("call", part.name, value=room.print(part.arguments))
    if isinstance(part, Result):
        shown_by = history.shown_result(part.content)
        if shown_by is not None:
            return PartView("shown", event_id=shown_by)
    value = part.content if isinstance(part, Result) else part.value
    return _present_value(value, room) or PartView("data", value=room.print(None))


def _present_value(value: Any, room: Room) -> PartView | None:
    if value is None:
        return None
    if isinstance(value, str):
        return PartView("words", text=room.clip(value))
    return PartView("data", value=room.print(value))


def _query(reading: EventReading) -> str:
    if isinstance(reading.input, str):
        return reading.input
    return text(mapping(reading.input).get("query"))


def _documents(reading: EventReading) -> list[Any]:
    if isinstance(reading.output, list):
        return reading.output
    documents = mapping(reading.output).get("documents")
    return documents if isinstance(documents, list) else []


def _present_retrieval(reading: EventReading, room: Room) -> RetrievalView:
    documents = _documents(reading)
    shown = documents[: room.limits.documents]
    scores = [s for s in map(_score, shown) if s is not None]
    full = max([1.0, *scores])
    query = _query(reading)
    inputs = {k: v for k, v in mapping(reading.input).items() if k != "query" or not query}
    outputs: Any = {k: v for k, v in mapping(reading.output).items() if k != "documents"}
    if not isinstance(reading.output, (dict, list)):
        outputs = reading.output
    return RetrievalView(
        query=room.clip(query) if query else None,
        documents=[_present_document(i, d, full, room) for i, d in enumerate(shown, 1)],
        found=len(documents),
        rest_in=_printed(inputs or (None if query else reading.input), room),
        rest_out=_printed(outputs or None, room),
    )


_TEXTS: Final = ("content", "snippet", "page_content", "text")


def _present_document(rank: int, document: Any, full: float, room: Room) -> DocumentView:
    if isinstance(document, str):
        return DocumentView(rank, f"Document {rank}", "", "", None, room.clip(document), None)
    known = mapping(document)
    text_key = next((key for key in _TEXTS if text(known.get(key))), "")
    score = _score(document)
    id_ = known.get("id")
    id_text = "" if id_ is None else _short(id_)
    title = text(known.get("title")) or text(mapping(known.get("metadata")).get("title"))
    used = {"id", "title", "score", text_key}
    rest = {k: v for k, v in known.items() if k not in used and v not in (None, {}, [], "")}
    return DocumentView(
        rank=rank,
        title=clip(title or id_text or f"Document {rank}", 300).text,
        id=id_text,
        score="" if score is None else f"{score:.3g}",
        share=None if score is None else round(max(0.0, min(1.0, score / full)) * 100, 1),
        text=room.clip(known[text_key]) if text_key else None,
        rest=_printed(rest or (None if isinstance(document, dict) else document), room),
    )


def _score(document: Any) -> float | None:
    value = mapping(document).get("score")
    return float(value) if is_number(value) and abs(value) < 1e15 else None


def _facts(reading: EventReading) -> Iterator[Fact]:
    model = text(reading.metadata.get("model"))
    if model and reading.kind == "llm":
        yield Fact("Model", model)
    if reading.timing.start is not None:
        start = reading.timing.start
        yield Fact(
            "Started", f"{start:%H:%M:%S}.{start.microsecond // 1000:03d}", units.exact(start)
        )
    for name, given in reading.unreadable_times:
        yield Fact(name, f"{_short(given)} (cannot be read as a time)")
    for name, value in reading.metrics.items():
        label, write = _METRICS.get(name, (name, units.count))
        if is_number(value):
            yield Fact(label, write(value), str(value))
        elif value is not None:
            yield Fact(label, _short(value))
    if reading.cost_estimated is not None:
        yield Fact("Cost", units.estimated(reading.cost_estimated), str(reading.cost_estimated))


def _other_metadata(reading: EventReading) -> dict[str, Any] | None:
    shown = {"model"} if reading.kind == "llm" and text(reading.metadata.get("model")) else set()
    return {k: v for k, v in reading.metadata.items() if k not in shown} or None
