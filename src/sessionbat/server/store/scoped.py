"""The store as one key may see it: with a key of one app, no other app is there.

The read API and the pages ask this and never the store itself. An app that is not theirs to see
answers like one that was never heard of, and costs no question to the database.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sessionbat.server.store.protocol import Store
from sessionbat.server.store.questions import Answer, Asking, Question


class Visible(Asking):
    """Answers questions about what may be seen.

    Args:
        store: Everything.
        app: The only app that may be seen; None: every app.
    """

    def __init__(self, store: Store, app: str | None) -> None:
        self._store = store
        self._app = app

    @property
    def context_keys(self) -> tuple[str, ...]:
        """See ``Events.context_keys``."""
        return self._store.context_keys

    def ask(self, question: Question[Answer]) -> Answer:
        """Narrow any question to the app that may be seen, and ask it."""
        if self._app is None:
            return self._store.ask(question)
        if question.app not in (None, self._app):
            return question.nothing()
        narrowed: Any = question  # each is a dataclass with an `app`
        answer: Answer = self._store.ask(replace(narrowed, app=self._app))
        return answer
