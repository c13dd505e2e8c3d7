"""Pages and their twins read parameters as the read API does, and refuse them in its words."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.server.wire import Wire, event

SESSION = "app=support-bot&id=thread_1"
API_SESSION = "app=support-bot&session_id=thread_1"

#: A bad query of the list, with the slug of its refusal.
BAD_LISTS = [
    ("limit=0", "bad-limit"),
    ("limit=", "bad-limit"),
    ("limit=1e1", "bad-limit"),
    ("limit=-1", "bad-limit"),
    ("limit=٣", "bad-limit"),
    ("limit=99999999999999999999", "bad-limit"),
    ("after=x", "bad-after"),
    ("after=%00", "bad-after"),
    ("after=" + "x" * 5_000, "bad-after"),
    ("sort=title", "bad-parameter"),
    ("error=yes", "bad-parameter"),
    ("min_tokens=many", "bad-parameter"),
    ("max_cost_usd=-1", "bad-parameter"),
    ("from=yesterday", "bad-time"),
    ("to=1969-01-01", "bad-time"),
    ("app=a&app=b", "repeated-parameter"),
    ("limit=1&limit=1", "repeated-parameter"),
    ("after=&after=", "repeated-parameter"),
]
#: A bad question about a session as its page is asked, and as the API is.
BAD_SESSIONS = [
    (f"{SESSION}&limit=0", f"{API_SESSION}&limit=0", "bad-limit"),
    (f"{SESSION}&limit=many", f"{API_SESSION}&limit=many", "bad-limit"),
    (f"{SESSION}&after=x", f"{API_SESSION}&after=x", "bad-after"),
    (f"{SESSION}&app=b", f"{API_SESSION}&app=b", "repeated-parameter"),
    ("id=thread_1", "session_id=thread_1", "missing-parameter"),
    ("app=&id=thread_1", "app=&session_id=thread_1", "missing-parameter"),
    ("app=support-bot&id=x", "app=support-bot&session_id=x", "no-such-session"),
    ("app=x&id=thread_1", "app=x&session_id=thread_1", "no-such-session"),
]


def of_page(words: str, most: int) -> str:
    """The API's words, with how much a page holds."""
    return words.replace("from 1 to 1000", f"from 1 to {most}")


def as_markup(words: str) -> bytes:
    """The beginning of a message as a page has it, but for its first, capital letter."""
    return words[1:60].replace("'", "&#39;").encode()


@pytest.mark.parametrize(("query", "slug"), BAD_LISTS)
def test_a_list_is_refused_in_the_words_of_the_api(exhibition: Wire, query: str, slug: str) -> None:
    query = quote(query, safe="=&%")
    api, twin, page = (
        exhibition.request("GET", f"{path}?{query}")
        for path in ("/api/v1/sessions", "/sessions.json", "/sessions")
    )
    assert (api.status, api.slug) == (400, slug)
    said = api.json["error"] | {"message": of_page(api.json["error"]["message"], 50)}
    assert (twin.status, twin.json["error"]) == (400, said)
    assert page.status == 400
    assert as_markup(said["message"]) in page.body


@pytest.mark.parametrize(("query", "api_query", "slug"), BAD_SESSIONS)
def test_a_session_is_refused_in_the_words_of_the_api(
    exhibition: Wire, query: str, api_query: str, slug: str
) -> None:
    api = exhibition.request("GET", f"/api/v1/events?{api_query}")
    twin = exhibition.request("GET", f"/session.json?{query}")
    page = exhibition.request("GET", f"/session?{query}")
    assert api.slug == slug
    said, at = of_page(api.json["error"]["message"], 200), api.json["error"]["at"]
    assert twin.status == page.status == api.status
    assert (twin.slug, twin.json["error"]["message"]) == (slug, said)
    assert twin.json["error"]["at"] == ("id" if at == "session_id" else at)
    assert as_markup(said) in page.body


@pytest.mark.parametrize("query", ["seen=x", "turns=-1", "seen=1.5", "turns=%20", "seen=1&seen=2"])
def test_where_a_page_stands_has_to_be_a_number(exhibition: Wire, query: str) -> None:
    answer = exhibition.request("GET", f"/session.json?{SESSION}&{query}")
    assert answer.status == 400


@pytest.mark.parametrize("query", ["filter=x", "filter=a&filter=b", "utm_source=mail", "=", "é=1"])
def test_a_page_minds_no_parameter_of_others(exhibition: Wire, query: str) -> None:
    query = quote(query, safe="=&")
    for path in ("/sessions", "/sessions.json"):
        assert exhibition.request("GET", f"{path}?{query}").status == 200
    for path in ("/session", "/session.json"):
        assert exhibition.request("GET", f"{path}?{SESSION}&{query}").status == 200


def test_a_session_is_found_by_the_name_that_the_api_has_for_it(exhibition: Wire) -> None:
    for path in ("/session", "/session.json"):
        for query in (SESSION, API_SESSION, f"{SESSION}&session_id=thread_1"):
            assert exhibition.request("GET", f"{path}?{query}").status == 200
    missing = exhibition.get("/session.json", app="support-bot", session_id="x")
    assert (missing.status, missing.json["error"]["at"]) == (404, "session_id")


@pytest.mark.parametrize("names", ["id=thread_1&session_id=other", "session_id=thread_1&id=other"])
def test_two_names_of_two_sessions_are_refused(exhibition: Wire, names: str) -> None:
    answer = exhibition.request("GET", f"/session.json?app=support-bot&{names}")
    assert (answer.status, answer.slug) == (400, "repeated-parameter")


def test_an_empty_event_is_as_good_as_none(exhibition: Wire) -> None:
    answer = exhibition.request("GET", f"/session?{SESSION}&event=")
    assert answer.status == 200
    assert b"event=&" not in answer.body


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", 5), ("app=support-bot", 4), ("app=nobody", 0), ("tag=urgent", 1), ("model=m", 1),
        ("kind=tool", 1), ("error=true", 1), ("error=false", 4), ("user_id=u1", 1),
        ("min_tokens=5", 1), ("max_tokens=4", 4), ("sort=errors", 5), ("error_type=Timeout", 1),
        ("from=2026-11-23T00:00:00Z", 1), ("to=2026-11-23", 4), ("limit=1", 1),
    ],
)  # fmt: skip
def test_the_lists_twin_answers_what_the_api_answers(server: Wire, query: str, found: int) -> None:
    server.send(
        [
            event("e1", tags=["urgent"], context={"user_id": "u1"}),
            event("e2", session_id="s2", observation__metadata={"model": "m"}),
            event("e3", session_id="s3", type="tool", observation__error={"type": "Timeout"}),
            event(
                "e4",
                session_id="s4",
                created_at="2026-11-24T00:00:00Z",
                observation__metrics={"input_tokens": 7},
            ),
            event("e5", app="other", session_id="s5"),
        ]
    )
    api = server.request("GET", f"/api/v1/sessions?{query}").json
    twin = server.request("GET", f"/sessions.json?{query}").json
    assert len(api["items"]) == found
    assert (twin["items"], twin["next"]) == (api["items"], api["next"])


def test_an_older_page_keeps_the_filters(server: Wire) -> None:
    server.send([event(f"e{n}", session_id=f"s{n}", tags=["t"] if n % 2 else []) for n in range(6)])
    first = server.request("GET", "/sessions.json?tag=t&limit=2").json
    assert [item["session_id"] for item in first["items"]] == ["s5", "s3"]
    page = server.request("GET", "/sessions?tag=t&limit=2").body.decode()
    assert "tag=t&amp;limit=2&amp;after=" in page
