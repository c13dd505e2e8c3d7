"""What a call cost, where the sender says it."""

from __future__ import annotations

from typing import Final

from sessionbat._otel import values
from sessionbat._otel.attributes import Attributes, Names

_TOTALS: Final = Names(
    *("operation.cost", "gen_ai.cost.total_cost", "llm.cost.total", "gen_ai.usage.cost"),
    *("gen_ai.usage.total_cost", "llm.usage.cost", "claude_agent_sdk.total_cost_usd"),
)


_DETAILS: Final = Names("langfuse.observation.cost_details")


def cost_of(attributes: Attributes) -> float | None:
    """Give the cost in US dollars; None where none is named."""
    for each in attributes.present(_TOTALS):
        cost = values.number(attributes.raw[each])
        if cost is not None and cost >= 0:
            return float(cost)
    details = attributes.mapping(_DETAILS)
    if not details:
        return None
    total = values.number(details.get("total"))
    if total is None:
        parts = [values.number(details.get(side)) for side in ("input", "output")]
        total = sum(filter(None, parts)) if any(parts) else None
    return float(total) if total is not None and total >= 0 else None
