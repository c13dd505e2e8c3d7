"""One odd part of a run costs itself only; secrets in a run's metadata stay in the process."""

from __future__ import annotations

import json
import logging
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.outputs import LLMResult

from sessionbat import LangChainCallbackHandler, SessionBat
from sessionbat.transports import MemoryTransport
from tests.integration.conftest import Recorded
from tests.integration.scripted import Scripted


class Level(Enum):
    HIGH = 3


class Hostile:
    """Raises whatever it is asked."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


def ask(recorded: Recorded, **config: Any) -> dict[str, Any]:
    Scripted().invoke("the question", recorded.config(**config))
    return recorded.only()


@pytest.mark.parametrize(
    ("key", "text"),
    [(42, "42"), (None, "None"), (True, "True"), (2.5, "2.5"), (("a", 1), "('a', 1)"),
     (Level.HIGH, "3"), (UUID(int=1), str(UUID(int=1)))],
)  # fmt: skip
def test_a_key_that_is_no_string_is_kept_as_text(key: Any, text: str, recorded: Recorded) -> None:
    observation = ask(recorded, metadata={"session_id": "S", key: "x", "kept": "y"})
    assert observation["metadata"][text] == "x"
    assert observation["metadata"]["kept"] == "y"
    assert observation["input"]["messages"][0]["content"] == "the question"
    assert observation["metadata"]["model"] == "scripted-1-2026-11-01"


@pytest.mark.parametrize(
    ("tag", "text"),
    [(42, "42"), (None, None), (2.5, "2.5"), (Level.HIGH, "3"), ("retry:attempt:soon",) * 2,
     ("graph:step:last",) * 2, ("retry:attempt:²",) * 2, ("seq:step:one",) * 2],
)  # fmt: skip
def test_a_tag_that_is_no_usual_one_is_kept(tag: Any, text: Any, recorded: Recorded) -> None:
    observation = ask(recorded, tags=["vip", tag, "last"])
    assert recorded.events[0]["tags"] == [t for t in ("vip", text, "last") if t is not None]
    assert observation["input"]
    assert "attempt" not in observation["metadata"]


ODD: dict[str, Any] = {
    "hostile": Hostile,
    "hostile inside": lambda: {"deep": [Hostile()]},
    "bytes": lambda: b"\xff",
    "no number": lambda: float("nan"),
    "wide": lambda: 10**400,
    "keys": lambda: {1: {2: 3}},
    "a class": lambda: Level,
}


@pytest.mark.parametrize("name", ODD)
def test_a_value_of_any_kind_costs_nothing_else(name: str, recorded: Recorded) -> None:
    observation = ask(recorded, metadata={"odd": ODD[name](), "kept": "y"}, tags=["vip"])
    assert observation["metadata"]["kept"] == "y"
    assert observation["input"]
    assert recorded.events[0]["tags"] == ["vip"]


def handler_of() -> tuple[LangChainCallbackHandler, MemoryTransport]:
    transport = MemoryTransport()
    return SessionBat(app="test-app", transport=transport).langchain_callback(), transport


def test_what_cannot_be_read_costs_that_part_only_and_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler, transport = handler_of()
    run_id = UUID(int=1)
    fine = Scripted().invoke("hi")
    with caplog.at_level(logging.WARNING):
        handler.on_chat_model_start(
            None,
            [["no message", fine]],  # type: ignore[list-item]
            run_id=run_id,
            tags=["vip"],
            metadata={"session_id": "S"},
            invocation_params={"model": "m", "tools": [Hostile(), {"name": "add"}]},
            options=Hostile(),
        )
        handler.on_llm_end(LLMResult(generations=[[]]), run_id=run_id)
    observation = transport.events[0]["observation"]
    assert observation["input"]["messages"][0] == "<unreadable>"
    assert observation["input"]["messages"][1]["content"] == "Hello, world!"
    assert observation["input"]["tools"][-1]["name"] == "add"
    assert observation["metadata"]["request_model"] == "m"
    assert transport.events[0]["session_id"] == "S"
    assert transport.events[0]["tags"] == ["vip"]
    assert handler.failures >= 1
    assert len([r for r in caplog.records if "langchain-callback" in r.message]) == 1


def test_an_odd_count_of_tokens_costs_no_answer(recorded: Recorded) -> None:
    message = Scripted().invoke("hi")
    message.usage_metadata = {"input_tokens": "many"}  # type: ignore[typeddict-item]
    message.response_metadata = {"model_name": 7, "token_usage": "none", "usage": [1]}
    Scripted(script=[message]).invoke("hi", recorded.config())
    assert recorded.only()["output"] == {"text": "Hello, world!"}


@pytest.mark.parametrize(
    "given",
    [
        {"api_key": "LEAK"},
        {"auth": {"api_key": "LEAK", "user": "ada"}},
        {"http": {"headers": {"Authorization": "Bearer LEAK", "Accept": "json"}}},
        {"headers": [("Cookie", "LEAK"), ("Accept", "json")]},
        {"calls": [{"depth": [{"dsn": "LEAK"}]}]},
        {"openai_key": "LEAK"},
        {"github_pat": "LEAK"},
        {"jwt": "LEAK"},
        {"db": "postgres://ada:LEAK@host/db"},
        {"user_token": "LEAK"},
        {42: {"pwd": "LEAK"}},
        {"passphrase": "LEAK"},
    ],
)
def test_secrets_in_a_runs_metadata_stay_in_the_process(given: Any, recorded: Recorded) -> None:
    observation = ask(recorded, metadata={"session_id": "S", "max_tokens": 5, **given})
    assert "LEAK" not in json.dumps(recorded.events)
    assert observation["metadata"]["max_tokens"] == 5


def test_what_stands_beside_a_secret_is_kept(recorded: Recorded) -> None:
    given = {"auth": {"api_key": "LEAK", "user": "ada"}, "n": [1, {"token": "LEAK", "page": 2}]}
    metadata = ask(recorded, metadata=given)["metadata"]
    assert metadata["auth"] == {"user": "ada"}
    assert metadata["n"] == [1, {"page": 2}]


def test_secrets_in_a_handlers_metadata_and_in_parameters_stay_in_the_process() -> None:
    transport = MemoryTransport()
    client = SessionBat(app="test-app", transport=transport)
    handler = client.langchain_callback(metadata={"team": "a", "conf": {"api_key": "LEAK", "b": 1}})
    handler.on_llm_start(
        {},
        ["hi"],
        run_id=UUID(int=1),
        invocation_params={"model": "m", "openai_key": "LEAK", "tool_choice": {"jwt": "LEAK"}},
    )
    handler.on_llm_end(LLMResult(generations=[[]]), run_id=UUID(int=1))
    assert "LEAK" not in json.dumps(transport.events)
    assert transport.events[0]["observation"]["metadata"]["conf"] == {"b": 1}


def test_a_real_model_with_odd_keys_fails_no_callback(recorded: Recorded) -> None:
    config = recorded.config(metadata={"session_id": "S", 42: "x"}, tags=["vip", 42])
    FakeListChatModel(responses=["a"]).invoke("q", config)
    assert recorded.handler.failures == 0
