"""What a transcript says: calls, tools, turns and their ids."""

from __future__ import annotations

import pytest

from sessionbat._importing.transcripts import parse_transcript
from tests.importing.transcripts import HELLO, HI, assistant, call, result, transcript


def test_the_input_of_a_model_call_is_the_conversation_so_far() -> None:
    rules = {"role": "system", "content": "Be brief."}
    steps = list(transcript(rules, HELLO, HI, HELLO, HI).steps())
    assert [step.input["messages"] for step in steps] == [[rules, HELLO], [rules, HELLO, HI, HELLO]]
    assert [step.output for step in steps] == [HI, HI]


def test_each_turn_of_the_user_is_an_interaction() -> None:
    steps = transcript(HI, HELLO, HELLO, HI, HI, HELLO, HI).steps()
    assert [step.turn for step in steps] == [0, 1, 1, 2]


def test_tools_come_after_the_call_that_asked_for_them_with_their_own_results() -> None:
    asks = assistant(call("c1", "find", '{"id": 7}'), call("c2", "count", "{}"))
    steps = list(transcript(HELLO, asks, result("c2", "[2]"), result("c1", "gone"), HI).steps())
    assert [(s.kind, s.name, s.input, s.output) for s in steps[1:3]] == [
        ("tool", "find", {"id": 7}, "gone"),
        ("tool", "count", {}, [2]),
    ]
    assert [step.kind for step in steps] == ["llm", "tool", "tool", "llm"]


def test_a_call_id_used_again_gets_its_own_result() -> None:
    asks = assistant(call("same", "find", "{}"))
    messages = (HELLO, asks, result("same", "first"), asks, result("same", "second"))
    tools = [step for step in transcript(*messages).steps() if step.kind == "tool"]
    assert [step.output for step in tools] == ["first", "second"]


def test_calls_of_one_message_that_share_an_id_get_their_results_in_order() -> None:
    asks = assistant(call("same", "find", "{}"), call("same", "find", "{}"))
    steps = transcript(HELLO, asks, result("same", "first"), result("same", "second")).steps()
    assert [step.output for step in steps if step.kind == "tool"] == ["first", "second"]


def test_a_result_before_the_call_is_not_its_own() -> None:
    asks = assistant(call("c1", "find", "{}"))
    steps = transcript(HELLO, result("c1", "stray"), asks, result("c1", "own")).steps()
    assert [step.output for step in steps if step.kind == "tool"] == ["own"]


def test_a_call_without_a_result_is_unanswered_and_not_an_error() -> None:
    steps = list(transcript(HELLO, assistant(call("c1", "find", "{}"))).steps())
    assert steps[1].output is None
    assert steps[1].metadata["status"] == "unanswered"
    assert steps[1].error is None


@pytest.mark.parametrize("text", ["1700.0", "0042", "{not json", "", '{"a": NaN}'])
def test_a_result_that_is_no_object_stays_the_text_it_is(text: str) -> None:
    asks = assistant(call("c1", "find", "{}"))
    steps = list(transcript(HELLO, asks, result("c1", text)).steps())
    assert steps[1].output == text


def test_arguments_that_are_no_json_stay_text() -> None:
    steps = list(transcript(HELLO, assistant(call("c1", "find", "id=7"))).steps())
    assert steps[1].input == "id=7"


def test_the_model_is_the_messages_or_the_lines_and_never_made_up() -> None:
    line = {"session_id": "s", "messages": [HELLO, {**HI, "model": "m1"}, HI]}
    assert [s.name for s in parse_transcript({**line, "model": "m0"}).steps()] == ["m1", "m0"]
    assert [s.name for s in parse_transcript(line).steps()] == ["m1", None]


def test_no_two_steps_have_one_id() -> None:
    asks = assistant(call("c", "find", "{}"), call("c", "find", "{}"))
    answers = (result("c", "same"), result("c", "same"))
    steps = list(transcript(HELLO, asks, *answers, asks, *answers, HI, HI).steps())
    assert len({step.id for step in steps}) == len(steps) == 8


def test_the_same_words_in_another_session_have_another_id() -> None:
    ids = {
        next(parse_transcript({"session_id": s, "messages": [HELLO, HI]}).steps()).id
        for s in ("a", "b")
    }
    assert len(ids) == 2
