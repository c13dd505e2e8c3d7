"""Token counts: LangChain's own where it gives them, else as the provider reports them.

By our measure input includes cached tokens and output includes reasoning. Providers differ in what
they include; the total, where they give one, says which. Pure functions for ``payloads``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import isfinite
from typing import Any, Final, NamedTuple

_CACHE_CREATION: Final = (
    "cache_creation",
    "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens",
)

#: What providers call the same count, in snake case; the first that is there counts.
_ASKED: Final = (
    "prompt_tokens", "input_tokens", "prompt_token_count", "input_token_count",
    "prompt_eval_count", "num_input_tokens", "num_prompt_tokens", "prefill_tokens",
)  # fmt: skip
_ANSWERED: Final = (
    "completion_tokens", "output_tokens", "candidates_token_count", "response_token_count",
    "generated_token_count", "generated_tokens", "output_token_count", "completion_token_count",
    "eval_count", "num_output_tokens", "num_generated_tokens", "num_completion_tokens",
)  # fmt: skip
_TOTAL: Final = ("total_tokens", "total_token_count", "num_total_tokens")
#: Cached tokens that are told beside an input without them, unless the total says otherwise.
_READ_APART: Final = (
    "cache_read_input_tokens", "cache_read_input_token_count", "cache_read_tokens",
)  # fmt: skip
#: Cached tokens that are a part of the input.
_READ_WITHIN: Final = (
    "cached_content_token_count", "cached_tokens", "prompt_cache_hit_tokens",
    "num_cached_tokens", "cached_prompt_tokens", "cached_input_tokens", "cache_read",
)  # fmt: skip
_CREATED: Final = (
    "cache_creation_input_tokens", "cache_write_input_tokens", "cache_write_input_token_count",
    "cache_creation_tokens", "cache_write_tokens", "cache_creation",
)  # fmt: skip
_REASONED: Final = ("reasoning_tokens", "thoughts_token_count", "reasoning")
_OF_TOOLS: Final = ("tool_use_prompt_token_count",)
_ASKED_DETAILS: Final = (
    "prompt_tokens_details", "input_tokens_details", "input_token_details", "cache_creation",
)  # fmt: skip
_ANSWERED_DETAILS: Final = (
    "completion_tokens_details", "output_tokens_details", "output_token_details",
)  # fmt: skip
#: Where a count may stand, within what is told of an answer.
_HOLDERS: Final = (
    "token_usage", "usage", "usage_metadata", "estimated_usage", "token_count", "tokens",
    "amazon_bedrock_invocation_metrics", "metrics", "details", "meta", "billed_units",
)  # fmt: skip
_MAX_NESTED: Final = 3
_NOTHING: Final[Mapping[str, Any]] = {}


def token_metrics(message: Mapping[str, Any], *sources: Mapping[str, Any]) -> dict[str, float]:
    """Count an answer's tokens.

    Args:
        message: The fields of the answer's message.
        sources: What is told of the answer, in the order in which it is believed.
    """
    counted = _langchains_count(message.get("usage_metadata"))
    if counted and (counted.get("input_tokens") or counted.get("output_tokens")):
        return counted
    extra = message.get("additional_kwargs")
    for source in (*sources, extra):
        if source and isinstance(source, Mapping):
            for raw in _counts_in(source, _MAX_NESTED):
                metrics = _inclusive(raw)
                if metrics:
                    return metrics
    return counted


def _langchains_count(usage: Any) -> dict[str, float]:
    """Take over LangChain's own measure, in which input and output include every kind."""
    usage = _mapping(usage)
    if not usage:
        return {}
    asked = _mapping(usage.get("input_token_details") or _NOTHING)
    answered = _mapping(usage.get("output_token_details") or _NOTHING)
    # Providers that tell how long a cache entry lives report it apart and leave the sum at zero.
    created = [asked[key] for key in _CACHE_CREATION if _is_number(asked.get(key))] if asked else ()
    return _known(
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        total_tokens=usage.get("total_tokens"),
        cache_read_tokens=asked.get("cache_read"),
        cache_creation_tokens=sum(created) if created else None,
        input_audio_tokens=asked.get("audio"),
        reasoning_tokens=answered.get("reasoning"),
        output_audio_tokens=answered.get("audio"),
        cost_usd=usage.get("total_cost"),
    )


