"""A span's attributes, asked for by several names; the first that is there wins.

Attributes are looked through once: those that spell a list or an object in their names
(``llm.input_messages.0.message.role``) become that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from sessionbat._otel import values

#: Attributes of one span that are looked at by prefix; by full name all are found.
MAX_LOOKED_THROUGH: Final = 100_000
#: Steps in a name (``a.b.c`` has three) that become an object in an object.
MAX_STEPS: Final = 16
MAX_NAME: Final = 512

#: Names under which instrumentation flattens lists and objects into many attributes.
TREES: Final = (
    "llm.input_messages",
    "llm.output_messages",
    "llm.prompts",
    "llm.choices",
    "llm.tools",
    "llm.openai",
    "retrieval.documents",
    "reranker.input_documents",
    "reranker.output_documents",
    "reranker.query",
    "embedding.embeddings",
    "gen_ai.prompt",
    "gen_ai.completion",
    "gen_ai.usage",
    "langfuse.observation.metadata",
    "langfuse.trace.metadata",
    "langsmith.metadata",
    "traceloop.association.properties",
    "ai.telemetry.metadata",
    "ai.settings.context",
    "metadata",
    "sessionbat.context",
)
_BY_DEPTH: Final = sorted({tree.count(".") + 1 for tree in TREES}, reverse=True)
_TREES: Final = frozenset(TREES)


class Attributes:
    """What a span says, by name and by prefix."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw

    def first(self, *names: str) -> Any:
        """Give the value of the first name that holds anything but an empty text or list."""
        raw = self.raw
        for each in names:
            value = raw.get(each)
            if value is not None and value not in ("", b"", []) and value != ():
                return value
        return None

    def name(self, *names: str) -> str | None:
        """Give the first of these that is a name: text that is not empty."""
        for each in names:
            found = values.name(self.raw.get(each))
            if found is not None:
                return found
        return None

    def tree(self, prefix: str) -> Mapping[str, Any]:
        """Give the attributes below a prefix as an object; lists are objects of their indexes."""
        return self._trees.get(prefix, {})

    def list(self, prefix: str) -> Sequence[Any]:
        """Give the attributes below a prefix as a list, in the order of their indexes.

        Indexes may have gaps, and may start at 1.
        """
        return in_order(self._trees.get(prefix, {}))

    @cached_property
    def _trees(self) -> dict[str, dict[str, Any]]:
        trees: dict[str, dict[str, Any]] = {}
        for place, (each, value) in enumerate(self.raw.items()):
            if place >= MAX_LOOKED_THROUGH:
                break
            if not isinstance(each, str) or "." not in each or len(each) > MAX_NAME:
                continue
            steps = each.split(".")
            if len(steps) > MAX_STEPS:
                continue
            for depth in _BY_DEPTH:
                prefix = ".".join(steps[:depth])
                if depth < len(steps) and prefix in _TREES:
                    _grow(trees.setdefault(prefix, {}), steps[depth:], value)
                    break
        return trees


def in_order(tree: Any) -> Sequence[Any]:
    """Give an object with numbers for keys as a list, in their order; a list as it is."""
    if isinstance(tree, list | tuple):
        return tree
    if not isinstance(tree, Mapping):
        return ()
    numbered = [(int(key), value) for key, value in tree.items() if _is_index(key)]
    return [value for _, value in sorted(numbered, key=lambda pair: pair[0])]


def _is_index(key: Any) -> bool:
    return isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 10


def _grow(tree: dict[str, Any], steps: Sequence[str], value: Any) -> None:
    for step in steps[:-1]:
        inner = tree.get(step)
        if not isinstance(inner, dict):
            inner = tree[step] = {} if inner is None else {"": inner}
        tree = inner
    last = steps[-1]
    if isinstance(tree.get(last), dict):
        tree[last][""] = value
    else:
        tree[last] = value
