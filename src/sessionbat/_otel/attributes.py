"""A span's attributes, asked for by several names; the first that is there wins.

Attributes are looked through once: those that spell a list or an object in their names
(``llm.input_messages.0.message.role``) become that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from sessionbat._otel import values

#: Attributes of one span that are looked at by prefix; by full name all are found.
MAX_LOOKED_THROUGH: Final = 100_000
#: Steps in a name (``a.b.c`` has three) that become an object in an object.
MAX_STEPS: Final = 16
MAX_NAME: Final = 512

#: Names under which the host's metadata is flattened, the last for what none before it says.
METADATA_TREES: Final = (
    *("langfuse.observation.metadata", "langfuse.trace.metadata", "langsmith.metadata"),
    *("traceloop.association.properties", "ai.telemetry.metadata", "ai.settings.context"),
    "metadata",
)
#: Names under which instrumentation flattens lists and objects into many attributes.
TREES: Final = (
    *METADATA_TREES,
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
    "sessionbat.context",
)
_BY_DEPTH: Final = sorted({tree.count(".") + 1 for tree in TREES}, reverse=True)
_TREES: Final = frozenset(TREES)
_EMPTY: Final[Mapping[str, Any]] = {}
_NOT_READ: Final = object()
#: Of one span: attributes that ``chosen`` looks at, and how long their names may be.
MAX_CHOSEN_FROM: Final = 10_000
MAX_CHOSEN_NAME: Final = 200
# Shapes that are kept, of so many attributes and characters of their names: some megabytes.
_MAX_SHAPES: Final = 512
_MAX_KEPT_ATTRIBUTES: Final = 128
_MAX_KEPT: Final = 8192


class Names(tuple[str, ...]):
    """Names of one thing, best first. A constant of its module: known by identity."""

    __slots__ = ()
    __hash__ = object.__hash__  # of a tuple that of all names in it, each time

    def __new__(cls, *names: str) -> Names:
        return super().__new__(cls, names)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other


class Attributes:
    """What a span says, by name and by prefix."""

    __slots__ = ("_decoded", "_shape", "_trees_read", "raw")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self._shape = _shape_of(raw)
        self._decoded: dict[str, Any] = {}
        self._trees_read: dict[str, dict[str, Any]] | None = None

    @property
    def may_have_metadata(self) -> bool:
        """Whether there is anything in which a host's metadata may be."""
        return self._shape.has_metadata or bool(self.present(_HOLDERS))

    def present(self, names: Names) -> tuple[str, ...]:
        """Say which of these are there; found once for all spans of one shape."""
        found = self._shape.present.get(names)
        return self._shape.find(names) if found is None else found

    def chosen(self, choose: Callable[[str], bool]) -> tuple[str, ...]:
        """Give the names that a function of a module chooses; asked once for spans of one shape."""
        found = self._shape.chosen.get(choose)
        return self._shape.choose(choose) if found is None else found

    def has_tree(self, prefixes: frozenset[str]) -> bool:
        """Whether there are attributes below any of these."""
        return not self._shape.trees.isdisjoint(prefixes)

    def first(self, names: Names) -> Any:
        """Give the value of the first name that holds anything but an empty text or list."""
        for each in self.present(names):
            value = self.raw[each]
            if type(value) is str:
                if value:
                    return value
            elif value is not None and value not in ("", b"", []) and value != ():
                return value
        return None

    def name(self, names: Names) -> str | None:
        """Give the first of these that is a name: text that is not empty."""
        for each in self.present(names):
            found = values.name(self.raw[each])
            if found is not None:
                return found
        return None

    def tree(self, prefix: str) -> Mapping[str, Any]:
        """Give the attributes below a prefix as an object; lists are objects of their indexes."""
        return self._trees().get(prefix, _EMPTY) if prefix in self._shape.trees else _EMPTY

    def list(self, prefix: str) -> Sequence[Any]:
        """Give the attributes below a prefix as a list, in the order of their indexes.

        Indexes may have gaps, and may start at 1.
        """
        return in_order(self._trees().get(prefix)) if prefix in self._shape.trees else ()

    def decoded(self, names: Names) -> Any:
        """Give the first of these with JSON in it read; each text is read once only."""
        value = self.first(names)
        if value is None:
            return None
        if type(value) is not str:
            return values.decoded(value)
        known = self._decoded.get(value, _NOT_READ)
        if known is _NOT_READ:
            known = self._decoded[value] = values.decoded(value)
        return known

    def mapping(self, names: Names) -> Mapping[str, Any]:
        """Give an object by its name, also one that is JSON; anything else as empty."""
        found = self.decoded(names)
        return found if isinstance(found, dict) else _EMPTY

    def _trees(self) -> dict[str, dict[str, Any]]:
        trees = self._trees_read
        if trees is None:
            trees = self._trees_read = {}
            for name, prefix, steps in self._shape.in_trees:
                _grow(trees.setdefault(prefix, {}), steps, self.raw[name])
        return trees


#: Single attributes that hold the host's metadata, as JSON.
_HOLDERS: Final = Names(
    *("metadata", "langfuse.observation.metadata", "langfuse.trace.metadata"),
    "llm.invocation_parameters",
)


class _Shape:
    """Which attributes a span has. Spans of one instrumentation have the same, time and again."""

    __slots__ = ("_names", "chosen", "has_metadata", "in_trees", "present", "trees")

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = dict.fromkeys(names)
        #: Of names that were asked for: those that are there.
        self.present: dict[Names, tuple[str, ...]] = {}
        #: Those that spell a tree: each with the tree and its place there.
        self.in_trees = tuple(_in_trees(names))
        self.trees = frozenset(prefix for _, prefix, _ in self.in_trees)
        self.has_metadata = not self.trees.isdisjoint(METADATA_TREES)
        self.chosen: dict[Callable[[str], bool], tuple[str, ...]] = {}

    def find(self, names: Names) -> tuple[str, ...]:
        found = self.present[names] = tuple(each for each in names if each in self._names)
        return found

    def choose(self, choose: Callable[[str], bool]) -> tuple[str, ...]:
        names = (each for each in islice(self._names, MAX_CHOSEN_FROM) if type(each) is str)
        found = tuple(each for each in names if len(each) <= MAX_CHOSEN_NAME and choose(each))
        self.chosen[choose] = found
        return found


_shapes: Final[dict[tuple[str, ...], _Shape]] = {}


def _shape_of(raw: Mapping[str, Any]) -> _Shape:
    names = tuple(raw)
    shape = _shapes.get(names)
    if shape is None:
        shape = _Shape(names)
        if len(names) <= _MAX_KEPT_ATTRIBUTES and sum(map(len, map(str, names))) <= _MAX_KEPT:
            if len(_shapes) >= _MAX_SHAPES:
                _shapes.clear()
            _shapes[names] = shape
    return shape


def _in_trees(names: Sequence[str]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for each in names[:MAX_LOOKED_THROUGH]:
        where = _place_of(each) if type(each) is str and len(each) <= MAX_NAME else None
        if where is not None:
            yield each, *where


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
