"""The real provider packages against their APIs on loopback, whole and streamed."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from tests.integration.conftest import Recorded
from tests.integration.oracle import recorded_as
from tests.integration.test_oracle_chains import add

pytestmark = pytest.mark.slow  # every scenario twice, beside LangChain's own tracer

PROVIDERS = ("openai", "anthropic")
WAYS = ("invoke", "stream", "ainvoke", "astream")


def model_of(provider: str, url: str, model: str = "answers") -> Any:
    # Here, because every worker collects this file, and their packages take four seconds to load.
    if provider == "openai":
        ChatOpenAI = pytest.importorskip("langchain_openai").ChatOpenAI
        return ChatOpenAI(
            model=model,
            base_url=f"{url}/v1",
            api_key="sk-never-sent-anywhere",
            max_retries=0,
            stream_usage=True,
            temperature=0.2,
        )
    ChatAnthropic = pytest.importorskip("langchain_anthropic").ChatAnthropic
    return ChatAnthropic(
        model=model, base_url=url, api_key="sk-never-sent-anywhere", max_retries=0, temperature=0.2
    )


def run(model: Any, way: str, config: dict[str, Any]) -> None:
    async def read() -> None:
        async for _ in model.astream("hi", config):
            pass

    if way == "invoke":
        model.invoke("hi", config)
    elif way == "stream":
        list(model.stream("hi", config))
    elif way == "ainvoke":
        asyncio.run(model.ainvoke("hi", config))
    else:
        asyncio.run(read())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("asked", ["text", "tools", "refused"])
def test_the_handler_and_langchains_own_tracer_agree(
    provider: str,
    way: str,
    asked: str,
    provider_url: str,
    recorded: Recorded,
) -> None:
    model = model_of(provider, provider_url, "refuses" if asked == "refused" else "answers")
    if asked == "tools":
        model = model.bind_tools([add])
    with suppress(Exception):
        run(model, way, {"callbacks": [recorded.oracle, recorded.handler]})
    expected = recorded.oracle.expectation()
    assert len(expected) == 1
    assert recorded_as(recorded.events) == expected


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_input_tokens_include_the_cached_ones(
    provider: str,
    way: str,
    provider_url: str,
    recorded: Recorded,
) -> None:
    run(model_of(provider, provider_url), way, recorded.config())
    metrics = recorded.only()["metrics"]
    counted = {name: metrics[name] for name in ("input_tokens", "output_tokens", "total_tokens")}
    assert counted == {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
    if provider == "openai":
        assert (metrics["cache_read_tokens"], metrics["reasoning_tokens"]) == (64, 12)
    else:
        assert (metrics["cache_read_tokens"], metrics["cache_creation_tokens"]) == (60, 30)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_answer_says_which_model_gave_it(
    provider: str,
    way: str,
    provider_url: str,
    recorded: Recorded,
) -> None:
    run(model_of(provider, provider_url), way, recorded.config())
    observation = recorded.only()
    metadata = observation["metadata"]
    answered = {"openai": "gpt-5.4-mini-2026-03-17", "anthropic": "claude-test-20260101"}
    assert metadata["model"] == answered[provider]
    assert (metadata["request_model"], metadata["provider"]) == ("answers", provider)
    assert metadata["temperature"] == 0.2
    assert metadata["finish_reason"] in ("stop", "end_turn")
    if "stream" not in way:  # of a stream LangChain keeps its own id only
        assert metadata["response_id"] in ("chatcmpl-1", "msg_1")
    assert observation["output"]["text"] == "Hello there"
    assert ("time_to_first_token_ms" in observation["metrics"]) == ("stream" in way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_tools_offered_and_the_calls_asked_for_are_kept(
    provider: str,
    way: str,
    provider_url: str,
    recorded: Recorded,
) -> None:
    run(model_of(provider, provider_url).bind_tools([add]), way, recorded.config())
    observation = recorded.only()
    (call,) = observation["output"]["tool_calls"]
    assert (call["name"], call["args"]) == ("add", {"a": 1, "b": 2})
    assert call["id"]
    (offered,) = observation["input"]["tools"]
    assert offered["name"] == "add"
    assert len(offered["schema_hash"]) == 12


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_refusal_says_its_status_and_keeps_headers_and_keys_out(
    provider: str,
    provider_url: str,
    recorded: Recorded,
) -> None:
    with suppress(Exception):
        model_of(provider, provider_url, "refuses").invoke("hi", recorded.config())
    observation = recorded.only()
    assert observation["error"]["type"].endswith("RateLimitError")
    assert observation["error"]["status_code"] == 429
    assert observation["metrics"]["http_status"] == 429
    assert observation["output"] is None
    assert observation["metadata"]["model"] == "refuses"
    whole = json.dumps(recorded.events)
    assert "do-not-record" not in whole
    assert "never-sent" not in whole
