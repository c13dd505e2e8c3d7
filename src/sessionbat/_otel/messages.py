"""What a model was asked and what it answered: the first source that says anything wins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sessionbat._otel import event_messages, finish_reasons, values
from sessionbat._otel.attributes import Attributes, Names
from sessionbat._otel.chat import (
    Message,
    answers_in,
    as_message,
    from_tree,
    messages_in,
    says_anything,
    words_of,
)
from sessionbat._otel.model import Span

_ASKED: Final = Names("gen_ai.input.messages")
_ASKED_WHOLE: Final = Names(
    *("langfuse.observation.input", "ai.prompt.messages", "ai.prompt", "gen_ai.prompt"),
    *("pydantic_ai.all_messages", "all_messages_events", "llm.openai.messages"),
    *("llm.anthropic.messages", "gen_ai.request.messages", "gcp.vertex.agent.llm_request"),
)
_ASKED_LAST: Final = Names(
    *("input.value", "traceloop.entity.input", "mlflow.spanInputs", "gen_ai.task.input"),
    "crewai.task.description",
)
_ASKED_AT_ALL: Final = Names(*_ASKED_WHOLE, *_ASKED_LAST, *_ASKED)
_ANSWERED: Final = Names("gen_ai.output.messages")
_ANSWERED_WHOLE: Final = Names(
    *("langfuse.observation.output", "gen_ai.completion", "llm.openai.choices"),
    *("llm.anthropic.content", "gen_ai.response.messages", "gcp.vertex.agent.llm_response"),
)
_ANSWERED_LAST: Final = Names(
    *("output.value", "traceloop.entity.output", "mlflow.spanOutputs", "gen_ai.task.output"),
    *("final_result", "crewai.crew.result"),
)
_INSTRUCTIONS: Final = Names("gen_ai.system_instructions", "gen_ai.system.instructions")
_TOOLS: Final = Names("gen_ai.tool.definitions", "ai.prompt.tools", "llm.openai.tools")
_REASONS: Final = Names(
    *("gen_ai.response.finish_reasons", "gen_ai.response.finish_reason", "llm.finish_reason"),
    *("ai.response.finishReason", "anthropic.message.stop_reason"),
    *("langfuse.observation.metadata.finish_reason", "gen_ai.completion.0.finish_reason"),
    *("llm.response.finish_reason", "llm.response.stop_reason"),
)
_ANY_TREE: Final = frozenset(
    {"llm.input_messages", "llm.output_messages", "gen_ai.prompt", "gen_ai.completion", "llm.tools"}
)
_PATHS_TO_REASON: Final = (
    ("choices", 0, "finish_reason"),
    ("generations", 0, 0, "generation_info", "finish_reason"),
    ("stop_reason",),
    ("candidates", 0, "finish_reason"),
    ("finish_reason",),
)
_AI_TEXT: Final = Names("ai.response.text", "ai.response.object", "ai.result.text")
_AI_CALLS: Final = Names("ai.response.toolCalls", "ai.result.toolCalls")
#: All that a conversation is read from.
_ANY: Final = Names(
    *(*_ASKED_AT_ALL, *_ANSWERED, *_ANSWERED_WHOLE, *_ANSWERED_LAST, *_INSTRUCTIONS, *_TOOLS),
    *(*_REASONS, *_AI_TEXT, *_AI_CALLS, "events"),
)
#: What an empty answer looks like in LangSmith's and other's forms.
_NOTHING: Final[tuple[Any, ...]] = (None, "", [], {}, "null")


@dataclass(frozen=True, slots=True)
class Conversation:
    """One model call's messages, or its payloads where nothing in them is a message."""

    asked: list[Message]
    answered: list[Message]
    #: What was asked and answered where there are no messages in it.
    other_input: Any = None
    other_output: Any = None
    tools: Any = None
    finish_reason: str | None = None
    raw_finish_reason: str | None = None

    @property
    def input(self) -> Any:
        """The event's input; None where nothing is known."""
        if self.asked:
            tools = {"tools": self.tools} if self.tools else {}
            return {"messages": self.asked, **tools}
        return self.other_input

    @property
    def output(self) -> Any:
        """The event's output; None where nothing is known."""
        return {"messages": self.answered} if self.answered else self.other_output


