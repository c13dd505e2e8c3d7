"""Costs are estimated of known models only, each kind of token by its own price."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from sessionbat.server.prices.estimating import MAX_KNOWN_MODELS, MAX_NAME_CHARACTERS, estimator
from sessionbat.server.prices.price_table import PriceTable, shipped_table
from sessionbat.server.prices.rates import ModelPrices, Period, Rates, Tiers
from sessionbat.server.reading.usage import Usage, read_usage

HOUR_US = 3_600_000_000


def usage(
    model: str = "gpt-5.4-mini",
    provider: str | None = "openai",
    given: int = 1_000_000,
    answer: int = 0,
    read: int = 0,
    written: int = 0,
    reasoning: int = 0,
    at_us: int = 1_795_456_800_000_000,
) -> Usage:
    return Usage(provider, model, at_us, given, answer, read, written, reasoning)


def rates(**of: Any) -> Rates:
    return Rates(of)


PRICES = rates(input=2.0, output=10.0, cache_read=0.2, cache_write=2.5, reasoning=20.0)


@pytest.mark.parametrize(
    ("counts", "dollars"),
    [
        ({}, 2.0),
        ({"answer": 500_000}, 7.0),
        ({"read": 400_000}, 1.28),
        ({"written": 400_000}, 2.2),
        ({"read": 400_000, "written": 600_000}, 1.58),
        ({"answer": 500_000, "reasoning": 100_000}, 8.0),
        ({"given": 0}, 0.0),
    ],
)
def test_each_token_is_paid_as_what_it_is(counts: dict[str, int], dollars: float) -> None:
    assert PRICES.cost(usage(**counts)) == pytest.approx(dollars, rel=1e-12)


@pytest.mark.parametrize(
    ("counts", "dollars"),
    [({"read": 400_000}, 2.0), ({"written": 9}, 2.0), ({"answer": 10, "reasoning": 9}, 2.0001)],
)
def test_a_part_without_a_price_is_paid_as_the_whole(
    counts: dict[str, int], dollars: float
) -> None:
    assert rates(input=2.0, output=10.0).cost(usage(**counts)) == pytest.approx(dollars)


@pytest.mark.parametrize(
    "counts",
    [
        {"read": 1_000_001},
        {"written": 1_000_001},
        {"read": 600_000, "written": 600_000},
        {"answer": 5, "reasoning": 6},
    ],
)
def test_parts_larger_than_their_whole_have_no_price(counts: dict[str, int]) -> None:
    assert PRICES.cost(usage(**counts)) is None


def test_a_model_that_is_not_paid_by_tokens_has_no_price() -> None:
    assert rates(requests=12.0).cost(usage()) is None


@pytest.mark.parametrize(
    ("given", "price"),
    [(200_000, 3.0), (200_001, 6.0), (500_000, 6.0), (500_001, 9.0)],
)
def test_a_tier_is_paid_for_all_tokens(given: int, price: float) -> None:
    tiered = rates(input=Tiers(3.0, ((200_000, 6.0), (500_000, 9.0))))
    assert tiered.cost(usage(given=given)) == pytest.approx(given * price / 1e6, rel=1e-12)


@pytest.mark.parametrize(
    ("at_hour", "price"), [(0, 5.0), (15, 5.0), (16, 1.0), (17, 1.0), (24, 5.0)]
)
def test_prices_of_a_time_of_day(at_hour: int, price: float) -> None:
    cheap = Period(daily_us=(16 * HOUR_US, 18 * HOUR_US))
    prices = ModelPrices(((Period(), rates(input=5.0)), (cheap, rates(input=1.0))))
    assert prices.cost(usage(at_us=at_hour * HOUR_US)) == pytest.approx(price)


def test_a_time_of_day_may_pass_midnight() -> None:
    night = Period(daily_us=(22 * HOUR_US, 2 * HOUR_US))
    assert [night.covers(hour * HOUR_US) for hour in (21, 22, 23, 24, 25, 26, 27)] == [
        *(False, True, True, True, True, False, False)
    ]


def test_a_price_applies_from_its_day_on() -> None:
    prices = ModelPrices(((Period(), rates(input=5.0)), (Period(from_us=100), rates(input=1.0))))
    assert [prices.cost(usage(at_us=at)) for at in (99, 100)] == [5.0, 1.0]


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-5.4-mini"),
        ("OpenAI", "GPT-5.4-mini"),
        (None, "gpt-5.4-mini"),
        ("anthropic", "claude-sonnet-4-5-20250929"),
        ("google_genai", "gemini-2.5-flash"),  # as LangChain names it
        ("amazon_bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ("aws.bedrock", "us.anthropic.claude-3-5-sonnet-20241022-v2:0"),  # as OpenTelemetry does
        ("gcp.gen_ai", "gemini-2.5-flash"),
        ("azure.ai.openai", "gpt-4o"),
        ("azure.ai.inference", "gpt-4o"),
        ("x_ai", "grok-4"),
        ("openai.chat", "gpt-4o"),  # as the AI SDK does
        ("litellm", "openai/gpt-4o"),
    ],
)
def test_a_model_is_known_by_the_names_that_senders_give(provider: str | None, model: str) -> None:
    assert (estimator()(usage(model, provider)) or 0) > 0


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("ollama", "gpt-4o"),
        ("vllm", "claude-sonnet-4-5"),
        ("acme gateway", "gpt-4o"),
        ("openai-compatible", "gpt-4o"),
        ("openai", "my-own-model"),
        ("anthropic", "gpt-4o"),
        (None, "llama3.1"),
        (None, "my-own-model"),
        (None, "é\udc00"),
        ("openai", "gpt-4o" + "x" * MAX_NAME_CHARACTERS),
        ("openai" + "x" * MAX_NAME_CHARACTERS, "gpt-4o"),
    ],
)
def test_a_provider_or_model_that_is_not_known_has_no_estimate(
    provider: str | None, model: str
) -> None:
    assert estimator()(usage(model, provider)) is None


def test_a_date_without_dashes_is_the_same_model() -> None:
    table = shipped_table()
    dashed = table.find("openai", "gpt-5.2-2025-12-11")
    assert dashed is not None and table.find("openai", "gpt-5.2-20251211") is dashed
    assert table.find("anthropic", "my-model-20259911") is None


def test_a_model_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = []
    find = PriceTable.find
    monkeypatch.setattr(
        PriceTable, "find", lambda *given: looked_up.append(given[1:]) or find(*given)
    )
    estimate = estimator()
    for _ in range(5):
        estimate(usage())
        estimate(usage("unknown"))
    assert looked_up == [("openai", "gpt-5.4-mini"), ("openai", "unknown")]


def test_forged_names_cost_a_bounded_memory() -> None:
    estimate = estimator()
    estimate(usage())
    tracemalloc.start()
    try:
        for number in range(4 * MAX_KNOWN_MODELS):
            estimate(usage(f"{number:0{MAX_NAME_CHARACTERS}}", "ollama"))
            estimate(usage("x" * 10_000 + str(number)))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1.5 * MAX_KNOWN_MODELS * (MAX_NAME_CHARACTERS + 400)


def test_a_name_as_long_as_may_be_is_looked_up_and_a_longer_one_is_not() -> None:
    estimate = estimator()
    named = "openai".ljust(MAX_NAME_CHARACTERS, "x")  # the table knows it by its beginning
    assert estimate(usage("gpt-4o", named)) is not None
    assert estimate(usage("gpt-4o", named + "x")) is None


def test_the_table_names_its_source_and_is_small() -> None:
    file = Path(__file__).parents[3] / "src/sessionbat/server/prices/table.json"
    text = file.read_text("utf-8")
    assert text.startswith('{"source": "genai-prices ')
    assert "MIT License" in text[:300]
    assert len(text.encode()) < 300_000


# Reading


def observed(kind: str = "llm", **metrics: Any) -> dict[str, Any]:
    counts = {"input_tokens": 10, "output_tokens": 2, **metrics}
    return {"kind": kind, "metadata": {"model": "m", "provider": "p"}, "metrics": counts}


def test_usage_is_read_as_the_event_format_names_it() -> None:
    more = {"cache_read_tokens": 3, "cache_creation_tokens": 4.0, "reasoning_tokens": 1}
    assert read_usage(observed(**more), "m", 7) == Usage("p", "m", 7, 10, 2, 3, 4, 1)


@pytest.mark.parametrize(
    "metrics",
    [
        {"cost_usd": 0.1},
        {"cost_usd": 0},
        {"cost_usd": "much"},
        {"input_tokens": None},
        {"output_tokens": None},
        {"input_tokens": -1},
        {"input_tokens": "10"},
        {"input_tokens": True},
        {"input_tokens": 10**9 + 1},
        {"input_tokens": 1e308},
        {"output_tokens": 1.5},
        {"output_tokens": float("nan")},
        {"output_tokens": float("inf")},
        {"cache_read_tokens": [3]},
        {"reasoning_tokens": {}},
    ],
)
def test_a_call_with_a_cost_or_without_plausible_counts_has_no_usage(
    metrics: dict[str, Any],
) -> None:
    assert read_usage(observed(**metrics), "m", 0) is None


def test_only_model_calls_have_usage() -> None:
    assert read_usage(observed("tool"), "m", 0) is None
    assert read_usage(observed(), None, 0) is None
    assert read_usage({"kind": "llm", "metadata": None, "metrics": None}, "m", 0) is None


def test_embeddings_need_no_output() -> None:
    observation = observed(output_tokens=None)
    observation["metadata"]["operation"] = "embeddings"
    assert read_usage(observation, "m", 0) == Usage("p", "m", 0, 10, 0, 0, 0, 0)


@pytest.mark.parametrize("provider", [None, "", 7, ["openai"]])
def test_a_provider_that_is_no_name_is_none(provider: Any) -> None:
    observation = observed()
    observation["metadata"]["provider"] = provider
    found = read_usage(observation, "m", 0)
    assert found is not None and found.provider is None
