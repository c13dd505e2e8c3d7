"""The store limited to one key's permissions: a key of one app sees no other app.

The read API and the pages use this and never the store itself. A query about a forbidden app gets
the same answer as one about an unknown app, without asking the database.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sessionbat.server.store.protocol import Store
from sessionbat.server.store.questions import Answer, Asking, Question


class Visible(Asking):
    """Answers queries within a key's permissions.

    Args:
        store: The whole store.
        app: The only app that may be seen; None for every app.
    """

    def __init__(self, store: Store, app: str | None) -> None:
        self._store = store
        self._app = app

    @property
    def context_keys(self) -> tuple[str, ...]:
        """See ``Events.context_keys``."""
        return self._store.context_keys

    def ask(self, question: Question[Answer]) -> Answer:
        """Limit a query to the app that may be seen, and ask it."""
        if self._app is None:
            return self._store.ask(question)
        if question.app not in (None, self._app):
            return question.nothing()
        narrowed: Any = question  # each is a dataclass with an `app`
        answer: Answer = self._store.ask(replace(narrowed, app=self._app))
        return answer
