"""What is known of an event before it happens: app, session, interaction, tags, context.

Merged and encoded once when a session or interaction is made, not at each call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from sessionbat._encoding import encode_value
from sessionbat._plain_values import to_plain


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
        tags: tuple[str, ...] = (),
        context: Mapping[str, Any] | None = None,
    ) -> None:
        self.app = app
        self.session_id = session_id
        self.interaction_id = interaction_id
        self.tags = tags
        #: As it was when the scope was made: later changes by the host do not reach it.
        self.context: dict[str, Any] = to_plain(context) if context else {}
        self.tags_json = orjson.Fragment(encode_value(list(tags)))
        self.context_json = orjson.Fragment(encode_value(self.context))

    def within_session(self, session_id: str) -> Scope:
        """Make the scope of a session."""
        return Scope(self.app, session_id, "", self.tags, self.context)

    def within_interaction(self, interaction_id: str) -> Scope:
        """Make the scope of one turn."""
        return Scope(self.app, self.session_id, interaction_id, self.tags, self.context)

    def extended(
        self, tags: Iterable[str] | None = None, context: Mapping[str, Any] | None = None
    ) -> Scope:
        """Add tags behind those that are there, without repeats, and merge context over it."""
        if tags is None and context is None:
            return self
        merged_tags = dict.fromkeys([*self.tags, *_tag_texts(tags)])
        merged_context = {**self.context, **_context_object(context)}
        return Scope(
            self.app, self.session_id, self.interaction_id, tuple(merged_tags), merged_context
        )


def _tag_texts(tags: object) -> list[str]:
    if tags is None:
        return []
    if isinstance(tags, str):
        return [tags]
    plain = to_plain(tags)
    items = plain if isinstance(plain, list) else [plain]
    return [item if isinstance(item, str) else str(item) for item in items if item is not None]


def _context_object(context: object) -> dict[str, Any]:
    if context is None:
        return {}
    plain = to_plain(context)
    return plain if isinstance(plain, dict) else {"context": plain}
