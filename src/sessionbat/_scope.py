"""What is known of an event before it happens: app, session, interaction, tags, context.

Merged and encoded once when a session or interaction is made, not at each call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from sessionbat._encoding import encode_value
from sessionbat._encoding.cutting import cut_text, mend_text
from sessionbat._encoding.plain_values import to_plain
from sessionbat._encoding.well_formed import as_object

MAX_TAGS: Final = 100
MAX_TAG_CHARACTERS: Final = 256
MAX_CONTEXT_BYTES: Final = 64 * 1024


class Scope:
    """The envelope's part that many events share. Immutable."""

    __slots__ = (
        "app",
        "context",
        "context_json",
        "interaction_id",
        "session_id",
        "tags",
        "tags_json",
    )

    def __init__(
        self,
        app: str,
        session_id: str = "",
        interaction_id: str = "",
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        self.app = app
        self.session_id = session_id
        self.interaction_id = interaction_id
        self.tags = _merged_tags((), tags)
        self.tags_json = _tags_json(self.tags)
        #: As it was when the scope was made: later changes by the host do not reach it.
        self.context, self.context_json = _merged_context({}, context)

    def within_session(self, session_id: str) -> Scope:
        """Make the scope of a session."""
        scope = self._copy()
        scope.session_id = session_id
        return scope

    def within_interaction(self, interaction_id: str) -> Scope:
        """Make the scope of one turn."""
        scope = self._copy()
        scope.interaction_id = interaction_id
        return scope

    def extended(
        self, tags: Iterable[str] | None = None, context: Mapping[str, Any] | None = None
    ) -> Scope:
        """Add tags behind those that are there, without repeats, and merge context over it."""
        if tags is None and context is None:
            return self
        scope = self._copy()
        if tags is not None:
            scope.tags = _merged_tags(self.tags, tags)
            scope.tags_json = _tags_json(scope.tags)
        if context is not None:
            scope.context, scope.context_json = _merged_context(self.context, context)
        return scope

    def _copy(self) -> Scope:
        # Written out, because a loop takes four times as long and each interaction makes a copy.
        copy = Scope.__new__(Scope)
        copy.app = self.app
        copy.session_id, copy.interaction_id = self.session_id, self.interaction_id
        copy.tags, copy.tags_json = self.tags, self.tags_json
        copy.context, copy.context_json = self.context, self.context_json
        return copy


def _merged_tags(tags: tuple[str, ...], added: object) -> tuple[str, ...]:
    merged = tuple(dict.fromkeys([*tags, *_tag_texts(added)]))
    if len(merged) <= MAX_TAGS:
        return merged
    return (*merged[: MAX_TAGS - 1], f"<{len(merged) - MAX_TAGS + 1} more>")


def _tag_texts(tags: object) -> list[str]:
    plain = to_plain(tags, 10 * MAX_TAGS)
    items = plain if type(plain) is list else [plain]
    return [_tag_text(item) for item in items if item is not None]


def _tag_text(item: Any) -> str:
    if type(item) is not str:
        item = encode_value(item, MAX_TAG_CHARACTERS).decode()
    return mend_text(cut_text(item, MAX_TAG_CHARACTERS))


def _tags_json(tags: tuple[str, ...]) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(tags))


def _merged_context(
    context: dict[str, Any], added: object
) -> tuple[dict[str, Any], orjson.Fragment]:
    if added is not None:
        context = {**context, **_known_only(added)}
    data = encode_value(context, MAX_CONTEXT_BYTES)
    decoded = orjson.loads(data)
    if type(decoded) is not dict:  # a note that it could not be encoded
        return _merged_context({}, {"context": decoded})
    return decoded, orjson.Fragment(data)


def _known_only(context: object) -> dict[str, Any]:
    plain = to_plain(as_object(context, "context"))
    return plain if type(plain) is dict else {"context": plain}
