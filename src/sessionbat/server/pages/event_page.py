"""/session?event=: a single observation in full."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request

from sessionbat.server.pages.rendering import render
from sessionbat.server.pages.view.budget import IN_FULL
from sessionbat.server.pages.view.session import Place, present_session
from sessionbat.server.records import Page, SessionSummary, StoredEvent
from sessionbat.server.store.scoped import Visible
from sessionbat.server.web.addresses import here
from sessionbat.server.web.refusal import Refused


def find(visible: Visible, session: SessionSummary, event_id: str) -> Page[StoredEvent]:
    """Find one event of a session, as a page with one item.

    Raises:
        Refused: The session has no event with that id (404).
    """
    found = visible.find_event(session.app, session.session_id, event_id)
    if found is None:
        raise Refused(404, "no-such-event", "this session has no event with that id", at="event")
    return Page([found], None)


def show(request: Request, session: SessionSummary, events: Sequence[StoredEvent]) -> str:
    """Show one event."""
    address = here(request.scope)
    return render(
        "event.html",
        request,
        twin=address.data(),
        session=session,
        view=present_session(events, Place(), IN_FULL),
        here=address.changed(event=None),
    )
