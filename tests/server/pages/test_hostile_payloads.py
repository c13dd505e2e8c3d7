"""Payloads are hostile: markup stays text, and no shape of a value breaks a page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionbat.server.pages import rendering
from sessionbat.server.pages.static_files import STATIC_FILES
from sessionbat.server.pages.view.budget import IN_FULL, ON_A_PAGE, WORDS_ONLY
from sessionbat.server.pages.view.session import present_session
from sessionbat.server.records import StoredEvent
from tests.conftest import eventually
from tests.server.access.test_login import Browser
from tests.server.pages.markup import Document
from tests.server.pages.payloads import ATTRIBUTE, DEEP, KINDS, MARKUP, ODD_VALUES, hostile_events
from tests.server.wire import Wire, event

Read = Look = Callable[..., Document]

_FIELDS = ("input", "output", "error", "metadata", "metrics", "name", "started_at")
_ENVELOPE = ("created_at", "interaction_id", "tags", "context")
_NAMES = (
    *("messages", "role", "content", "type", "text", "tool_calls", "function", "name", "parts"),
    *("query", "documents", "score", "id", "title", "message", "status", "latency_ms", "model"),
)
_FORBIDDEN = frozenset(
    {"img", "iframe", "object", "embed", "style", "base", "frame", "audio", "video", "math"}
)


def assert_only_our_markup(page: Document) -> None:
    scripts = page.all("script")
    assert [s.attributes for s in scripts] == [{"type": "module", "src": "/static/main.js"}]
    assert not {e.tag for e in page.walk()} & _FORBIDDEN
    names = {name for e in page.walk() for name in e.attributes}
    assert not {name for name in names if name.startswith("on") or name == "style"}
    for a in page.all("a"):
        assert a.attributes["href"].startswith(("/", "#")), a.attributes


PAGES: list[tuple[str, dict[str, str]]] = [
    ("/sessions", {}),
    ("/sessions", {"app": MARKUP}),
    ("/session", {"app": MARKUP, "id": MARKUP}),
    ("/session", {"app": MARKUP, "id": MARKUP, "event": ATTRIBUTE}),
    ("/session", {"app": MARKUP, "id": MARKUP, "event": MARKUP}),
    ("/session", {"app": MARKUP, "id": MARKUP, "limit": "1"}),
]


@pytest.mark.parametrize(("path", "parameters"), PAGES)
def test_markup_in_every_field_comes_out_as_text(
    look: Look, path: str, parameters: dict[str, str]
) -> None:
    page = look(path, **parameters)
    assert_only_our_markup(page)
    assert MARKUP in unescape(page.html)


def test_markup_in_an_address_comes_out_as_text(exhibition: Wire) -> None:
    for path in ("/sessions", "/session"):
        for name in ("app", "id", "after", "limit", "event", "seen", "turns", "last", MARKUP):
            answer = exhibition.get(path, **{"app": "support-bot", "id": "thread_1", name: MARKUP})
            assert_only_our_markup(Document(answer.body.decode()))


def test_every_page_forbids_inline_code_and_other_origins(exhibition: Wire) -> None:
    paths = ["/", "/sessions", "/session", "/sessions.json", "/session.json", "/static/main.js"]
    for path in paths:
        headers = exhibition.get(path).headers
        policy = dict(
            p.strip().split(" ", 1) for p in headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_templates_mark_nothing_as_safe() -> None:
    templates = list(rendering._TEMPLATES.glob("*.html"))
    assert len(templates) > 4
    for template in templates:
        text = template.read_text()
        assert "|safe" not in text.replace(" ", "")
        assert "autoescape" not in text
        assert " style=" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_no_shape_of_a_payload_breaks_the_page_of_its_session(look: Look, kind: str) -> None:
    page = look("/session", app="support-bot", id=f"odd-{kind}")
    steps = 0 if kind == "feedback" else len(ODD_VALUES)
    assert len(page.all("details", "step")) == steps
    assert bool(page.all("section", "heard")) == (not steps)


@pytest.mark.parametrize("kind", KINDS)
def test_no_shape_of_a_payload_breaks_its_own_page(look: Look, kind: str) -> None:
    for number in range(len(ODD_VALUES)):
        look("/session", app="support-bot", id=f"odd-{kind}", event=f"{kind}-{number}")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(_NAMES) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@given(
    kind=st.sampled_from(KINDS),
    fields=st.fixed_dictionaries({}, optional=dict.fromkeys(_FIELDS, _json)),
    envelope=st.fixed_dictionaries({}, optional=dict.fromkeys(_ENVELOPE, _json)),
)
def test_no_event_at_all_is_too_odd_to_present(
    kind: str, fields: dict[str, Any], envelope: dict[str, Any]
) -> None:
    odd = {**envelope, "type": kind, "observation": {**fields, "kind": kind}}
    stored = StoredEvent("e1", json.dumps(odd).encode())
    for limits in (ON_A_PAGE, IN_FULL, WORDS_ONLY):
        view = present_session([stored, stored], limits=limits)
        assert sum(len(turn.steps) for turn in view.turns) == 2


def test_deeply_nested_payloads_are_cut_visibly(look: Look) -> None:
    evidence = look("/session", app="support-bot", id="odd-tool").by_id(
        f"tool-{ODD_VALUES.index(DEEP)}"
    )
    assert evidence is not None
    assert "[…]" in evidence.text
    assert "Cut here." in evidence.text


@pytest.mark.parametrize(
    "created_at", [None, "yesterday", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)
def test_no_time_breaks_a_page(server: Wire, read: Read, created_at: str | None) -> None:
    metrics = {"latency_ms": 5000}
    server.send(event(created_at=created_at, observation__metrics=metrics))
    read("/sessions")
    assert len(read("/session", app="support-bot", id="thread_1").all("details", "step")) == 1


def test_markup_sent_to_the_login_form_comes_out_as_text(
    server: Wire, make_key: Callable[..., str]
) -> None:
    make_key("read")
    form = Browser(server)
    for path in (f"/login?next={quote('/' + MARKUP)}", f"/login?{quote(MARKUP)}={quote(MARKUP)}"):
        page = form.page(path)
        assert_only_our_markup(page)
        for fields in ({"key": MARKUP}, {"token": MARKUP}, {"next": MARKUP}, {MARKUP: MARKUP}):
            answer = form.submit(page, "/login", **fields)
            assert answer.status in (401, 403)
            shown = Document(answer.body.decode())
            assert_only_our_markup(shown)
            assert MARKUP not in shown.html
            forms = [f for f in shown.all("form") if f.attributes.get("method") == "post"]
            assert [f.attributes["action"] for f in forms] == ["/login"]


def test_markup_in_every_field_comes_out_as_text_to_who_is_logged_in(
    server: Wire, make_key: Callable[..., str]
) -> None:
    assert server.send(hostile_events()).json["rejected"] == []
    person = Browser(server)
    person.log_in(make_key("read", MARKUP))
    for path, parameters in PAGES:
        page = person.page(f"{path}?{urlencode(parameters, quote_via=quote)}")
        assert_only_our_markup(page)
        assert MARKUP in unescape(page.html)
        (logout,) = page.all("form", "logout")
        assert logout.attributes["action"] == "/logout"


def test_browsers_never_treat_other_answers_as_pages(exhibition: Wire) -> None:
    hostile = {"app": MARKUP, "session_id": MARKUP}
    eventually(lambda: exhibition.get("/api/v1/search", q="alert", app=MARKUP).json["items"])
    for path, parameters in (
        ("/api/v1/sessions", {"app": MARKUP}),
        ("/api/v1/sessions", {"tag": MARKUP}),
        ("/api/v1/session", hostile),
        ("/api/v1/events", hostile),
        ("/api/v1/search", {"q": "alert", "app": MARKUP}),
        ("/api/v1/search", {"q": MARKUP}),
        ("/api/v1/statistics", {"group": "model", "from": "2026-11-22", "to": "2026-11-23"}),
        ("/api/v1/sessions", {MARKUP: "1"}),
        ("/api/v1/sessions", {"sort": MARKUP}),
        ("/sessions.json", {"app": MARKUP}),
        ("/session.json", {"app": MARKUP, "id": MARKUP}),
        (f"/{quote(MARKUP)}", {}),
    ):
        headers = exhibition.get(path, **parameters).headers
        assert headers["content-type"] == "application/json"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize("element", ["a", "b", "code", "span", "p", "pre", "dd", "td", "li", "h1"])
def test_marks_of_direction_end_with_the_element_they_stand_in(element: str) -> None:
    css = (STATIC_FILES / "site.css").read_text()
    rules = re.findall(r"([^{}]+)\{ unicode-bidi: isolate; \}", re.sub(r"/\*.*?\*/", "", css))
    assert element in {each.strip() for rule in rules for each in rule.split(",")}