def conversation_of(span: Span, attributes: Attributes) -> Conversation:
    """Read what was asked and answered out of a span."""
    if not (span.events or attributes.present(_ANY) or attributes.has_tree(_ANY_TREE)):
        return Conversation([], [])  # as of an agent that says only what its calls took in all
    details = event_messages.details_in(span.events) if span.events else None
    if details:
        attributes = Attributes({**details, **attributes.raw})
    output = attributes.decoded(_ANSWERED_LAST)
    asked, other_input = _asked(span, attributes)
    answered, other_output = _answered(span, attributes, output)
    reason, raw = _reason(attributes, answered, output)
    return Conversation(
        asked=_with_instructions(attributes, asked),
        answered=answered,
        other_input=other_input,
        other_output=other_output,
        tools=_tools(attributes),
        finish_reason=reason,
        raw_finish_reason=raw,
    )


def asked_digest(asked: list[Message]) -> str | None:
    """Digest what the user said last: how many times he has spoken, and his words."""
    spoken = 0
    last = ""
    for message in asked:
        if values.text(message.get("role")) == "user" and (words := words_of(message).strip()):
            spoken += 1
            last = words
    return f"{spoken}:{values.digest(last)}" if spoken else None


def embedded_in(attributes: Attributes) -> Any:
    """Give the texts that were embedded; vectors are left out wherever they are."""
    texts = [values.dig(each, "embedding", "text") for each in attributes.list(_EMBEDDINGS)]
    texts = [each for each in texts if each is not None]
    if texts:
        return {"texts": texts} if len(texts) > 1 else {"text": texts[0]}
    given = attributes.decoded(_EMBEDDED)
    messages = messages_in(attributes.first(_ASKED))
    if messages and given is None:
        return {"text": "\n".join(map(words_of, messages))}
    if isinstance(given, dict):
        only = next(iter(given.values())) if len(given) == 1 else None
        return {"text": only} if isinstance(only, str) else given
    if given is None:
        return None
    if not isinstance(given, list | tuple):
        return {"text": given}
    return {"texts": [values.decoded(each) for each in given]}


_EMBEDDINGS: Final = "embedding.embeddings"
_EMBEDDED: Final = Names(
    *("ai.value", "ai.values", "embedding.text", "gen_ai.embeddings.input"),
    *(*_ASKED_WHOLE, *_ASKED_LAST),
)


def _asked(span: Span, attributes: Attributes) -> tuple[list[Message], Any]:
    found = _first(attributes, _ASKED, messages_in)
    if found:
        return found, None
    flat = [from_tree(each, "user") for each in attributes.list("llm.input_messages")]
    flat = flat or [from_tree(each, "user") for each in attributes.list("gen_ai.prompt")]
    flat = [each for each in flat if says_anything(each)]
    if flat:
        return flat, None
    found = _first(attributes, _ASKED_WHOLE, _messages_or_prompt)
    if found:
        return found, None
    found = event_messages.asked_in(span.events) or _written_events(attributes, answers=False)
    if found:
        return found, None
    found = _first(attributes, _ASKED_LAST, messages_in)
    if found:
        return found, None
    # The messages themselves last: they are read above, but for a text too long to be decoded.
    other = _without_call(attributes.decoded(_ASKED_AT_ALL))
    if isinstance(other, str):
        return [{"role": "user", "content": other}], None
    return [], other


def _answered(span: Span, attributes: Attributes, output: Any) -> tuple[list[Message], Any]:
    found = answers_in(attributes.raw.get(*_ANSWERED))
    if found:
        return found, None
    for tree in ("llm.output_messages", "gen_ai.completion"):
        flat = [from_tree(each, "assistant") for each in attributes.list(tree)]
        flat = [each for each in flat if says_anything(each)]
        if flat:
            return flat, None
    found = _of_ai_sdk(attributes) or _first(attributes, _ANSWERED_WHOLE, _answer_or_text)
    found = found or event_messages.answered_in(span.events)
    found = found or _written_events(attributes, answers=True) or _answer_or_text(output)
    if found:
        return found, None
    other = attributes.decoded(_ANSWERED_WHOLE)
    other = output if other is None else other
    other = attributes.decoded(_ANSWERED) if other is None else other
    if isinstance(other, dict) and all(value in _NOTHING for value in other.values()):
        return [], None
    if isinstance(other, dict) and set(other) & {"generations", "choices"}:
        return [], None  # an answer that says nothing, as that of a call that failed
    return [], None if other in _NOTHING else other


