"""The session list over real HTTP and the real store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.server.pages.markup import Document
from tests.server.wire import Wire, event

Read = Callable[..., Document]


def test_a_row_shows_the_figures_of_the_store(server: Wire, read: Read) -> None:
    used = {"input_tokens": 12_403, "output_tokens": 36}
    server.send(
        [
            event("e1", interaction_id="i1", observation__metrics=used),
            event("e2", interaction_id="i2"),
            event("e3", type="tool", observation__error={"type": "Timeout"}),
            event("e4", type="tool"),
            event("e5", type="tool", created_at="2026-11-22T16:03:05Z"),
            event("e6", type="retrieval"),
        ]
    )
    row = read("/sessions").all("tr")[1]
    figures = {cell.attributes["data-label"]: cell.text for cell in row.all("td")}
    when = figures.pop("last activity")
    assert figures == {
        "turns": "2",
        "model calls": "2",
        "tool calls": "3",
        "retrieval": "1",
        "error": "1",
        "tokens": "12 403 → 36",
        "lasted": "3 min 5 s",
    }
    assert when
    assert row.one("time").attributes["datetime"] == "2026-11-22T16:03:05.000000Z"


def test_a_session_is_called_by_its_users_first_words(server: Wire, read: Read) -> None:
    said = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "I am locked\nout"},
    ]
    server.send(
        [
            event("e1", type="retrieval", observation__input={"query": "locked account"}),
            event("e2", observation__input={"messages": said}),
        ]
    )
    assert read("/sessions").one("a", "name").text == "I am locked out"


def test_without_words_a_session_is_called_by_its_id(server: Wire, read: Read) -> None:
    server.send(event("e1", type="tool", observation__input={"n": 1}))
    assert read("/sessions").one("a", "name").text == "thread_1"


def test_older_leads_to_each_session_once_latest_first(server: Wire, read: Read) -> None:
    times = {f"s{n}": f"2026-11-22T16:0{n}:00Z" for n in range(5)}
    server.send([event(s, session_id=s, created_at=at) for s, at in times.items()])
    page, seen = read("/sessions", limit="2"), []
    while True:
        seen += [link.text for link in page.all("a", "name")]
        following = [a for a in page.all("a") if a.attributes.get("rel") == "next"]
        if not following:
            break
        page = read(following[0].attributes["href"])
    assert seen == ["s4", "s3", "s2", "s1", "s0"]


def test_the_app_filter_leaves_one_app(server: Wire, read: Read) -> None:
    server.send([event("e1", app="a & b", session_id="s1"), event("e2", app="c", session_id="s2")])
    page = read(read("/sessions").link("a & b"))
    assert [link.text for link in page.all("a", "name")] == ["s1"]
    assert page.one("nav", "apps").all("a")[1].attributes.get("aria-current") == "true"


def test_one_app_needs_no_filter(server: Wire, read: Read) -> None:
    server.send(event())
    assert read("/sessions").all("nav", "apps") == []


def test_many_apps_are_chosen_from_a_form_that_needs_no_script(server: Wire, read: Read) -> None:
    server.send([event(f"e{n}", app=f"app-{n}") for n in range(9)])
    form = read("/sessions", app="app-3").one("form", "apps")
    assert len(form.all("option")) == 10
    assert [o.text for o in form.all("option") if "selected" in o.attributes] == ["app-3"]
    assert form.one("button").text == "Show"


@pytest.mark.parametrize(
    "session_id",
    [
        "a/b/../c",
        "?&#%20+=;",
        "\"'><b>",
        "ünï çødé 🦇",
        " ",
        "x" * 1024,
        "🦇" * 1024,
        "line\nbreak\ttab",
    ],
    ids=["slashes", "query", "quotes", "unicode", "space", "long", "long-unicode", "breaks"],
)
def test_any_session_id_is_linked_to_its_page(server: Wire, read: Read, session_id: str) -> None:
    server.send(event(session_id=session_id))
    page = read(read("/sessions").one("a", "name").attributes["href"])
    assert page.one("h1").raw_text == session_id


def test_the_root_leads_to_the_list(server: Wire) -> None:
    answer = server.request("GET", "/")
    assert (answer.status, answer.headers["location"]) == (307, "/sessions")


def test_an_empty_server_shows_five_lines_that_record_into_it(server: Wire, read: Read) -> None:
    snippet = read("/sessions").one("pre").raw_text
    assert len(snippet.strip().splitlines()) == 5
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", snippet], env=environment, check=True, timeout=30)
    assert read("/sessions").one("a", "name").text == "Hello"


def test_an_app_without_sessions_says_so_and_leads_to_all(server: Wire, read: Read) -> None:
    server.send(event())
    page = read("/sessions", app="nobody")
    assert page.one("p", "nothing").text.startswith("No sessions of “nobody”")
    assert page.link("Show all sessions") == "/sessions"


@pytest.mark.parametrize(
    ("parameters", "slug"),
    [
        ({"after": "rubbish"}, "bad-after"),
        ({"limit": "0"}, "bad-limit"),
        ({"limit": "x"}, "bad-limit"),
    ],
)
def test_an_address_that_makes_no_sense_is_answered_by_a_page(
    exhibition: Wire, parameters: dict[str, str], slug: str
) -> None:
    answer = exhibition.get("/sessions", **parameters)
    assert answer.status == 400
    assert answer.headers["content-type"].startswith("text/html")
    assert Document(answer.body.decode()).one("p", "code").text == f"400 {slug}"
