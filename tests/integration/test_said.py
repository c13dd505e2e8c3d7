"""What a model says outside its message's content is in the record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from tests.integration.conftest import Recorded
from tests.integration.scripted import Scripted
from tests.integration.test_payloads import answer

HERE = "here-it-is"


def said(content: Any = "", **more: Any) -> dict[str, Any]:
    output: dict[str, Any] = answer(AIMessage(content, **more)).output
    return output


EXTRA: dict[str, Any] = {
    "audio": {"id": "a", "data": "UklG" * 50, "transcript": HERE},
    "refusal": HERE,
    "function_call": {"name": HERE, "arguments": '{"a": 1}'},
    "reasoning": {"type": "reasoning", "summary": [{"type": "summary_text", "text": HERE}]},
    "reasoning_content": HERE,
    "reasoning_details": [{"type": "reasoning.text", "text": HERE}],
    "thinking": {"text": HERE, "signature": "s"},
    "tool_outputs": [{"type": "web_search_call", "action": {"query": HERE}}],
    "tool_calls": [{"id": "c", "type": "function", "function": {"name": HERE, "arguments": "{"}}],
    "citations": [{"url": f"https://example.com/{HERE}"}],
    "search_results": [{"title": HERE}],
    "documents": [{"text": HERE}],
    "something_of_next_year": {"words": HERE},
}


@pytest.mark.parametrize("name", EXTRA)
def test_fields_beside_the_content_are_recorded(name: str) -> None:
    assert HERE in json.dumps(said(additional_kwargs={name: EXTRA[name]}))


BLOCKS: dict[str, Any] = {
    "thinking": {"type": "thinking", "thinking": HERE},
    "bedrock reasoning": {"type": "reasoning_content", "reasoning_content": {"text": HERE}},
    "responses reasoning": {"type": "reasoning", "summary": [{"text": HERE}]},
    "open reasoning": {"type": "reasoning", "summary": [], "content": [{"text": HERE}]},
    "standard reasoning": {"type": "reasoning", "reasoning": HERE},
    "gemini thought": {"type": "text", "text": HERE, "thought": True},
}


@pytest.mark.parametrize("name", BLOCKS)
def test_reasoning_of_every_shape_stands_apart_from_the_text(name: str) -> None:
    output = said([BLOCKS[name], {"type": "text", "text": "Hello"}])
    assert (output["reasoning"], output["text"]) == (HERE, "Hello")


KEPT: dict[str, Any] = {
    "refusal": {"type": "refusal", "refusal": HERE},
    "web search": {"type": "web_search_call", "action": {"query": HERE}},
    "code": {"type": "code_interpreter_call", "code": HERE},
    "mcp": {"type": "mcp_call", "name": HERE, "output": "x"},
    "computer": {"type": "computer_call", "action": {"type": "type", "text": HERE}},
    "anthropic server tool": {"type": "server_tool_use", "name": "w", "input": {"q": HERE}},
    "anthropic result": {"type": "web_search_tool_result", "content": [{"title": HERE}]},
    "standard server call": {"type": "server_tool_call", "name": "w", "args": {"q": HERE}},
    "gemini code": {"type": "executable_code", "executable_code": HERE},
    "annotations": {"type": "text", "text": "x", "annotations": [{"url": HERE}]},
    "citations": {"type": "text", "text": "x", "citations": [{"cited_text": HERE}]},
    "a call nobody parsed": {"type": "function_call", "name": HERE, "arguments": "{}"},
    "an unparsed tool use": {"type": "tool_use", "name": HERE, "input": {}},
}


@pytest.mark.parametrize("name", KEPT)
def test_blocks_that_say_something_are_kept(name: str) -> None:
    assert HERE in json.dumps(said([KEPT[name]]))


def test_spoken_words_are_the_text_and_the_sound_is_summed_up() -> None:
    output = said(additional_kwargs={"audio": EXTRA["audio"]})
    assert output["text"] == HERE
    assert output["audio"]["data"]["size"] == 150


def test_a_legacy_call_is_a_call() -> None:
    output = said(additional_kwargs={"function_call": EXTRA["function_call"]})
    assert output == {"text": "", "tool_calls": [{"id": None, "name": HERE, "args": {"a": 1}}]}


def test_calls_are_not_told_twice() -> None:
    call = {"id": "c", "name": "add", "args": {"a": 1}, "type": "tool_call"}
    raw = [{"id": "c", "function": {"name": "add", "arguments": '{"a": 1}'}}]
    output = said(tool_calls=[call], additional_kwargs={"tool_calls": raw})
    assert output == {"text": "", "tool_calls": [{"id": "c", "name": "add", "args": {"a": 1}}]}
    block = {"type": "tool_use", "id": "c", "name": "add", "input": {"a": 1}}
    assert "content" not in said([block], tool_calls=[call])


def test_reasoning_that_is_not_to_be_read_is_counted() -> None:
    hidden = {"type": "redacted_thinking", "data": "x" * 100}
    assert said([hidden, {"type": "text", "text": "Hi"}])["redacted_reasoning"] == 1


def test_grounds_and_blocks_of_gemini_are_kept() -> None:
    grounds = {"grounding_metadata": {"web_search_queries": [HERE]}}
    output = said("Hello", response_metadata={**grounds, "finish_reason": "STOP"})
    assert output == {"text": "Hello", "additional": grounds}


def test_a_refusal_said_before_is_part_of_the_conversation(recorded: Recorded) -> None:
    before = [
        HumanMessage("do it"),
        AIMessage("", additional_kwargs={"refusal": HERE}),
        AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
    ]
    Scripted().invoke(before, recorded.config())
    _, refused, called = recorded.only()["input"]["messages"]
    assert refused["refusal"] == HERE
    assert called["tool_calls"] == [{"id": None, "name": "f", "args": {}}]


def test_an_ordinary_answer_says_nothing_more() -> None:
    told = {
        "model_name": "m",
        "finish_reason": "stop",
        "token_usage": {},
        "id": "x",
        "logprobs": None,
    }
    extra = {"refusal": None, "parsed": {"a": 1}}
    assert said("Hi", response_metadata=told, additional_kwargs=extra) == {"text": "Hi"}
