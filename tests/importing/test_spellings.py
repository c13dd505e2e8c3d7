"""Every spelling of a transcript tells the same story."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from sessionbat._importing.forms import tell_form
from sessionbat._importing.transcripts import parse_transcript
from tests.importing.spellings import ANSWER, QUESTION, SPELLINGS, get, import_bytes, steps_of


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_tells_the_same_story(spelling: str) -> None:
    steps = steps_of(SPELLINGS[spelling])
    assert [(s.kind, s.turn) for s in steps] == [("llm", 1), ("tool", 1), ("llm", 1)]
    tool = steps[1]
    assert (tool.name, tool.input, tool.output) == ("track", {"n": 7}, "no such parcel")
    assert tool.error == {"type": "ToolError", "message": "no such parcel"}
    assert len({step.id for step in steps}) == 3


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_form_is_told_by_the_first_record(spelling: str) -> None:
    assert tell_form(SPELLINGS[spelling]) == spelling.partition(",")[0]


def test_sharegpt_is_read() -> None:
    record = {
        "id": "s",
        "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}],
    }
    assert tell_form(record) == "sharegpt"
    assert [(s.kind, s.turn) for s in steps_of(record)] == [("llm", 1)]


def test_every_spelling_reads_well_on_the_server(server: str) -> None:
    text = "\n".join(
        json.dumps({**record, "session_id": name}) for name, record in SPELLINGS.items()
    )
    assert import_bytes(server, text.encode()).complete
    for name in SPELLINGS:
        (turn,) = get(f"{server}/session.json?{urlencode({'app': 'file', 'id': name})}")["turns"]
        assert (name, turn["asked"], turn["answered"]) == (
            name,
            "Where is my parcel?",
            "It is lost.",
        )


def test_a_tool_result_begins_no_turn_but_text_beside_it_does() -> None:
    result = {"type": "tool_result", "tool_use_id": "c", "content": "[]"}
    asks = {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f"}]}
    words = {"type": "text", "text": "And hurry"}

    def turns(*blocks: Any) -> list[int]:
        messages = [QUESTION, asks, {"role": "user", "content": list(blocks)}, ANSWER]
        return [s.turn for s in steps_of({"messages": messages}) if s.kind == "llm"]

    assert turns(result) == [1, 1]
    assert turns(result, {"type": "text", "text": " "}) == [1, 1]
    assert turns(result, words) == [1, 2]
    assert turns(words) == [1, 2]


@pytest.mark.parametrize("flag", [{"error": False}, {"is_error": False}, {"status": "success"}, {}])
def test_a_result_that_says_of_no_error_is_none(flag: dict[str, Any]) -> None:
    record = SPELLINGS["chat"]
    tool = {"role": "tool", "tool_call_id": "c", "content": "error: no such parcel", **flag}
    messages = [*record["messages"][:2], tool, ANSWER]
    assert steps_of({"messages": messages})[1].error is None


def test_usage_of_a_message_is_its_metrics_and_of_a_record_its_context() -> None:
    said = {**ANSWER, "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    record = {"id": "s", "messages": [QUESTION, said], "usage": {"x": 1}, "reward": 0.5}
    transcript = parse_transcript(record)
    assert next(transcript.steps()).metrics == {"input_tokens": 7, "output_tokens": 2}
    assert transcript.context == {"usage": {"x": 1}, "reward": 0.5}


def test_instructions_and_tools_are_the_input_of_the_calls_not_context() -> None:
    transcript = parse_transcript(SPELLINGS["anthropic"])
    assert next(transcript.steps()).input == {"system": "Be brief.", "messages": [QUESTION]}
    assert transcript.context == {}


def test_without_an_id_a_session_is_named_by_what_is_said_in_it() -> None:
    one, again = (parse_transcript({"messages": [QUESTION, ANSWER]}) for _ in range(2))
    other = parse_transcript([QUESTION, {**ANSWER, "content": "Found."}])
    assert one.session_id == again.session_id != other.session_id
