"""Which schema an answer was to follow is in the record: its name and a hash."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from sessionbat._langchain.schemas import answer_schema
from tests.integration.conftest import Recorded


class Joke(BaseModel):
    setup: str


SCHEMA: dict[str, Any] = {"title": "Joke", "type": "object", "properties": {"setup": {}}}
BARE: dict[str, Any] = {"type": "object", "properties": {"setup": {}}}

NAMED: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "Joke", "schema": BARE}}
UNNAMED: dict[str, Any] = {"type": "json_schema", "schema": SCHEMA}

PARAMETERS: dict[str, dict[str, Any]] = {
    "openai": {"response_format": NAMED},
    "openai, a class": {"response_format": Joke},
    "responses": {"text": {"format": {"type": "json_schema", "name": "Joke", "schema": BARE}}},
    "together": {"response_format": {"type": "json_object", "schema": SCHEMA}},
    "gemini": {"response_mime_type": "application/json", "response_schema": SCHEMA},
    "gemini json schema": {"response_json_schema": SCHEMA},
    "gemini in its configuration": {"generation_config": {"response_schema": SCHEMA}},
    "ollama": {"format": SCHEMA},
    "anthropic": {"output_format": {"type": "json_schema", "schema": SCHEMA}},
    "anthropic's configuration": {"output_config": {"format": UNNAMED}},
    "vllm": {"extra_body": {"guided_json": SCHEMA}},
    "model_kwargs": {"model_kwargs": {"response_format": NAMED}},
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_schema_is_named_by_every_providers_parameter(name: str) -> None:
    known = answer_schema(PARAMETERS[name], {})
    assert known is not None
    assert known["name"] == "Joke"
    assert "schema_hash" in known or name == "openai, a class"


@pytest.mark.parametrize(
    "params", [{"response_format": {"type": "json_object"}}, {"format": "json"}]
)
def test_json_without_a_schema_is_said(params: dict[str, Any]) -> None:
    assert answer_schema(params, {}) == {"method": "json_mode"}


@pytest.mark.parametrize(
    "params",
    [
        {}, {"response_format": {"type": "text"}}, {"response_format": None}, {"format": ""},
        {"text": {"verbosity": "low"}}, {"generation_config": {"top_k": 3}}, {"text": 7},
    ],
)  # fmt: skip
def test_where_nothing_is_asked_for_nothing_is_said(params: dict[str, Any]) -> None:
    assert answer_schema(params, {}) is None


def test_another_schema_has_another_hash() -> None:
    other = {**SCHEMA, "properties": {"setup": {}, "punchline": {}}}
    first, second = answer_schema({"format": SCHEMA}, {}), answer_schema({"format": other}, {})
    assert first is not None
    assert second is not None
    assert first["schema_hash"] != second["schema_hash"]


def test_what_langchain_notes_of_the_method_is_recorded(recorded: Recorded) -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("{}")]))
    noted = {"kwargs": {"method": "json_schema"}, "schema": Joke}
    model.bind(ls_structured_output_format=noted).invoke("tell one", recorded.config())
    schema = recorded.only()["metadata"]["response_schema"]
    assert (schema["name"], schema["method"]) == ("Joke", "json_schema")
    assert len(schema["schema_hash"]) == 12


@pytest.mark.slow
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_the_real_clients_structured_output_names_its_schema(
    method: Any, recorded: Recorded, provider_url: str
) -> None:
    openai = pytest.importorskip("langchain_openai")
    model = openai.ChatOpenAI(model="gpt-5.4-mini", base_url=f"{provider_url}/v1", api_key="x")
    asking = model.with_structured_output(Joke, method=method, include_raw=True)
    with suppress(ValueError):  # the answer of the fake does not follow it
        asking.invoke("tell one in json", recorded.config())
    schema = recorded.only()["metadata"]["response_schema"]
    assert (schema["name"], schema["method"]) == ("Joke", method)


@pytest.mark.slow
def test_a_parameter_that_was_not_given_is_left_out(recorded: Recorded, provider_url: str) -> None:
    openai = pytest.importorskip("langchain_openai")
    model = openai.ChatOpenAI(model="gpt-5.4-mini", base_url=f"{provider_url}/v1", api_key="x")
    model.invoke("hi", recorded.config())
    assert "temperature" not in recorded.only()["metadata"]
    assert None not in recorded.only()["metadata"].values()
