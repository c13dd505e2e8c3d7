"""What an observation holds of messages, blocks, documents and results."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, Generation, LLMResult
from langchain_core.tools import tool

from sessionbat._langchain.payloads import Answer, model_answer, retrieval_answer, run_metadata
from tests.integration.conftest import Recorded
from tests.integration.scripted import Scripted, calls
from tests.integration.test_oracle_chains import Library, add


def answer(message: AIMessage, **totals: Any) -> Answer:
    generations = [[ChatGeneration(message=message)]]
    return model_answer(LLMResult(generations=generations, llm_output=totals or None))


def test_a_conversation_is_recorded_with_its_roles_and_calls(recorded: Recorded) -> None:
    asked = [
        SystemMessage("be brief"),
        HumanMessage("1 + 2?", name="ada"),
        calls(("add", {"a": 1, "b": 2}), text="let me see"),
        ToolMessage("3", tool_call_id="call_1", name="add"),
    ]
    Scripted().invoke(asked, recorded.config())
    assert recorded.only()["input"]["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "1 + 2?", "name": "ada"},
        {
            "role": "assistant",
            "content": "let me see",
            "tool_calls": [{"id": "call_1", "name": "add", "args": {"a": 1, "b": 2}}],
        },
        {"role": "tool", "content": "3", "name": "add", "tool_call_id": "call_1"},
    ]


PICTURE = b"not really a picture" * 20
ENCODED = base64.b64encode(PICTURE).decode()
SUMMED_UP = {"size": len(PICTURE), "sha256": hashlib.sha256(PICTURE).hexdigest()}


@pytest.mark.parametrize(
    ("block", "media_type"),
    [
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}"}},
            "image/png",
        ),
        ({"type": "image", "base64": ENCODED, "mime_type": "image/jpeg"}, "image/jpeg"),
        (
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/gif", "data": ENCODED},
            },
            "image/gif",
        ),
        ({"type": "input_audio", "input_audio": {"data": ENCODED, "format": "wav"}}, "wav"),
        (
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{ENCODED}"}},
            "application/pdf",
        ),
    ],
    ids=["openai-image", "standard-image", "anthropic-image", "audio", "file"],
)
def test_media_become_type_size_and_hash(
    block: dict[str, Any], media_type: str, recorded: Recorded
) -> None:
    Scripted().invoke(
        [HumanMessage([{"type": "text", "text": "what is this?"}, block])], recorded.config()
    )
    written = json.dumps(recorded.only()["input"])
    assert ENCODED not in written
    text, shown = recorded.only()["input"]["messages"][0]["content"]
    assert text == {"type": "text", "text": "what is this?"}
    assert json.dumps({"type": media_type, **SUMMED_UP}) in json.dumps(shown)


def test_reasoning_stands_apart_from_the_text() -> None:
    blocks: list[Any] = [
        {"type": "thinking", "thinking": "hm", "signature": "s" * 500},
        {"type": "text", "text": "Hello"},
        {"type": "text", "text": " there"},
    ]
    assert answer(AIMessage(blocks)).output == {"text": "Hello there", "reasoning": "hm"}


def test_blocks_that_say_more_than_text_are_kept() -> None:
    cited = {"type": "text", "text": "Hello", "citations": [{"url": "https://example.com"}]}
    assert answer(AIMessage([cited])).output == {"text": "Hello", "content": [cited]}


def test_calls_that_could_not_be_parsed_are_kept() -> None:
    broken = {
        "id": "c",
        "name": "add",
        "args": "{",
        "error": "not JSON",
        "type": "invalid_tool_call",
    }
    (call,) = answer(AIMessage("", invalid_tool_calls=[broken])).output["tool_calls"]
    assert call == {"id": "c", "name": "add", "args": "{", "error": "not JSON"}


def test_langchains_count_of_tokens_wins_over_the_providers() -> None:
    message = AIMessage(
        "x",
        usage_metadata={
            "input_tokens": 100,
            "output_tokens": 20,
            "total_tokens": 120,
            "input_token_details": {"cache_read": 60, "cache_creation": 30, "audio": 1},
            "output_token_details": {"reasoning": 12, "audio": 2},
        },
    )
    assert answer(message, usage={"input_tokens": 10, "output_tokens": 20}).metrics == {
        "input_tokens": 100,
        "output_tokens": 20,
        "total_tokens": 120,
        "cache_read_tokens": 60,
        "cache_creation_tokens": 30,
        "input_audio_tokens": 1,
        "reasoning_tokens": 12,
        "output_audio_tokens": 2,
    }


@pytest.mark.parametrize(
    "raw",
    [
        {"prompt_tokens": 100, "completion_tokens": 20},
        {"input_tokens": 10, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 30,
         "output_tokens": 20},
    ],
)  # fmt: skip
def test_the_providers_count_is_made_inclusive_where_it_stands_alone(raw: dict[str, int]) -> None:
    metrics = answer(AIMessage("x"), token_usage=raw).metrics
    assert (metrics["input_tokens"], metrics["output_tokens"]) == (100, 20)
    assert metrics["total_tokens"] == 120


def test_tokens_of_a_cache_entry_by_its_lifetime_count_as_its_creation() -> None:
    usage: Any = {
        "input_tokens": 100,
        "output_tokens": 20,
        "total_tokens": 120,
        "input_token_details": {"cache_creation": 0, "ephemeral_5m_input_tokens": 30},
    }
    assert answer(AIMessage("x", usage_metadata=usage)).metrics["cache_creation_tokens"] == 30


def test_an_answer_without_usage_has_no_token_metrics() -> None:
    assert answer(AIMessage("x")).metrics == {}


def test_a_text_models_prompt_and_answer_are_recorded(recorded: Recorded) -> None:
    FakeListLLM(responses=["four"]).invoke("2 + 2?", recorded.config())
    observation = recorded.only()
    assert observation["input"] == {"prompt": "2 + 2?"}
    assert observation["output"] == {"text": "four"}


def test_further_candidates_are_kept() -> None:
    two = LLMResult(generations=[[Generation(text="a"), Generation(text="b")]])
    assert model_answer(two).output == {"text": "a", "alternatives": [{"text": "b"}]}


def test_a_retrieval_has_its_query_and_its_documents_with_scores(recorded: Recorded) -> None:
    Library().invoke("locked out", recorded.config())
    observation = recorded.only()
    assert (observation["kind"], observation["name"]) == ("retrieval", "Library")
    assert observation["input"] == {"query": "locked out"}
    assert observation["output"] == {
        "documents": [{"score": 0.9, "content": "locked out", "metadata": {"score": 0.9}}]
    }
    assert observation["metrics"]["documents_found"] == 1


def test_a_documents_id_and_title_are_found() -> None:
    document = Document("text", metadata={"id": "d-1", "title": "A title", "relevance_score": 0.5})
    (found,) = retrieval_answer([document]).output
    assert (found["id"], found["title"], found["score"]) == ("d-1", "A title", 0.5)


def test_a_tools_artifact_is_recorded(recorded: Recorded) -> None:
    @tool(response_format="content_and_artifact")
    def look_up(key: str) -> tuple[str, dict[str, int]]:
        """Look up."""
        return "found", {"rows": 3}

    call = {"name": "look_up", "args": {"key": "k"}, "id": "c", "type": "tool_call"}
    look_up.invoke(call, recorded.config())
    assert recorded.only()["output"] == {"content": "found", "artifact": {"rows": 3}}


def test_a_tool_is_named_and_its_arguments_are_the_input(recorded: Recorded) -> None:
    add.invoke({"a": 1, "b": 2}, recorded.config())
    observation = recorded.only()
    assert (observation["kind"], observation["name"]) == ("tool", "add")
    assert (observation["input"], observation["output"]) == ({"a": 1, "b": 2}, {"content": 3})


def test_a_models_name_is_the_run_name_or_nothing(recorded: Recorded) -> None:
    Scripted().invoke("hi", recorded.config())
    Scripted().invoke("hi", recorded.config(run_name="triage"))
    assert [o["name"] for o in recorded.observations] == [None, "triage"]


def test_a_model_says_what_it_was_and_how_it_was_asked(recorded: Recorded) -> None:
    Scripted(temperature=0.3).bind(stop=["END"]).invoke("hi", recorded.config())
    metadata = recorded.only()["metadata"]
    assert metadata["model"] == "scripted-1-2026-11-01"
    assert metadata["request_model"] == "scripted-1"
    assert (metadata["temperature"], metadata["stop"]) == (0.3, ["END"])
    assert metadata["finish_reason"] == "stop"


def test_secrets_in_metadata_stay_in_the_process() -> None:
    given = {
        "openai_api_key": "1", "Authorization": "2", "password": "3", "session-token": "4",
        "client_secret": "5", "max_tokens": 100, "token_count": 3, "feature": "x",
    }  # fmt: skip
    kept = run_metadata(given, None, {})
    assert kept == {"max_tokens": 100, "token_count": 3, "feature": "x", "framework": "langchain"}


def test_tags_that_langgraph_writes_into_metadata_are_left_out() -> None:
    assert run_metadata({"tags": ["graph:step:1"]}, None, {}) == {"framework": "langchain"}


def test_neither_the_serialized_model_nor_its_repr_is_recorded(recorded: Recorded) -> None:
    FakeListLLM(responses=["secret-in-the-repr", "b"], i=1).invoke("hi", recorded.config())
    assert "secret-in-the-repr" not in json.dumps(recorded.events)


def test_a_piece_that_says_nothing_is_not_the_first_token(recorded: Recorded) -> None:
    model = Scripted(script=[["", "one "]])
    reading = model.stream("hi", recorded.config())
    next(reading)
    (run,) = recorded.handler._book._open.values()
    assert run.first_token_ns == 0
    next(reading)
    assert run.first_token_ns > 0
    reading.close()


def test_the_first_token_that_says_something_is_timed(recorded: Recorded) -> None:
    reading = Scripted(script=["one two"]).stream("hi", recorded.config())
    list(reading)
    metrics = recorded.only()["metrics"]
    assert 0 < metrics["time_to_first_token_ms"] <= metrics["latency_ms"]
    assert recorded.only()["metadata"]["stream"] is True
