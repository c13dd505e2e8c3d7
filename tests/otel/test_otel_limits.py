"""What the mapper reads of one span at most: at each limit, and one beyond."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sessionbat._otel import chat, retrievals, transcripts, values
from sessionbat._otel.attributes import MAX_LOOKED_THROUGH, Attributes, Names
from sessionbat._otel.errors import MAX_MESSAGE_CHARACTERS
from sessionbat._otel.mapping import map_span
from tests.otel.making import events, genai, span

at_the_limit = pytest.mark.parametrize("beyond", [0, 1])


def observation(**attributes: Any) -> dict[str, Any]:
    (event,) = events(span(attributes={"gen_ai.operation.name": "chat", **attributes}))
    found: dict[str, Any] = event["observation"]
    return found


@at_the_limit
def test_as_many_attributes_as_may_be_are_looked_through(beyond: int) -> None:
    padding = {f"x.{n}": 1 for n in range(MAX_LOOKED_THROUGH - 1 + beyond)}
    found = Attributes({**padding, "llm.input_messages.0.message.role": "user"})
    assert bool(found.list("llm.input_messages")) is not bool(beyond)
    assert found.first(Names("llm.input_messages.0.message.role")) == "user"


@at_the_limit
def test_the_last_of_very_many_messages_are_kept(beyond: int) -> None:
    said = [{"role": "user", "content": str(n)} for n in range(chat.MAX_MESSAGES + beyond)]
    found = observation(**{"gen_ai.input.messages": said})["input"]["messages"]
    assert len(found) == chat.MAX_MESSAGES
    assert (found[0]["content"], found[-1]["content"]) == (str(beyond), said[-1]["content"])


@at_the_limit
def test_json_as_long_as_may_be_is_read_and_longer_stays_text(beyond: int) -> None:
    text = json.dumps(["x" * (values.MAX_JSON_CHARACTERS - 4 + beyond)])
    assert isinstance(values.decoded(text), str) is bool(beyond)


@at_the_limit
def test_as_many_values_as_may_be_are_kept_and_one_more_is_counted(beyond: int) -> None:
    found = values.plain([1] * (values.MAX_VALUES + beyond))
    assert found[-1] == ("<1 more>" if beyond else 1)


@at_the_limit
def test_values_as_deep_as_may_be_are_kept_and_one_more_is_named(beyond: int) -> None:
    deep: Any = 7
    for _ in range(values.MAX_DEPTH + beyond):
        deep = [deep]
    assert ("<depth>" in str(values.plain(deep))) is bool(beyond)


@at_the_limit
def test_a_name_as_long_as_may_be_is_kept_and_a_longer_one_cut(beyond: int) -> None:
    (event,) = events(genai(attributes={"session.id": "s" * (values.MAX_NAME_CHARACTERS + beyond)}))
    assert event["session_id"] == "s" * values.MAX_NAME_CHARACTERS


@at_the_limit
def test_bytes_as_long_as_may_be_are_kept_and_longer_ones_hashed(beyond: int) -> None:
    found = values.plain(b"x" * (values.MAX_BYTES + beyond))
    assert ("base64" in found) is not bool(beyond)
    assert ("sha256" in found) is bool(beyond)


@at_the_limit
def test_as_many_tool_calls_of_a_request_as_may_be_make_tools(beyond: int) -> None:
    asked: list[Any] = [{"role": "user", "content": "go"}]
    for n in range(transcripts.MAX_PAIRS + beyond):
        call = {"id": f"c{n}", "function": {"name": "f", "arguments": "{}"}}
        asked.append({"role": "assistant", "tool_calls": [call]})
        asked.append({"role": "tool", "tool_call_id": f"c{n}", "content": "done"})
    parts = map_span(genai(attributes={"gen_ai.input.messages": json.dumps(asked)}))
    assert len(parts) == 1 + transcripts.MAX_PAIRS


@at_the_limit
def test_as_many_documents_as_may_be_are_kept(beyond: int) -> None:
    found = [{"id": str(n)} for n in range(retrievals.MAX_DOCUMENTS + beyond)]
    said = {"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.documents": json.dumps(found)}
    (event,) = events(span(attributes=said))
    assert len(event["observation"]["output"]["documents"]) == retrievals.MAX_DOCUMENTS


@at_the_limit
def test_an_error_as_long_as_may_be_is_kept_and_a_longer_one_cut(beyond: int) -> None:
    said = {"gen_ai.operation.name": "chat"}
    message = "x" * (MAX_MESSAGE_CHARACTERS + beyond)
    (event,) = events(span(status="error", status_message=message, attributes=said))
    assert len(event["observation"]["error"]["message"]) == MAX_MESSAGE_CHARACTERS
