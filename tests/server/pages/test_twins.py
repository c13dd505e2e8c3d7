"""Each page's ``.json`` twin: the same data at the same address."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.server.pages.markup import Document
from tests.server.pages.payloads import MARKUP, hostile_events
from tests.server.wire import Wire, event

Read = Callable[..., Document]
SESSION = {"app": "support-bot", "id": "thread_1"}


def test_the_lists_twin_has_what_the_read_api_has_and_titles(server: Wire) -> None:
    words = {"prompt": "I am locked out"}
    server.send([event("e1", observation__input=words), event("e2", session_id="s2")])
    api = server.get("/api/v1/sessions").json["items"]
    twin = server.get("/sessions.json").json
    assert twin["apps"] == ["support-bot"]
    assert {s["title"] for s in twin["items"]} == {"I am locked out", ""}
    assert twin["items"] == api


def test_the_lists_twin_shows_what_its_page_shows(server: Wire, read: Read) -> None:
    server.send([event(f"e{n}", session_id=f"s{n}") for n in range(5)])
    page = read("/sessions", limit="2")
    for _ in range(2):
        twin = server.request("GET", page.twin).json
        assert [s["session_id"] for s in twin["items"]] == [a.text for a in page.all("a", "name")]
        page = read(page.link("Older →"))


def test_a_sessions_twin_shows_what_its_page_shows(server: Wire, read: Read) -> None:
    server.send(
        [
            event(
                f"e{n}",
                interaction_id=f"i{n // 2}",
                observation__input={"prompt": f"q{n}"},
                observation__output=f"a{n}",
            )
            for n in range(5)
        ]
    )
    page = read("/session", **SESSION, limit="3")
    twin = server.request("GET", page.twin).json
    assert twin["turns"] == [
        {
            "number": 1,
            "interaction_id": "i0",
            "asked": "q0",
            "answered": "a1",
            "status": "",
            "events": ["e0", "e1"],
        },
        {
            "number": 2,
            "interaction_id": "i1",
            "asked": "q2",
            "answered": "a2",
            "status": "",
            "events": ["e2"],
        },
    ]
    assert [e["id"] for e in twin["items"]] == [
        e.attributes["id"] for e in page.all("div", "evidence")
    ]
    following = server.request("GET", page.link("Next observations →").replace("?", ".json?", 1))
    assert [e["id"] for e in following.json["items"]] == ["e3", "e4"]


def test_a_sessions_twin_has_the_figures_of_the_read_api(server: Wire) -> None:
    server.send(event("e1", observation__error="x"))
    api = server.get("/api/v1/session", app="support-bot", session_id="thread_1").json
    assert server.get("/session.json", **SESSION).json["session"] == api


def test_events_are_passed_on_as_they_were_received(server: Wire) -> None:
    text = json.dumps(event("e1", observation__input={"n": 10**40, "f": 1.0}))
    server.send(text.encode())
    assert text.encode() in server.get("/session.json", **SESSION).body


def test_one_event_has_a_twin_too(server: Wire, read: Read) -> None:
    server.send([event("e1"), event("e2")])
    page = read("/session", **SESSION)
    raw = [a.attributes["href"] for a in page.all("a") if a.text == "JSON"]
    twin = server.request("GET", raw[-1]).json
    assert [e["id"] for e in twin["items"]] == ["e2"]


def test_hostile_payloads_come_through_twins_unchanged(exhibition: Wire) -> None:
    sent = hostile_events()
    answer = exhibition.get("/session.json", app=MARKUP, id=MARKUP)
    assert answer.headers["content-type"] == "application/json"
    assert sorted(answer.json["items"], key=str) == sorted(sent, key=str)


@pytest.mark.parametrize(
    ("path", "parameters", "status", "slug", "at"),
    [
        ("/session.json", {"app": "support-bot", "id": "x"}, 404, "no-such-session", "id"),
        ("/session.json", {"app": "support-bot"}, 400, "missing-parameter", "id"),
        ("/session.json", {**SESSION, "event": "x"}, 404, "no-such-event", "event"),
        ("/sessions.json", {"after": "x"}, 400, "bad-after", "after"),
        ("/sessions.json", {"limit": "51"}, 400, "bad-limit", "limit"),
    ],
)
def test_a_twin_says_as_json_what_cannot_be_answered(
    exhibition: Wire, path: str, parameters: dict[str, str], status: int, slug: str, at: str
) -> None:
    answer = exhibition.get(path, **parameters)
    assert answer.status == status
    assert (answer.slug, answer.json["error"]["at"]) == (slug, at)
