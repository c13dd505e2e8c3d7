"""Tokens where only the provider counts them: by every provider's names, to one measure."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import Generation, LLMResult

from sessionbat._langchain.payloads import model_answer
from tests.integration.test_payloads import answer

#: What is told, and in, out, total, read from cache, put into it, of reasoning.
TOLD: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "litellm": (
        {"prompt_tokens": 9844, "completion_tokens": 10, "total_tokens": 9854,
         "prompt_tokens_details": {"cached_tokens": 9000}, "cache_read_input_tokens": 9000,
         "cache_creation_input_tokens": 800},
        (9844, 10, 9854, 9000, 800, None),
    ),
    "litellm without a total": (
        {"prompt_tokens": 9844, "completion_tokens": 10, "cache_read_input_tokens": 9000},
        (9844, 10, 9854, 9000, None, None),
    ),
    "anthropic": (
        {"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 60,
         "cache_creation_input_tokens": 30},
        (100, 20, 120, 60, 30, None),
    ),
    "anthropic by lifetime": (
        {"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 0,
         "cache_creation_input_tokens": 30,
         "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}},
        (40, 20, 60, 0, 30, None),
    ),
    "anthropic names, with them included": (
        {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120,
         "cache_read_input_tokens": 60},
        (100, 20, 120, 60, None, None),
    ),
    "anthropic, the total without them": (
        {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30,
         "cache_read_input_tokens": 60},
        (70, 20, 90, 60, None, None),
    ),
    "bedrock": (
        {"inputTokens": 10, "outputTokens": 20, "totalTokens": 120, "cacheReadInputTokens": 60,
         "cacheWriteInputTokens": 30},
        (100, 20, 120, 60, 30, None),
    ),
    "bedrock without cache": (
        {"inputTokens": 10, "outputTokens": 20, "totalTokens": 30},
        (10, 20, 30, None, None, None),
    ),
    "openai": (
        {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
         "prompt_tokens_details": {"cached_tokens": 64},
         "completion_tokens_details": {"reasoning_tokens": 12}},
        (100, 20, 120, 64, None, 12),
    ),
    "responses": (
        {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120,
         "input_tokens_details": {"cached_tokens": 64},
         "output_tokens_details": {"reasoning_tokens": 12}},
        (100, 20, 120, 64, None, 12),
    ),
    "grok: reasoning apart": (
        {"prompt_tokens": 100, "completion_tokens": 8, "total_tokens": 120,
         "completion_tokens_details": {"reasoning_tokens": 12}},
        (100, 20, 120, None, None, 12),
    ),
    "deepseek": (
        {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
         "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36},
        (100, 20, 120, 64, None, None),
    ),
    "groq": (
        {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "queue_time": 0.1},
        (100, 20, 120, None, None, None),
    ),
    "hugging face": ({"generated_tokens": 20, "prefill_tokens": 100},
                     (100, 20, 120, None, None, None)),
    "watsonx": ({"generated_token_count": 20, "input_token_count": 100},
                (100, 20, 120, None, None, None)),
}  # fmt: skip
NAMES = (
    "input_tokens", "output_tokens", "total_tokens", "cache_read_tokens", "cache_creation_tokens",
    "reasoning_tokens",
)  # fmt: skip


def counted(metrics: Any) -> tuple[Any, ...]:
    return tuple(metrics.get(name) for name in NAMES)


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.parametrize("holder", ["token_usage", "usage"])
def test_the_totals_of_the_answer_are_read(name: str, holder: str) -> None:
    told, right = TOLD[name]
    assert counted(answer(AIMessage("x"), **{holder: told}).metrics) == right
    beside = AIMessage("x", response_metadata={holder: told})
    assert counted(answer(beside).metrics) == right


BESIDE: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "vertex": (
        {"usage_metadata": {"prompt_token_count": 100, "candidates_token_count": 8,
                            "total_token_count": 120, "cached_content_token_count": 64,
                            "thoughts_token_count": 12}},
        (100, 20, 120, 64, None, 12),
    ),
    "gemini in camel case": (
        {"usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 20,
                           "totalTokenCount": 120}},
        (100, 20, 120, None, None, None),
    ),
    "gemini with tools": (
        {"usageMetadata": {"promptTokenCount": 90, "candidatesTokenCount": 8,
                           "toolUsePromptTokenCount": 10, "thoughtsTokenCount": 12}},
        (100, 20, 120, None, None, 12),
    ),
    "ollama": (
        {"model": "m", "prompt_eval_count": 100, "eval_count": 20, "eval_duration": 10**9},
        (100, 20, 120, None, None, None),
    ),
    "cohere v2": (
        {"usage": {"billed_units": {"input_tokens": 5, "output_tokens": 20},
                   "tokens": {"input_tokens": 100, "output_tokens": 20}}},
        (100, 20, 120, None, None, None),
    ),
    "cohere v1": (
        {"meta": {"billed_units": {"input_tokens": 100, "output_tokens": 20}}},
        (100, 20, 120, None, None, None),
    ),
    "cohere's count": (
        {"token_count": {"input_tokens": 100, "output_tokens": 20}},
        (100, 20, 120, None, None, None),
    ),
    "bedrock's invocation": (
        {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 40, "outputTokenCount": 20,
                                              "cacheReadInputTokenCount": 60}},
        (100, 20, 120, 60, None, None),
    ),
    "hugging face details": (
        {"details": {"generated_tokens": 20, "finish_reason": "length"}},
        (None, 20, None, None, None, None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_what_is_told_beside_the_answer_is_read(name: str) -> None:
    told, right = BESIDE[name]
    assert counted(answer(AIMessage("x", response_metadata=told)).metrics) == right
    text = LLMResult(generations=[[Generation(text="x", generation_info=told)]])
    assert counted(model_answer(text).metrics) == right


def test_what_stands_in_additional_kwargs_is_read() -> None:
    usage = {"usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}}
    metrics = answer(AIMessage("x", additional_kwargs=usage)).metrics
    assert counted(metrics)[:3] == (100, 20, 120)


def test_a_count_of_nothing_by_langchain_gives_way_to_the_providers() -> None:
    nothing: Any = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    message = AIMessage("x", usage_metadata=nothing)
    metrics = answer(message, token_usage={"prompt_tokens": 3, "completion_tokens": 4}).metrics
    assert counted(metrics)[:3] == (3, 4, 7)
    assert counted(answer(message).metrics)[:3] == (0, 0, 0)


@pytest.mark.parametrize(
    "odd",
    [
        {"prompt_tokens": "100", "completion_tokens": None},
        {"prompt_tokens": True, "completion_tokens": float("nan")},
        {"prompt_tokens": [1]},
        {7: 8, None: 9},
        {"usage": "many"},
    ],
)
def test_what_is_no_number_counts_nothing(odd: Any) -> None:
    assert answer(AIMessage("x"), token_usage=odd).metrics == {}
