"""/session and its twin /session.json: one session, a page of its observations."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final, NamedTuple

from starlette.requests import Request

from sessionbat.server.access.answers_at_once import AtOnce
from sessionbat.server.access.permissions import visible_to
from sessionbat.server.access.routes import Face, GuardedRoute, Need
from sessionbat.server.pages import event_page
from sessionbat.server.pages.rendering import as_json, page, render, twin
from sessionbat.server.pages.view.budget import ON_A_PAGE, WORDS_ONLY
from sessionbat.server.pages.view.feedback import FeedbackView
from sessionbat.server.pages.view.session import Place, Turn, present_session
from sessionbat.server.records import Page, SessionSummary, StoredEvent
from sessionbat.server.store.protocol import Store
from sessionbat.server.web.addresses import SESSION, SESSION_DATA, Here, event_addresses, here
from sessionbat.server.web.parameters import Query, Text, Whole, missing
from sessionbat.server.web.refusal import Refused
from sessionbat.server.web.session_parameters import (
    AFTER,
    ITS_APP,
    limit,
    no_such_session,
    refused_cursors,
)

OBSERVATIONS_PER_PAGE: Final = 200
_LIMIT: Final = limit(OBSERVATIONS_PER_PAGE, OBSERVATIONS_PER_PAGE)

# Each holds 8 MB of JSON, one event decoded whole, and what is shown of all: 100 MB at worst. They
# compute, so that more at once would not be faster, and make the lists slower.
_SESSIONS_AT_ONCE: Final = 2

_ID: Final = Text(name="id", description="the session, as its host names it")
_ALSO_ID: Final = Text(name="session_id", description="the same, as the API names it")
_EVENT: Final = Text(name="event", description="this event alone and in full")
# The end of the page before; see ``Place``.
_SEEN: Final = Whole(name="seen", description="observations before this page", default=0)
_TURNS: Final = Whole(name="turns", description="turns before this page", default=0)
_LAST: Final = Text(name="last", description="the last turn before this page", default="")
_PARAMETERS: Final = (ITS_APP, _ID, _ALSO_ID, _LIMIT, AFTER, _EVENT, _SEEN, _TURNS, _LAST)


def routes(store: Store) -> list[GuardedRoute]:
    """List the routes of a session's page and its twin."""
    in_turn, pages = AtOnce(_SESSIONS_AT_ONCE), _Sessions(store)
    return [
        GuardedRoute(SESSION, in_turn(page(pages.show)), need=Need.READ_ONE_APP, face=Face.PAGE),
        GuardedRoute(
            SESSION_DATA, in_turn(twin(pages.data)), need=Need.READ_ONE_APP, face=Face.JSON
        ),
    ]


class _Found(NamedTuple):
    """A session, and the requested page of its events."""

    query: Query
    session: SessionSummary
    events: Page[StoredEvent]
    #: The position of these events in the session.
    place: Place
    #: The latest feedback of the whole session.
    said: list[StoredEvent]

    @property
    def is_one_event(self) -> bool:
        return self.query.get(_EVENT) is not None


class _Sessions:
    """Handlers of the page for one session of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def show(self, request: Request) -> str:
        """Show a session, or a single event of it in full."""
        found = self._find(request)
        if found.is_one_event:
            return event_page.show(request, found.session, found.events.items)
        view = present_session(found.events.items, found.place, ON_A_PAGE, found.said)
        address = here(request.scope)
        has_before = found.query.get(AFTER) is not None
        session = found.session
        return render(
            "session.html",
            request,
            twin=address.data(),
            session=session,
            view=view,
            next=_continuation(address, found.events.next, view.next_place),
            first=address.addresses.session(session.app, session.session_id)
            if has_before
            else None,
            event_address=event_addresses(address.changed(event=None)),
            raw_address=event_addresses(address.data(event=None)),
        )

    def data(self, request: Request) -> bytes:
        """Return the page's data: figures, turns, and the events as received."""
        found = self._find(request)
        view = present_session(found.events.items, found.place, WORDS_ONLY, found.said)
        head = {
            "session": asdict(found.session),
            "next": found.events.next,
            "outcome": view.said.outcome and _said(view.said.outcome),
            "feedback": [_said(each) for each in view.said.feedback],
            "turns": [_turn(turn) for turn in view.turns],
        }
        # Events are passed on byte for byte: a decoder between would cost time and digits.
        return b'%s,\n"items": [%s]}' % (
            as_json(head).removesuffix(b"\n}"),
            b",\n".join(stored.raw for stored in found.events.items),
        )

    def _find(self, request: Request) -> _Found:
        given = request.query_params.multi_items()
        query = Query("session", _PARAMETERS, given, ignore_others=True)
        app, name = query.require(ITS_APP), _name_of_id(query)
        session_id = query.require(name)
        visible = visible_to(request.scope, self._store)
        session = visible.get_session(app, session_id)
        if session is None:
            raise no_such_session(name.name)
        wanted = query.get(_EVENT)
        if wanted is not None:
            found = event_page.find(visible, session, wanted)
            return _Found(query, session, found, _place(query), [])
        with refused_cursors():
            events = visible.list_events(
                app, session_id, limit=query.require(_LIMIT), after=query.get(AFTER)
            )
        said = visible.list_feedback(app, session_id) if session.feedback else []
        return _Found(query, session, events, _place(query), said)


def _name_of_id(query: Query) -> Text:
    """Return which of its two parameter names gives the session's id."""
    given = [name for name in (_ID, _ALSO_ID) if query.get(name) is not None]
    if not given:
        raise missing(_ID)
    if len({query.get(name) for name in given}) > 1:
        raise Refused(
            400,
            "repeated-parameter",
            "id and session_id mean the same and differ; give one",
            at="session_id",
        )
    return given[0]


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "number": turn.number,
        "interaction_id": turn.interaction_id,
        "asked": turn.asked and turn.asked.text,
        "answered": turn.answered and turn.answered.text,
        "status": turn.status,
        "events": [step.observation.id for step in turn.steps],
    }


def _said(view: FeedbackView) -> dict[str, Any]:
    return {
        "id": view.id,
        "source": view.said.source,
        "score": view.said.score,
        "label": view.said.label,
        "outcome": view.said.outcome,
        "words": view.words and view.words.text,
        "interaction_id": view.interaction_id,
        "observation_id": view.observation_id,
    }


def _place(query: Query) -> Place:
    if query.get(AFTER) is None:
        return Place()
    return Place(query.require(_SEEN), query.require(_TURNS), query.require(_LAST))


def _continuation(address: Here, after: str | None, place: Place) -> str | None:
    if after is None:
        return None
    return address.changed(
        after=after, seen=str(place.observations), turns=str(place.turns), last=place.last_turn
    )
