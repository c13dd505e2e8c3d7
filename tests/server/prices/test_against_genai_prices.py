"""The shipped table gives the dollars that the library gives from whose data it was made."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionbat.server.prices import price_table
from sessionbat.server.prices.estimating import estimator
from sessionbat.server.reading.figures import microseconds
from sessionbat.server.reading.usage import Usage

pytestmark = pytest.mark.slow

TABLE = Path(price_table.__file__).parent / "table.json"
NO_PROVIDER = ("ollama", "vllm", "lm-studio", "acme gateway")


@pytest.fixture(scope="module")
def library() -> Any:
    genai_prices = pytest.importorskip("genai_prices", reason="genai-prices is not installed")
    written = json.loads(TABLE.read_text("utf-8"))["source"]
    if written != f"genai-prices {genai_prices.__version__}":
        pytest.skip(f"the table is of {written}; this is {genai_prices.__version__}")
    return genai_prices


def names_in(clause: Any) -> list[str]:
    """Names that a clause of the library mentions."""
    if clause is None:
        return []
    for kind in ("equals", "starts_with", "ends_with", "contains", "regex"):
        if hasattr(clause, kind):
            return [getattr(clause, kind)]
    return [name for each in getattr(clause, "or_", None) or clause.and_ for name in names_in(each)]


class Calls:
    """Random model calls, of models that the library knows and of others."""

    def __init__(self, seed: int) -> None:
        from genai_prices.data import providers

        self.chance = random.Random(seed)
        self.providers = [each for each in providers if each.models]
        self.clauses = [name for each in providers for name in names_in(each.provider_match)]

    def name_of_model(self, provider: Any) -> str:
        chance = self.chance
        model = chance.choice(provider.models)
        name = chance.choice([model.id, *names_in(model.match)])
        end = chance.choice(
            [*[""] * 9, "-20251211", "-20251399", "-latest", ":free", "-2025-08-07"]
        )
        made = f"{chance.choice([*[''] * 12, 'us.', 'openai/', 'models/'])}{name}{end}"
        return made.upper() if chance.random() < 0.1 else made

    def usage(self) -> dict[str, int]:
        chance = self.chance
        most = chance.choice([100, 5_000, 150_000, 300_000, 2_000_000])
        given, answer = chance.randint(0, most), chance.randint(0, 9_000)
        read = chance.choice([0, 0, chance.randint(0, given)])
        written = chance.choice([0, 0, chance.randint(0, given - read)])
        more = chance.choice([0] * 9 + [given])  # parts that are more than the whole
        return {
            "input_tokens": given,
            "output_tokens": answer,
            "cache_read_tokens": read + more,
            "cache_write_tokens": written,
            "output_reasoning_tokens": chance.choice([0, 0, chance.randint(0, answer)]),
        }

    def call(self) -> tuple[str | None, str, dict[str, int], datetime]:
        provider = self.chance.choice(self.providers)
        other = self.chance.choice(self.providers)
        named = self.chance.choice(
            [*[provider.id] * 6, provider.id.upper(), other.id, None, None,
             self.chance.choice(self.clauses), self.chance.choice(NO_PROVIDER)]
        )  # fmt: skip
        since = datetime(2023, 1, 1, tzinfo=UTC)
        at = since + timedelta(seconds=self.chance.randrange(4 * 365 * 86_400))
        return named, self.name_of_model(provider), self.usage(), at


def by_library(
    library: Any, named: str | None, model: str, usage: dict[str, int], at: datetime
) -> float | None:
    try:
        found = library.calc_price(
            library.Usage(**usage), model, provider_id=named, genai_request_timestamp=at
        )
    except (LookupError, ValueError):
        return None
    prices = found.model_price
    if prices.input_mtok is None and prices.output_mtok is None:
        return None  # paid by the page or the month: 0 dollars there, unknown here
    return float(found.total_price)


@pytest.mark.parametrize("seed", range(8))
def test_random_calls_cost_what_the_library_says(library: Any, seed: int) -> None:
    calls, estimate = Calls(seed), estimator()
    priced = unpriced = 0
    for _ in range(500):
        named, model, usage, at = calls.call()
        expected = by_library(library, named, model, usage, at)
        made = estimate(
            Usage(
                named,
                model,
                microseconds(at),
                usage["input_tokens"],
                usage["output_tokens"],
                usage["cache_read_tokens"],
                usage["cache_write_tokens"],
                usage["output_reasoning_tokens"],
            )
        )
        case = (named, model, usage, at)
        if expected is None or made is None:
            assert made is expected, case
            unpriced += 1
        else:
            assert made == pytest.approx(expected, rel=1e-12, abs=1e-12), case
            priced += 1
    assert priced > 100 and unpriced > 50