def _counts_in(source: Mapping[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    """Find the mappings that count tokens: the one told, or one inside it; the outer one last.

    Names are brought to snake case: one provider says ``inputTokens``, another ``input_tokens``.
    """
    told = {_snake(key): value for key, value in source.items() if isinstance(key, str)}
    for name in _HOLDERS if depth else ():
        inner = told.get(name)
        if isinstance(inner, Mapping) and inner:
            yield from _counts_in(inner, depth - 1)
    yield told


class _Counts(NamedTuple):
    asked: float
    answered: float
    total: float | None
    read: float
    created: float
    reasoned: float


def _inclusive(told: Mapping[str, Any]) -> dict[str, float]:
    """Bring a provider's counts to our measure; nothing where they count no tokens."""
    asked_name, asked = _first(told, _ASKED)
    _, answered = _first(told, _ANSWERED)
    if asked is None and answered is None:
        return {}
    _, total = _first(told, _TOTAL)
    details = _details(told, _ASKED_DETAILS)
    apart_name, read = _first(told, _READ_APART)
    if read is None:
        _, read = _first({**details, **told}, _READ_WITHIN)
    _, created = _first({**details, **told}, _CREATED)
    if created is None or details.keys() & set(_CACHE_CREATION[1:]):
        lived = [details[key] for key in _CACHE_CREATION[1:] if _is_number(details.get(key))]
        created = max(created or 0, sum(lived)) if lived else created
    reasoned_name, reasoned = _first({**_details(told, _ANSWERED_DETAILS), **told}, _REASONED)
    _, of_tools = _first(told, _OF_TOOLS)
    counts = _Counts(
        (asked or 0) + (of_tools or 0), answered or 0, total, read or 0, created or 0, reasoned or 0
    )
    is_apart = (apart_name != "" or created is not None) and asked_name.startswith("input")
    inside = counts.asked + (_cached_apart(counts, by_name=is_apart) if asked is not None else 0)
    outside = counts.answered + _reasoned_apart(counts, inside, reasoned_name)
    if total is not None and asked is not None and answered is not None:
        total = max(total, inside + outside)
    elif asked is not None and answered is not None:
        total = inside + outside
    return _known(
        input_tokens=inside if asked is not None else None,
        output_tokens=outside if answered is not None else None,
        total_tokens=total,
        cache_read_tokens=read,
        cache_creation_tokens=created,
        reasoning_tokens=reasoned,
    )


def _cached_apart(counts: _Counts, *, by_name: bool) -> float:
    """Say how many cached tokens the input does not include.

    Args:
        counts: What was told.
        by_name: What the names say, where the total says nothing.
    """
    cached = counts.read + counts.created
    if not cached:
        return 0
    if cached > counts.asked:  # they cannot be a part of it
        return cached
    if counts.total is not None:
        for apart in (0, cached, counts.read, counts.created):
            for reasoned in (0, counts.reasoned):
                if counts.total == counts.asked + apart + counts.answered + reasoned:
                    return apart
    return cached if by_name else 0


def _reasoned_apart(counts: _Counts, inside: float, name: str) -> float:
    """Say how many tokens of reasoning the output does not include."""
    if not counts.reasoned:
        return 0
    if counts.total is not None:
        if counts.total == inside + counts.answered:
            return 0
        if counts.total == inside + counts.answered + counts.reasoned:
            return counts.reasoned
    return counts.reasoned if name == "thoughts_token_count" else 0


def _details(told: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        inner = told.get(name)
        if isinstance(inner, Mapping):
            found |= {_snake(key): value for key, value in inner.items() if isinstance(key, str)}
    return found


def _first(told: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, float | None]:
    for name in names:
        value = told.get(name)
        if _is_number(value):
            return name, value
    return "", None


def _mapping(value: Any) -> Mapping[str, Any]:
    # In this order: to ask an abstract class is dear.
    return value if type(value) is dict or isinstance(value, Mapping) else _NOTHING


def _is_number(value: Any) -> bool:
    kind = type(value)
    return kind is int or (kind is float and isfinite(value))


def _known(**counts: Any) -> dict[str, float]:
    return {name: count for name, count in counts.items() if count is not None}


@lru_cache(maxsize=1024)
def _snake(key: str) -> str:
    return _HUMP.sub("_", key).replace("-", "_").lower()


_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
