"""Times of a transcript are those of its events; what has none stays without."""

from __future__ import annotations

import json

from sessionbat.transports import IngestionTransport
from tests.importing.spellings import (
    ANSWER,
    QUESTION,
    SPELLINGS,
    get,
    import_bytes,
    open_page,
    steps_of,
)


def test_times_that_are_missing_stay_missing(server: str) -> None:
    import_bytes(server, json.dumps(SPELLINGS["chat"]).encode())
    (session,) = get(f"{server}/api/v1/sessions")["items"]
    assert session["times_known"] is False
    for event in get(f"{server}/api/v1/events?app=file&session_id=s")["items"]:
        observation = event["observation"]
        assert observation["metadata"]["times"] == "unknown"
        assert (observation["started_at"], observation["metrics"]) == (None, {})
    listed = open_page(f"{server}/sessions")
    page = open_page(f"{server}/session?app=file&id=s")
    for made_up in ("1 ms", "just now", "ago<", "<dt>started</dt>", "<dt>Started</dt>"):
        assert made_up not in listed and made_up not in page
    assert "no times recorded" in page


def test_times_of_a_transcript_are_the_times_of_its_events(server: str) -> None:
    messages = [
        {**QUESTION, "timestamp": "2026-03-01T10:00:00Z"},
        {**ANSWER, "timestamp": "2026-03-01T10:00:05+00:00"},
        {**QUESTION, "created_at": 1772359260},
        {**ANSWER, "created_at": 1772359263.5},
    ]
    import_bytes(server, json.dumps({"id": "s", "messages": messages}).encode())
    (session,) = get(f"{server}/api/v1/sessions")["items"]
    assert session["times_known"] is True
    assert session["first_at"] == "2026-03-01T10:00:05.000000Z"
    assert session["last_at"] == "2026-03-01T10:01:03.500000Z"
    assert "1 Mar 2026" in open_page(f"{server}/session?app=file&id=s")


def test_a_step_without_a_time_among_others_keeps_its_place_and_says_so() -> None:
    asks = {**SPELLINGS["chat"]["messages"][1], "timestamp": "2026-03-01T10:00:00Z"}
    last = {**ANSWER, "timestamp": "2026-03-01T09:00:00Z"}
    steps = steps_of({"messages": [QUESTION, asks, *SPELLINGS["chat"]["messages"][2:3], last]})
    times = [step.at for step in steps]
    assert None not in times and times == sorted(times, key=str)
    assert ["times" in step.metadata for step in steps] == [False, True, False]


def test_a_recorded_session_has_known_times(server: str) -> None:
    transport = IngestionTransport(endpoint=server)
    from sessionbat.client import SessionBat

    SessionBat(app="a", transport=transport).session(session_id="s").interaction().llm(output="x")
    transport.close(10)
    (session,) = get(f"{server}/api/v1/sessions")["items"]
    assert session["times_known"] is True
