"""The price table that ships with the server: finds a model's prices by provider and model.

``table.json`` is made from the data of the library genai-prices by ``tools/price_table.py``; the
rules by which a name finds its model are those of the library. The file is read on first use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from functools import cache
from pathlib import Path
from typing import Any, Final

from sessionbat.server.prices.rates import ModelPrices, Period, Rates, Tiers

_FILE: Final = Path(__file__).parent / "table.json"

#: Names that OpenTelemetry gives to providers, where the table knows others.
_ALSO_KNOWN_AS: Final = {
    "az.ai.inference": "azure",
    "azure.ai.inference": "azure",
    "gcp.gen_ai": "google",
    "x_ai": "x-ai",
}
_COMPACT_DATE: Final = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")

_Match = Callable[[str], bool]


class PriceTable:
    """Providers and their models.

    Args:
        providers: As ``tools/price_table.py`` writes them.
    """

    def __init__(self, providers: Sequence[dict[str, Any]]) -> None:
        self._providers = {each["id"]: _Provider(each) for each in providers}

    def find(self, provider: str | None, model: str) -> ModelPrices | None:
        """Find a model's prices.

        With a provider, only its own models count: one that the table does not know may ask any
        price. Without one, the provider is known by the model's name.
        """
        model = model.lower()
        found = self._named(provider.lower().strip()) if provider else None
        if provider and provider.lower() == "litellm":
            found, model = self._behind_litellm(model)
        elif not provider:
            found = self._serving(model)
        if found is None:
            return None
        return self._match(found, model) or self._match(found, _dashed(model))

    def _named(self, name: str) -> _Provider | None:
        if "compatible" in name:  # "openai-compatible": speaks like one, and asks its own price
            return None
        name = _ALSO_KNOWN_AS.get(name, name)
        exact = self._providers.get(name)
        return exact or next((p for p in self._providers.values() if p.is_named(name)), None)

    def _serving(self, model: str) -> _Provider | None:
        return next((p for p in self._providers.values() if p.serves(model)), None)

    def _behind_litellm(self, model: str) -> tuple[_Provider | None, str]:
        """Find the provider by the prefix that LiteLLM puts before a model's name."""
        prefix, slash, rest = model.partition("/")
        named = self._named(prefix) if slash and prefix else None
        return (named, rest) if named else (self._serving(model), model)

    def _match(self, provider: _Provider, model: str) -> ModelPrices | None:
        for each in (provider, *(self._providers[name] for name in provider.fallback)):
            prices = each.find(model)
            if prices is not None:
                return prices
        return None


@cache
def shipped_table() -> PriceTable:
    """Return the table that ships with the server."""
    return PriceTable(json.loads(_FILE.read_text("utf-8"))["providers"])


class _Provider:
    def __init__(self, given: dict[str, Any]) -> None:
        self.is_named = _matcher(given["named"])
        self.serves = _matcher(given["serves"])
        self.fallback: list[str] = given["fallback"]
        self._models = [_model_prices(prices) for _, prices in given["models"]]
        # Names are looked up rather than compared: the largest provider has 900 models, and an
        # event may name any.
        self._by_name: dict[str, int] = {}
        self._others: list[tuple[int, _Match]] = []
        for place, (clause, _) in enumerate(given["models"]):
            others = []
            for each in _alternatives(clause):
                if each[0] == "equals":
                    self._by_name.setdefault(each[1], place)
                else:
                    others.append(each)
            if others:
                self._others.append((place, _matcher(["or", *others])))

    def find(self, model: str) -> ModelPrices | None:
        """Find the first model that matches."""
        place = self._by_name.get(model)
        for other, matches in self._others:
            if place is not None and other >= place:
                break
            if matches(model):
                place = other
                break
        return None if place is None else self._models[place]


def _alternatives(clause: list[Any]) -> Iterator[list[Any]]:
    if clause[0] == "or":
        for each in clause[1:]:
            yield from _alternatives(each)
    else:
        yield clause


def _matcher(clause: list[Any] | None) -> _Match:
    """Make a function that tells whether a name in lower case matches."""
    if clause is None:
        return _matches_nothing
    kind, *given = clause
    return _MATCHERS[kind](*given)


def _matches_nothing(_name: str) -> bool:
    return False


def _any_of(*clauses: list[Any]) -> _Match:
    inner = [_matcher(each) for each in clauses]
    return lambda name: any(matches(name) for matches in inner)


def _all_of(*clauses: list[Any]) -> _Match:
    inner = [_matcher(each) for each in clauses]
    return lambda name: all(matches(name) for matches in inner)


def _pattern(text: str) -> _Match:
    search = re.compile(text).search
    return lambda name: search(name) is not None


_MATCHERS: Final[dict[str, Callable[..., _Match]]] = {
    "or": _any_of,
    "and": _all_of,
    "regex": _pattern,
    "equals": lambda text: lambda name: name == text,
    "starts": lambda text: lambda name: name.startswith(text),
    "ends": lambda text: lambda name: name.endswith(text),
    "contains": lambda text: lambda name: text in name,
}


def _model_prices(prices: list[Any]) -> ModelPrices:
    return ModelPrices(tuple((_period(when), _rates(of)) for when, of in prices))


def _period(when: list[str] | None) -> Period:
    if when is None:
        return Period()
    kind, *at = when
    if kind == "from":
        start = datetime.combine(date.fromisoformat(at[0]), time(), UTC)
        return Period(from_us=int(start.timestamp()) * 1_000_000)
    start_us, end_us = (_since_midnight_us(time.fromisoformat(each)) for each in at)
    return Period(daily_us=(start_us, end_us))


def _since_midnight_us(at: time) -> int:
    return ((at.hour * 60 + at.minute) * 60 + at.second) * 1_000_000


def _rates(of: dict[str, Any]) -> Rates:
    return Rates({unit: _rate(price) for unit, price in of.items()})


def _rate(price: Any) -> float | Tiers:
    if isinstance(price, list):
        base, *above = price
        return Tiers(base, tuple(sorted((start, higher) for start, higher in above)))
    return float(price)


def _dashed(model: str) -> str:
    """Write a date as ``-2025-12-11`` that gateways write as ``-20251211``."""
    return _COMPACT_DATE.sub(_with_dashes, model)


def _with_dashes(found: re.Match[str]) -> str:
    year, month, day = found.groups()
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return found[0]
    return f"-{year}-{month}-{day}"
