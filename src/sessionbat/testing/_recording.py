"""A client that delivers nothing, and questions to what was recorded with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessionbat.client import SessionBat
from sessionbat.event import FEEDBACK
from sessionbat.transports import MemoryTransport

if TYPE_CHECKING:
    from types import TracebackType


class Recording:
    """A client that delivers nothing, and questions to what was recorded with it.

    ``client`` is a real one: what it records is masked, encoded and cut as it would be in
    production, and the events are those very bytes, decoded.

    Args:
        options: Those of ``SessionBat``: ``mask``, ``default_tags``, ``sample_rate``, …
    """

    def __init__(self, **options: Any) -> None:
        self.transport = MemoryTransport()
        options = {"app": "test", **options, "transport": self.transport}
        #: Give this to the code under test.
        self.client = SessionBat(**options)

    def events(
        self,
        *,
        kind: str | None = None,
        name: str | None = None,
        session_id: str | None = None,
        interaction_id: str | None = None,
    ) -> list[dict[str, Any]]:
        """Get what was recorded so far, in order; of it only what matches everything given.

        Args:
            kind: ``"llm"``, ``"tool"``, ``"retrieval"`` or ``"feedback"``.
            name: The observation's name; of a tool call, the tool's.
            session_id: Whose conversation.
            interaction_id: Which turn of it.
        """
        return [
            event
            for event in self.transport.events
            if kind in (None, event["type"])
            and name in (None, _name(event))
            and session_id in (None, event["session_id"])
            and interaction_id in (None, event["interaction_id"])
        ]

    def only(self, **wanted: str) -> dict[str, Any]:
        """Get the one event that matches; takes what ``events`` takes.

        Raises:
            AssertionError: There is none, or there are several; the message lists what there is.
        """
        found = self.events(**wanted)
        if len(found) != 1:
            described = ", ".join(f"{key}={value!r}" for key, value in wanted.items()) or "at all"
            raise AssertionError(
                f"expected one event {described}, found {len(found)} of:\n{self._listed()}"
            )
        return found[0]

    def steps(self, *, session_id: str | None = None) -> list[str]:
        """List what was done, in order: ``["retrieval", "tool lookup_account", "llm"]``.

        A step is the kind, and the name where there is one. Feedback is no step; ask for it with
        ``events(kind="feedback")``.
        """
        events = self.events(session_id=session_id)
        return [_step(event) for event in events if event["type"] != FEEDBACK]

    def assert_recorded(self, *steps: str, session_id: str | None = None) -> None:
        """Require that these steps were recorded in this order; others may stand between.

        Args:
            steps: As ``steps()`` writes them.
            session_id: Look at one session only.

        Raises:
            AssertionError: One is missing; the message names it and lists what there is.
        """
        recorded = iter(self.steps(session_id=session_id))
        for position, step in enumerate(steps):
            if step not in recorded:
                after = f" after {steps[position - 1]!r}" if position else ""
                raise AssertionError(f"no {step!r}{after} in:\n{self._listed(session_id)}")

    def clear(self) -> None:
        """Forget what was recorded so far."""
        self.transport.clear()

    def __enter__(self) -> Recording:
        """Use it for a block; its client is closed at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client; what was recorded stays."""
        self.client.close()

    def _listed(self, session_id: str | None = None) -> str:
        events = self.events(session_id=session_id)
        lines = [f"  {_step(event)} (session {event['session_id']})" for event in events]
        return "\n".join(lines) or "  nothing was recorded"


def _step(event: dict[str, Any]) -> str:
    name = _name(event)
    return event["type"] if name is None else f"{event['type']} {name}"


def _name(event: dict[str, Any]) -> str | None:
    name: str | None = event.get("observation", {}).get("name")
    return name
