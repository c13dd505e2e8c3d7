"""Estimates the cost of a model call, by one's own prices or the table that ships.

A store calls it for each model call without a cost of its own, before the transaction, from several
threads. It opens no connection and costs a microsecond once a model is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from sessionbat.server.prices.own_prices import read_own_prices
from sessionbat.server.prices.price_table import shipped_table
from sessionbat.server.prices.rates import ModelPrices
from sessionbat.server.reading.usage import Estimate, Usage

#: Providers and models of which the prices are remembered; a server sees a few dozen.
MAX_KNOWN_MODELS: Final = 1024
#: Longer names of a provider or a model get no estimate, and none of the memory.
MAX_NAME_CHARACTERS: Final = 200


def estimator(path: Path | None = None) -> Estimate:
    """Make the function that estimates.

    Args:
        path: A file with prices of one's own, which win over the table.

    Raises:
        ConfigurationError: The file cannot be used.
    """
    own: Mapping[str, ModelPrices] = {} if path is None else read_own_prices(path)

    @lru_cache(MAX_KNOWN_MODELS)
    def prices_of(provider: str | None, model: str) -> ModelPrices | None:
        if provider is not None and (prices := own.get(f"{provider}/{model}".lower())):
            return prices
        return own.get(model.lower()) or shipped_table().find(provider, model)

    def estimate(usage: Usage) -> float | None:
        provider, model = usage.provider, usage.model
        if len(model) > MAX_NAME_CHARACTERS:
            return None
        if provider is not None and len(provider) > MAX_NAME_CHARACTERS:
            return None
        prices = prices_of(provider, model)
        return None if prices is None else prices.cost(usage)

    return estimate
