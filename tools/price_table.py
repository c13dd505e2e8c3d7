"""Writes the server's price table from the data of the library genai-prices.

Run it with a newer version of the library to get newer prices:

    uv run --group world python tools/price_table.py

The server does not need the library: see ``docs/decisions/0047-estimated-costs.md``.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent.parent / "src" / "sessionbat" / "server" / "prices" / "table.json"

# The units that events count, by the library's name and ours; a model's other prices are left out.
UNITS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "output_reasoning_mtok": "reasoning",
    "requests_kcount": "requests",
}
CLAUSES = {
    "equals": "equals",
    "starts_with": "starts",
    "ends_with": "ends",
    "contains": "contains",
    "regex": "regex",
}


def main() -> None:
    """Write the table."""
    from genai_prices.data import providers

    head = {
        "source": f"genai-prices {version('genai-prices')}",
        "license": "MIT License, Copyright (c) Pydantic Services Inc. 2025 to present",
        "url": "https://github.com/pydantic/genai-prices",
        "made_by": "tools/price_table.py",
        "units": "dollars for a million tokens; requests: dollars for a thousand",
    }
    lines = [",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items())]
    written = ",\n".join(_dump(_provider(each)) for each in providers)
    lines.append(f'"providers": [\n{written}\n]')
    TABLE.write_text("{" + ",\n".join(lines) + "}\n", "utf-8")
    print(f"{TABLE.name}: {len(providers)} providers, {TABLE.stat().st_size:,} bytes")


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _provider(provider: Any) -> dict[str, Any]:
    return {
        "id": provider.id,
        "named": _clause(provider.provider_match),
        "serves": _clause(provider.model_match),
        "fallback": provider.fallback_model_providers or [],
        "models": [[_clause(model.match), _prices(model.prices)] for model in provider.models],
    }


def _clause(clause: Any) -> list[Any] | None:
    if clause is None:
        return None
    for name, ours in CLAUSES.items():
        if hasattr(clause, name):
            text = getattr(clause, name)
            return [ours, text if name == "regex" else text.lower()]
    inner, word = (clause.or_, "or") if hasattr(clause, "or_") else (clause.and_, "and")
    return [word, *map(_clause, inner)]


def _prices(prices: Any) -> list[Any]:
    """List conditional prices: their start or daily interval, and dollars by unit."""
    if not isinstance(prices, list):
        return [[None, _rates(prices)]]
    return [[_condition(each.constraint), _rates(each.prices)] for each in prices]


def _condition(constraint: Any) -> list[str] | None:
    if constraint is None:
        return None
    if hasattr(constraint, "start_date"):
        return ["from", constraint.start_date.isoformat()]
    return ["daily", _utc(constraint.start_time), _utc(constraint.end_time)]


def _utc(time: Any) -> str:
    assert not time.utcoffset(), f"not in UTC: {time}"
    return f"{time:%H:%M:%S}"


def _rates(prices: Any) -> dict[str, Any]:
    given = {ours: getattr(prices, name) for name, ours in UNITS.items()}
    return {name: _rate(price) for name, price in given.items() if price is not None}


def _rate(price: Any) -> Any:
    if hasattr(price, "tiers"):
        return [float(price.base), *([tier.start, float(tier.price)] for tier in price.tiers)]
    return float(price)


if __name__ == "__main__":
    main()