def _first(
    attributes: Attributes, sources: Names, read: Callable[[Any], list[Message] | None]
) -> list[Message]:
    for each in attributes.present(sources):
        value = attributes.raw[each]
        found = None if value is None else read(values.unrepresented(value))
        if found:
            return found
    return []


def _messages_or_prompt(value: Any) -> list[Message] | None:
    found = messages_in(value)
    if found and isinstance(value, dict) and values.text(value.get("system")):
        return [{"role": "system", "content": value["system"]}, *found]
    prompt = values.dig(value, "prompt")
    if not found and isinstance(prompt, str) and prompt:
        system = values.dig(value, "system")
        first = [{"role": "system", "content": system}] if isinstance(system, str) else []
        return [*first, {"role": "user", "content": prompt}]
    return found


def _answer_or_text(value: Any) -> list[Message] | None:
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}] if value not in ("", "null") else None
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return [{"role": "assistant", "content": each} for each in value[:16] if each]  # DSPy
    return answers_in(value)


def _written_events(attributes: Attributes, *, answers: bool) -> list[Message]:
    """Read events that are written into one attribute, as older Pydantic AI does."""
    found = []
    for each in values.listed(attributes.raw.get("events"))[: event_messages.MAX_EVENTS]:
        name = values.name(values.dig(each, "event.name"))
        if name is None or (name == event_messages.CHOICE) != answers:
            continue
        message = event_messages.message_of(name, each)
        found += [message] if message is not None else []
    return found


def _of_ai_sdk(attributes: Attributes) -> list[Message]:
    text = attributes.first(_AI_TEXT)
    calls = values.listed(attributes.first(_AI_CALLS))
    if text is None and not calls:
        return []
    message: Message = {"role": "assistant"}
    if text is not None:
        message["content"] = text
    if calls:
        message["tool_calls"] = [
            {
                "type": "function",
                "id": values.dig(each, "toolCallId"),
                "function": {
                    "name": values.text(values.dig(each, "toolName")),
                    "arguments": values.dig(each, "args") or values.dig(each, "input") or {},
                },
            }
            for each in calls
        ]
    return [message]


def _with_instructions(attributes: Attributes, asked: list[Message]) -> list[Message]:
    said = attributes.decoded(_INSTRUCTIONS)
    if said is None or not asked or asked[0].get("role") in ("system", "developer"):
        return asked
    if isinstance(said, str):
        return [{"role": "system", "content": said}, *asked]
    is_parts = isinstance(said, list) and all(isinstance(each, dict) for each in said)
    return [as_message({"role": "system", "parts": said}), *asked] if is_parts else asked


def _tools(attributes: Attributes) -> Any:
    given = values.unrepresented(attributes.first(_TOOLS))
    if isinstance(given, list | tuple) and given:
        return [values.decoded(each) for each in given]
    flat = [values.dig(each, "tool", "json_schema") for each in attributes.list("llm.tools")]
    return [values.decoded(each) for each in flat if each is not None] or None


def _without_call(given: Any) -> Any:
    """Take the arguments out of a call of a Python function; nothing where it had none."""
    if isinstance(given, dict) and set(given) <= {"args", "kwargs"}:
        given = given.get("kwargs") or given.get("args")
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str):
        return given[0]
    return given if given not in _NOTHING else None


def _reason(
    attributes: Attributes, answered: list[Message], output: Any
) -> tuple[str | None, str | None]:
    for each in _reasons(attributes, answered, output):
        spelt, raw = finish_reasons.normalised(each)
        if spelt is not None:
            return spelt, raw
    return None, None


def _reasons(attributes: Attributes, answered: list[Message], output: Any) -> Iterator[Any]:
    yield attributes.first(_REASONS)
    for message in answered:
        yield message.get("finish_reason")
    for payload in (output, attributes.decoded(_ANSWERED_WHOLE)):
        if isinstance(payload, dict):
            for path in _PATHS_TO_REASON:
                yield values.dig(payload, *path)
    choices = attributes.raw.get("llm.openai.choices")
    if choices is not None:
        yield values.dig(values.unrepresented(choices), 0, "finish_reason")
