"""The prices of one model, and the cost of a call by them. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from sessionbat.server.reading.usage import Usage

#: A model's prices by unit: dollars for a million tokens, or for a thousand requests.
UNITS: Final = ("input", "output", "cache_read", "cache_write", "reasoning", "requests")

_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Tiers:
    """A price that depends on the size of the input; one tier applies to all tokens of a call."""

    base: float
    #: From more than so many input tokens on, this price; in ascending order.
    above: tuple[tuple[int, float], ...]

    def at(self, input_tokens: int) -> float:
        """Return the price for a call with so many input tokens."""
        price = self.base
        for start, higher in self.above:
            if input_tokens > start:
                price = higher
        return price


class _Prices(NamedTuple):
    """The prices of a model for one call, by unit; None: paid as the unit it is part of."""

    input: float | None
    output: float | None
    cache_read: float | None
    cache_write: float | None
    reasoning: float | None
    requests: float | None


class Rates:
    """The prices of a model at one time. A unit without a price is paid as the one it is part of.

    Cached tokens are part of the input, reasoning tokens part of the output.

    Args:
        of: Prices by unit.
    """

    __slots__ = ("_flat", "_of")

    def __init__(self, of: Mapping[str, float | Tiers]) -> None:
        self._of = of
        is_tiered = any(isinstance(price, Tiers) for price in of.values())
        self._flat = None if is_tiered else self._for_call_of(0)

    def cost(self, usage: Usage) -> float | None:
        """Return dollars; None if tokens have no price, or a part is larger than its whole."""
        prices = self._flat or self._for_call_of(usage.input_tokens)
        if prices.input is None and prices.output is None:
            return None
        fresh, answer, micros = usage.input_tokens, usage.output_tokens, 0.0
        if prices.cache_read is not None:
            fresh -= usage.cache_read_tokens
            micros += usage.cache_read_tokens * prices.cache_read
        if prices.cache_write is not None:
            fresh -= usage.cache_write_tokens
            micros += usage.cache_write_tokens * prices.cache_write
        if prices.reasoning is not None:
            answer -= usage.reasoning_tokens
            micros += usage.reasoning_tokens * prices.reasoning
        if fresh < 0 or answer < 0:
            return None
        micros += fresh * (prices.input or 0.0) + answer * (prices.output or 0.0)
        return micros / 1e6 + (prices.requests or 0.0) / 1e3

    def _for_call_of(self, input_tokens: int) -> _Prices:
        prices = map(self._of.get, UNITS)
        return _Prices(
            *(each.at(input_tokens) if isinstance(each, Tiers) else each for each in prices)
        )


@dataclass(frozen=True, slots=True)
class Period:
    """When prices apply: from a time on, and if ``daily_us`` is given, between two times of day."""

    from_us: int = 0
    daily_us: tuple[int, int] | None = None

    def covers(self, at_us: int) -> bool:
        """Whether the prices apply at a time, in microseconds since 1970."""
        if self.daily_us is None:
            return at_us >= self.from_us
        start, end = self.daily_us
        time = at_us % _DAY_US
        return start <= time < end if start <= end else time >= start or time < end


@dataclass(frozen=True, slots=True)
class ModelPrices:
    """All prices of a model; the last one whose period covers a call applies, else the first."""

    periods: tuple[tuple[Period, Rates], ...]

    def cost(self, usage: Usage) -> float | None:
        """Return dollars; see ``Rates.cost``."""
        if len(self.periods) == 1:
            return self.periods[0][1].cost(usage)
        for period, rates in reversed(self.periods):
            if period.covers(usage.at_us):
                return rates.cost(usage)
        return self.periods[0][1].cost(usage)
