"""A span's attributes, asked for by several names; the first that is there wins.

Attributes are looked through once: those that spell a list or an object in their names
(``llm.input_messages.0.message.role``) become that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
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
#: Single attributes that hold the host's metadata, as JSON.
_HOLDERS: Final = frozenset(
    {
        *("metadata", "langfuse.observation.metadata", "langfuse.trace.metadata"),
        "llm.invocation_parameters",
    }
)
_BY_DEPTH: Final = sorted({tree.count(".") + 1 for tree in TREES}, reverse=True)
_TREES: Final = frozenset(TREES)
_EMPTY: Final[Mapping[str, Any]] = {}
_NOT_READ: Final = object()


class Attributes:
    """What a span says, by name and by prefix."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw

    @cached_property
    def may_have_metadata(self) -> bool:
        """Whether there is anything in which a host's metadata may be."""
        return bool(self._trees) or self.has_any(_HOLDERS)

    def has_any(self, known: frozenset[str]) -> bool:
        """Whether any of these is there; cheaper than asking for each."""
        return not known.isdisjoint(self.raw)

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
        raw = self.raw
        for each in names:
            value = raw.get(each)
            if value is not None and (found := values.name(value)) is not None:
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

    def decoded(self, *names: str) -> Any:
        """Give the first of these with JSON in it read; each text is read once only."""
        value = self.first(*names)
        if type(value) is not str:
            return values.decoded(value)
        known = self._decoded.get(value, _NOT_READ)
        if known is _NOT_READ:
            known = self._decoded[value] = values.decoded(value)
        return known

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Give an object by its name, also one that is JSON; anything else as empty."""
        found = self.decoded(name)
        return found if isinstance(found, dict) else _EMPTY

    @cached_property
    def _decoded(self) -> dict[str, Any]:
        return {}

    @cached_property
    def _trees(self) -> dict[str, dict[str, Any]]:
        trees: dict[str, dict[str, Any]] = {}
        for place, (each, value) in enumerate(self.raw.items()):
            if place >= MAX_LOOKED_THROUGH:
                break
            where = _place_of(each) if type(each) is str and len(each) <= MAX_NAME else None
            if where is not None:
                _grow(trees.setdefault(where[0], {}), where[1], value)
        return trees


@lru_cache(16_384)
def _place_of(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Say in which tree an attribute is, and where; the same names come again and again."""
    if not name.startswith(TREES):
        return None
    steps = name.split(".")
    if len(steps) > MAX_STEPS:
        return None
    for depth in _BY_DEPTH:
        prefix = ".".join(steps[:depth])
        if depth < len(steps) and prefix in _TREES:
            return prefix, tuple(steps[depth:])
    return None


def in_order(tree: Any) -> Sequence[Any]:
    """Give an object with numbers for keys as a list, in their order; a list as it is."""
    if isinstance(tree, list | tuple):
        return tree
    if not isinstance(tree, dict):
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
