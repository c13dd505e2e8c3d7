"""Reads a model call's provider, model and tokens, from which its cost can be estimated.

Counts are as ``docs/event-format.md`` defines them: input tokens include cached ones, output tokens
include those of reasoning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sessionbat.event import LLM

# No call has a billion tokens; larger claims must not overflow a session's sum.
_MAX_TOKENS = 10**9


class Usage(NamedTuple):
    """The tokens of a model call, and who was paid for them."""

    provider: str | None
    model: str
    #: When it was recorded, in microseconds since 1970: prices change.
    at_us: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int


#: Estimates the cost of a model call in dollars; None if its model or its price is unknown.
Estimate = Callable[[Usage], float | None]


def read_usage(observation: Mapping[str, Any], model: str | None, at_us: int) -> Usage | None:
    """Read the usage of an observation; None if the app gave a cost, or its tokens are unknown."""
    metrics = observation.get("metrics")
    if not metrics or not model or observation["kind"] != LLM:
        return None
    get = metrics.get
    given = get("input_tokens")
    if given is None or get("cost_usd") is not None:
        return None
    metadata = observation["metadata"]  # the model is there, too
    provider = metadata.get("provider")
    answer = get("output_tokens")
    # Half of a call would be a price far too low. Embeddings have no output.
    if answer is None and metadata.get("operation") != "embeddings":
        return None
    read, written = get("cache_read_tokens"), get("cache_creation_tokens")
    reasoning = get("reasoning_tokens")
    try:
        # Every model call comes by here: mostly there are two whole numbers.
        return Usage(
            provider if type(provider) is str and provider else None,
            model,
            at_us,
            given if type(given) is int and 0 <= given <= _MAX_TOKENS else _count(given),
            answer if type(answer) is int and 0 <= answer <= _MAX_TOKENS else _count(answer),
            0 if read is None else _count(read),
            0 if written is None else _count(written),
            0 if reasoning is None else _count(reasoning),
        )
    except ValueError:
        return None


def _count(value: Any) -> int:
    """Read a count of tokens; a missing one is 0.

    Raises:
        ValueError: It is no plausible count.
    """
    if value is None:
        return 0
    is_whole = type(value) is int or (type(value) is float and value.is_integer())
    if not is_whole or not 0 <= value <= _MAX_TOKENS:
        raise ValueError
    return int(value)
