"""Payloads read as conversations, in the spellings of the common APIs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionbat.server.reading.chat import read_input, read_output
from sessionbat.server.reading.message import (
    Call,
    Other,
    Result,
    Words,
    read_message,
    words_of_user,
)

HELLO = {"role": "user", "content": "hello"}


def said(payload: Any) -> list[tuple[str, str]]:
    messages = map(read_message, read_input(payload).messages)
    return [(message.role, message.words) for message in messages]


@pytest.mark.parametrize(
    "payload",
    [
        "hello",
        {"messages": [HELLO]},
        {"messages": [[HELLO]]},
        {"messages": "hello"},
        [HELLO],
        {"prompt": "hello"},
        {"input": "hello"},
        {"input": [HELLO]},
        {"question": "hello", "k": 3},
        {"messages": [{"type": "human", "content": "hello"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]},
        {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]},
        {"messages": [{"role": "user", "parts": [{"type": "text", "content": "hello"}]}]},
    ],
)
def test_what_a_user_said_is_read_from_every_shape(payload: Any) -> None:
    assert said(payload) == [("user", "hello")]


def test_instructions_beside_the_messages_come_first() -> None:
    payload = {"system": "Be kind.", "messages": [HELLO], "temperature": 0}
    assert said(payload) == [("system", "Be kind."), ("user", "hello")]
    assert read_input(payload).rest == {"temperature": 0}


@pytest.mark.parametrize(
    "payload",
    [
        "fine",
        {"text": "fine"},
        {"content": "fine"},
        {"content": [{"type": "text", "text": "fine"}]},
        {"role": "assistant", "content": "fine"},
        {"message": {"role": "assistant", "content": "fine"}},
        {"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]},
        {"choices": [{"text": "fine"}]},
        {"output": [{"type": "message", "role": "assistant", "content": "fine"}]},
        {"messages": [{"type": "ai", "content": "fine"}]},
    ],
)
def test_what_a_model_answered_is_read_from_every_shape(payload: Any) -> None:
    (raw,) = read_output(payload).messages
    message = read_message(raw, "assistant")
    assert (message.role, message.words) == ("assistant", "fine")


@pytest.mark.parametrize(
    "message",
    [
        {"tool_calls": [{"id": "c", "function": {"name": "find", "arguments": '{"n": 1}'}}]},
        {"tool_calls": [{"id": "c", "name": "find", "args": {"n": 1}}]},
        {"content": [{"type": "tool_use", "id": "c", "name": "find", "input": {"n": 1}}]},
        {"parts": [{"type": "tool_call", "id": "c", "name": "find", "arguments": {"n": 1}}]},
        {"function_call": {"name": "find", "arguments": '{"n": 1}'}},
    ],
)
def test_a_tool_call_is_read_from_every_spelling(message: dict[str, Any]) -> None:
    assert read_message({"role": "assistant", **message}).parts == (Call("find", {"n": 1}),)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "tool_call_id": "c", "content": '{"n": 1}'},
        {"role": "tool", "content": [{"type": "text", "text": '{"n": 1}'}]},
        {"role": "user", "content": [{"type": "tool_result", "content": '{"n": 1}'}]},
        {"type": "function_call_output", "call_id": "c", "output": '{"n": 1}'},
    ],
)
def test_a_tools_answer_is_read_from_every_spelling(message: dict[str, Any]) -> None:
    assert read_message(message).parts == (Result({"n": 1}),)


def test_a_block_of_an_unknown_kind_is_kept() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:"}}
    message = read_message({"role": "user", "content": ["look", image], "refusal": "no"})
    assert message.parts == (Words("look"), Other(image), Other({"refusal": "no"}))


def test_what_has_no_messages_is_handed_back_whole() -> None:
    assert read_input({"weird": 1}).rest == {"weird": 1}
    assert read_output([3, 4]).rest == [3, 4]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "messages",
                    "role",
                    "content",
                    "type",
                    "text",
                    "tool_calls",
                    "function",
                    "name",
                    "parts",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@pytest.mark.slow
@given(json_values)
def test_no_value_is_too_odd_to_read(value: Any) -> None:
    for chat in (read_input(value), read_output(value)):
        for message in map(read_message, chat.messages):
            assert isinstance(message.words, str)


_ROLES = ["user", "human", "MessageRole.USER", "customer", "assistant", "tool", "", None, 1]
_CONTENTS = ["hello", "", " ", None, 5, ["hello", "there"], [{"type": "text", "text": "hello"}]]


@pytest.mark.parametrize("role", _ROLES)
@pytest.mark.parametrize("content", _CONTENTS)
def test_a_plain_message_says_the_same_with_another_key_beside(
    role: object, content: object
) -> None:
    plain = {"role": role, "content": content}
    assert words_of_user(plain) == words_of_user({**plain, "id": "m1"})


def test_words_of_a_user_are_those_of_no_other_role() -> None:
    assert words_of_user(HELLO) == words_of_user("hello") == "hello"
    assert words_of_user({"role": "human", "content": "hello"}) == "hello"
    assert words_of_user({"role": "assistant", "content": "hello"}) == ""
    assert words_of_user({"role": "tool", "content": "hello"}) == ""
