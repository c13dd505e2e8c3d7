"""Feedback on a session's page, each beside what it is about; and sent from a page of elsewhere."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.server.pages.markup import Document, Element
from tests.server.wire import Wire, event

Read = Callable[..., Document]
SESSION = {"app": "support-bot", "id": "thread_1"}
DOCS = Path(__file__).parents[3] / "docs"


def feedback(id_: str, at: str = "17:00:00", **fields: Any) -> dict[str, Any]:
    made = event(id_, type="feedback", created_at=f"2026-11-22T{at}Z")
    del made["observation"]
    made["interaction_id"] = fields.pop("interaction_id", None)
    return {**made, "feedback": {"source": "user", **fields}}


def words(element: Element | Document) -> str:
    return " ".join(element.text.split())


def sections(page: Document, name: str) -> list[str]:
    return [words(each) for each in page.all("section", name)]


@pytest.fixture
def stocked(server: Wire) -> Wire:
    server.send(
        [
            event("e1", interaction_id="t1", observation__input="Where is it?"),
            event("e2", interaction_id="t1", type="tool", observation__name="track"),
            event("e3", interaction_id="t2", observation__input="Thanks"),
        ]
    )
    return server


def test_feedback_stands_behind_its_step_its_turn_and_in_the_head(
    stocked: Wire, read: Read
) -> None:
    stocked.send(
        [
            feedback(
                "f1", interaction_id="t1", observation_id="e2", score=0, comment="Wrong parcel"
            ),
            feedback("f2", interaction_id="t2", label="thumbs_up"),
            feedback("f3", comment="All in all fine"),
        ]
    )
    page = read("/session", **SESSION)
    [head] = sections(page, "heard")
    for text in ("score 0", "Wrong parcel", "of one step", "thumbs_up", "of turn 2",
                 "All in all fine", "of the session"):  # fmt: skip
        assert text in head
    first, second = page.all("section", "turn")
    assert [words(each) for each in first.all("div", "here")] == [
        "score 0said by the user22 Nov 2026, 17:00:00 UTC Wrong parcel"
    ]
    assert "thumbs_up" in words(second.all("div", "here")[0])
    # Behind the step that it is about, not in it: it shows while the step is folded.
    html = stocked.get("/session", **SESSION).body.decode()
    assert html.index('id="e2"') < html.index("heard here") < html.index('id="e3"')


def test_an_outcome_stands_on_top_and_the_last_one_counts(stocked: Wire, read: Read) -> None:
    stocked.send(
        [
            feedback("o2", "18:00:00", outcome="failed", reason="cancelled", source="app"),
            feedback("o1", "17:00:00", outcome="helped", source="app"),
        ]
    )
    page = read("/session", **SESSION)
    [shown] = sections(page, "outcome")
    assert shown.startswith("Outcome failed") and "said by the app" in shown
    assert "cancelled" in shown
    assert sections(page, "heard") == []
    data = stocked.get("/session.json", **SESSION).json
    assert (data["outcome"]["outcome"], data["outcome"]["words"]) == ("failed", "cancelled")


def test_a_page_without_feedback_says_nothing_of_it(stocked: Wire, read: Read) -> None:
    page = read("/session", **SESSION)
    assert sections(page, "heard") == sections(page, "outcome") == []
    data = stocked.get("/session.json", **SESSION).json
    assert (data["outcome"], data["feedback"]) == (None, [])


def test_feedback_is_no_step_and_in_no_figure(stocked: Wire, read: Read) -> None:
    before = words(read("/session", **SESSION).one("dl", "figures"))
    stocked.send([feedback("f1", "16:00:00", interaction_id="t1", score=1)])
    page = read("/session", **SESSION)
    assert words(page.one("dl", "figures")) == before
    assert len(page.all("details", "step")) == 3
    assert "3 observations in 2 turns" in words(page)


def test_a_session_of_nothing_but_feedback_has_a_page(server: Wire, read: Read) -> None:
    server.send([feedback("f1", comment="Nobody answered")])
    page = read("/session", **SESSION)
    assert "Nobody answered" in sections(page, "heard")[0]
    assert "No observations" in words(page)
    assert "thread_1" in words(read("/sessions"))


def test_feedback_of_the_first_page_is_shown_there_though_it_came_last(
    server: Wire, read: Read
) -> None:
    server.send([event(f"e{n:03}", interaction_id=f"t{n // 150}") for n in range(300)])
    server.send([feedback("f1", observation_id="e007", comment="this one")])
    first = read("/session", **SESSION)
    link = server.get("/session.json", **SESSION).json["next"]
    assert words(first.one("div", "here")).endswith("this one")
    assert "Observations 1 to 200 of 300" in words(first)
    second = read("/session", **SESSION, after=link, seen="200")
    assert second.all("div", "here") == []
    assert "Observations 201 to 300 of 300" in words(second)
    assert "event=e007" in second.link("of one step")


def test_one_piece_of_feedback_has_a_page_of_its_own(stocked: Wire, read: Read) -> None:
    stocked.send([feedback("f1", comment="All of it", score=0.5)])
    page = read("/session", **SESSION, event="f1")
    assert "All of it" in words(page)
    assert stocked.get("/session.json", **SESSION, event="f1").json["items"][0]["id"] == "f1"


@pytest.mark.parametrize(
    "fields",
    [
        {"score": "high"}, {"score": True}, {"score": 10**300}, {"comment": ["a"]},
        {"label": {"a": 1}}, {"source": 5}, {"outcome": []}, {"observation_id": [1]},
        {"comment": "<script>alert(1)</script>", "label": "<img src=x>"},
        {"comment": "x" * 100_000, "label": "y" * 5000, "source": "z" * 5000},
        {"outcome": "<b>", "reason": {"a": "b"}}, {},
    ],
)  # fmt: skip
def test_whatever_feedback_holds_the_page_is_shown(
    stocked: Wire, read: Read, fields: dict[str, Any]
) -> None:
    odd = feedback("f1")
    odd["feedback"] = fields
    assert stocked.send([odd]).json["rejected"] == []
    for parameters in ({}, {"event": "f1"}):
        page = read("/session", **SESSION, **parameters)
        html = stocked.get("/session", **SESSION, **parameters).body
        assert b"<script>alert" not in html and b"<img src=x" not in html
        assert page.one("title")
        assert stocked.get("/session.json", **SESSION, **parameters).status == 200


# In a browser


@contextmanager
def served(pages: list[str]) -> Iterator[str]:
    """Serve the last of these pages, and give its origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(pages[-1].encode())

        def log_message(self, *_: object) -> None:
            pass

    shop = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=shop.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{shop.server_port}"
    finally:
        shop.shutdown()
        shop.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("is_named", [True, False])
def test_the_page_of_the_documentation_works_in_a_browser(
    server: Wire, make_key: Callable[..., str], chromium: Any, is_named: bool
) -> None:
    [html] = re.findall(r"```html\n(.*?)```", (DOCS / "feedback.md").read_text("utf-8"), re.DOTALL)
    html = html.replace("https://sessions.example.com", server.url)
    shop: list[str] = []
    with served(shop) as origin:
        named = origin if is_named else "https://shop.example.com"
        shop.append(html.replace("sbat_feedback_...", make_key("feedback", "support-bot", named)))
        tab = chromium.new_page()
        tab.goto(origin)
        tab.fill("textarea", "It knew my order.")
        tab.click("button[value='1']")
        tab.wait_for_function("document.querySelector('output').value !== ''")
        told = tab.evaluate("document.querySelector('output').value")
        tab.close()
    stored = server.with_key(make_key("admin")).stored("thread_123")
    found = [(each["feedback"]["score"], each["feedback"]["comment"]) for each in stored]
    if is_named:
        assert (told, found) == ("Thank you!", [(1, "It knew my order.")])
    else:
        assert (told, found) == ("That did not arrive.", [])
