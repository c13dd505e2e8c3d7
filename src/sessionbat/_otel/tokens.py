"""How many tokens a call took: one table of names, then the forms that hold them all in one value.

Input and output include cached and reasoning tokens, as everywhere that was measured; the one
exception is Langfuse's handler for LangChain, whose parts are disjoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sessionbat._otel import values
from sessionbat._otel.attributes import Attributes, Names

#: For each metric the attributes that hold it, best first.
_NAMES: Final[dict[str, Names]] = {
    "input_tokens": Names(
        *("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
        *("ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens"),
        *("llm.usage.prompt_tokens", "llm.usage.input_tokens"),
    ),
    "output_tokens": Names(
        *("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        *("llm.token_count.completion", "ai.usage.outputTokens", "ai.usage.completionTokens"),
        *("llm.usage.completion_tokens", "llm.usage.output_tokens"),
    ),
    "total_tokens": Names(
        *("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total"),
        "ai.usage.totalTokens",
    ),
    "cache_read_tokens": Names(
        *("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        *("gen_ai.usage.details.cache_read_tokens", "gen_ai.usage.details.cache_read_input_tokens"),
        *("llm.token_count.prompt_details.cache_read", "ai.usage.cachedInputTokens"),
        *("ai.usage.inputTokenDetails.cacheReadTokens", "gen_ai.usage.cached_tokens"),
        *("gen_ai.usage.input_tokens.cached", "gen_ai.usage.details.cached_tokens"),
        "llm.usage.cache_read_input_tokens",
    ),
    "cache_creation_tokens": Names(
        *("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens"),
        *("gen_ai.usage.cache_creation_input_tokens", "gen_ai.usage.cache_write_input_tokens"),
        *("gen_ai.usage.details.cache_write_tokens", "llm.token_count.prompt_details.cache_write"),
        *("ai.usage.inputTokenDetails.cacheWriteTokens", "llm.usage.cache_creation_input_tokens"),
        "gen_ai.usage.details.cache_creation_input_tokens",
    ),
    "reasoning_tokens": Names(
        *("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
        *("gen_ai.usage.details.reasoning_tokens", "ai.usage.reasoningTokens"),
        *("llm.token_count.completion_details.reasoning", "llm.usage.reasoning_tokens"),
        *("ai.usage.outputTokenDetails.reasoningTokens", "gen_ai.usage.output_tokens.reasoning"),
        "gen_ai.usage.thoughts_tokens",
    ),
}

#: Of an agent's run: the sums of its calls.
_SUMS: Final = {
    metric: Names(
        *(
            each.replace("gen_ai.usage.", "gen_ai.aggregated_usage.")
            for each in candidates
            if each.startswith("gen_ai.usage.")
        )
    )
    for metric, candidates in _NAMES.items()
}
_ALL_NAMES: Final = Names(*(each for candidates in _NAMES.values() for each in candidates))
_ALL_SUMS: Final = Names(*(each for candidates in _SUMS.values() for each in candidates))

#: Attributes that hold all figures in one value: JSON, or Python's spelling of a dictionary.
_OBJECTS: Final = Names(
    *("langsmith.metadata.usage_metadata", "langfuse.observation.usage_details"),
    *("llm.openai.usage", "llm.anthropic.usage", "crewai.crew.usage_metrics"),
    *("langfuse.observation.usage", "mlflow.chat.tokenUsage", "ai.response.usage"),
)
#: In such a value, the path to each figure, best first.
_PATHS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "input_tokens": (
        *(("input_tokens",), ("prompt_tokens",), ("inputTokens",), ("promptTokens",), ("input",)),
        ("prompt_token_count",),
    ),
    "output_tokens": (
        *(("output_tokens",), ("completion_tokens",), ("outputTokens",), ("completionTokens",)),
        *(("output",), ("candidates_token_count",)),
    ),
    "total_tokens": (("total_tokens",), ("totalTokens",), ("total",), ("total_token_count",)),
    "cache_read_tokens": (
        *(("input_token_details", "cache_read"), ("prompt_tokens_details", "cached_tokens")),
        *(("input_tokens_details", "cached_tokens"), ("cache_read_input_tokens",)),
        *(("cached_prompt_tokens",), ("input_cache_read",), ("input_cached_tokens",)),
        *(("cachedInputTokens",), ("cached_content_token_count",), ("cache_read_tokens",)),
        *(("prompt_tokens_details.cached_tokens",), ("cached_tokens",)),
    ),
    "cache_creation_tokens": (
        *(("input_token_details", "cache_creation"), ("cache_creation_input_tokens",)),
        *(("input_cache_creation",), ("cache_creation_tokens",)),
        ("prompt_tokens_details", "cache_write_tokens"),
    ),
    "reasoning_tokens": (
        *(("output_token_details", "reasoning"), ("reasoning_tokens",), ("reasoningTokens",)),
        *(("completion_tokens_details", "reasoning_tokens"), ("output_reasoning",)),
        *(("output_tokens_details", "reasoning_tokens"), ("output_reasoning_tokens",)),
        *(("thoughts_token_count",), ("completion_tokens_details.reasoning_tokens",)),
    ),
}


def tokens_of(attributes: Attributes) -> dict[str, int]:
    """Give the figures of a call by the names of the event."""
    found = _named(attributes)
    for each in attributes.present(_OBJECTS):
        value = attributes.raw[each]
        if value is not None:
            for metric, figure in _of_object(values.unrepresented(value)).items():
                found.setdefault(metric, figure)
    return found


def sums_of(attributes: Attributes) -> dict[str, int]:
    """Give the figures of an agent's run: sums of its calls, under their own names or the usual."""
    summed: dict[str, int] = {}
    if attributes.present(_ALL_SUMS):
        for metric, candidates in _SUMS.items():
            figure = _first(attributes, candidates)
            if figure is not None:
                summed[metric] = figure
    return summed or tokens_of(attributes)


def _named(attributes: Attributes) -> dict[str, int]:
    found: dict[str, int] = {}
    if not attributes.present(_ALL_NAMES):
        return found
    for metric, candidates in _NAMES.items():
        figure = _first(attributes, candidates)
        if figure is not None:
            found[metric] = figure
    return found


def _first(attributes: Attributes, candidates: Names) -> int | None:
    for each in attributes.present(candidates):
        value = attributes.raw[each]
        if value is not None and (figure := values.count(value)) is not None:
            return figure
    return None


def _of_object(usage: Any) -> dict[str, int]:
    if not isinstance(usage, dict):
        return {}
    found = {}
    for metric, paths in _PATHS.items():
        for path in paths:
            figure = values.count(values.dig(usage, *path))
            if figure is not None:
                found[metric] = figure
                break
    return _with_disjoint_parts(usage, found)


def _with_disjoint_parts(usage: Mapping[Any, Any], found: dict[str, int]) -> dict[str, int]:
    """Add the parts of Langfuse's own form (``input``, ``input_cache_read``), which are disjoint.

    Unless the total says that they are contained already.
    """
    if "input" not in usage and "output" not in usage:
        return found
    total = found.get("total_tokens")
    if total is not None and found.get("input_tokens", 0) + found.get("output_tokens", 0) == total:
        return found
    for side in ("input", "output"):
        parts = [
            figure
            for key, value in usage.items()
            if isinstance(key, str)
            and key.startswith(f"{side}_")
            and not key.endswith("_details")
            and key != f"{side}_tokens"
            and (figure := values.count(value)) is not None
        ]
        if f"{side}_tokens" in found and f"{side}_tokens" not in usage:
            found[f"{side}_tokens"] += sum(parts)
    return found
