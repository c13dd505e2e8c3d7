"""The read API over real HTTP: shapes, pages, and what cannot be answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sessionbat.server.serving import running
from sessionbat.server.settings import Settings
from sessionbat.server.store import query_terms
from tests.conftest import eventually
from tests.server.wire import Wire, event

API = "/api/v1"


def test_a_session_has_exactly_the_promised_fields(server: Wire) -> None:
    server.send(
        [
            event("e1", interaction_id="i1", observation__metrics={"input_tokens": 142}),
            event("e2", type="tool", created_at="2026-11-22T17:00:00Z", observation__error="x"),
        ]
    )
    answer = server.get(f"{API}/session", app="support-bot", session_id="thread_1")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == {
        "app": "support-bot",
        "session_id": "thread_1",
        "first_at": "2026-11-22T16:00:00.000000Z",
        "last_at": "2026-11-22T17:00:00.000000Z",
        "interactions": 1,
        "observations": 2,
        "llm_calls": 1,
        "tool_calls": 1,
        "retrievals": 0,
        "errors": 1,
        "input_tokens": 142,
        "output_tokens": 0,
        "cost_usd": 0.0,
        "cost_estimated": 0.0,
        "title": "",
        "times_known": True,
        "feedback": 0,
    }


def test_sessions_are_listed_as_the_session_itself_is_shown(server: Wire) -> None:
    server.send(event())
    session = server.get(f"{API}/session", app="support-bot", session_id="thread_1").json
    assert server.get(f"{API}/sessions").json == {"items": [session], "next": None}


def test_sessions_can_be_asked_of_one_app(server: Wire) -> None:
    server.send([event("e1", app="one"), event("e2", app="two")])
    items = server.get(f"{API}/sessions", app="two").json["items"]
    assert [session["app"] for session in items] == ["two"]


def test_sessions_come_in_pages_latest_first(server: Wire) -> None:
    server.send(
        [event(f"e{n}", session_id=f"s{n}", created_at=f"2026-11-22T1{n}:00:00Z") for n in range(3)]
    )
    first = server.get(f"{API}/sessions", limit=2).json
    second = server.get(f"{API}/sessions", limit=2, after=first["next"]).json
    names = [session["session_id"] for session in first["items"] + second["items"]]
    assert (names, second["next"]) == (["s2", "s1", "s0"], None)


def test_events_come_in_pages_oldest_first(server: Wire) -> None:
    server.send([event(f"e{n}", created_at=f"2026-11-22T1{9 - n}:00:00Z") for n in range(3)])
    asked = {"app": "support-bot", "session_id": "thread_1", "limit": 2}
    first = server.get(f"{API}/events", **asked).json
    second = server.get(f"{API}/events", **asked, after=first["next"]).json
    names = [item["id"] for item in first["items"] + second["items"]]
    assert (names, second["next"]) == (["e2", "e1", "e0"], None)


@pytest.mark.parametrize("what", ["session", "events"])
def test_a_session_that_is_not_there_is_not_found(standing_server: Wire, what: str) -> None:
    answer = standing_server.get(f"{API}/{what}", app="support-bot", session_id="nobody")
    assert (answer.status, answer.slug) == (404, "no-such-session")


@pytest.mark.parametrize("what", ["session", "events"])
@pytest.mark.parametrize("missing", ["app", "session_id"])
def test_a_missing_parameter_is_named(standing_server: Wire, what: str, missing: str) -> None:
    parameters = {"app": "a", "session_id": "s"}
    del parameters[missing]
    answer = standing_server.get(f"{API}/{what}", **parameters)
    assert (answer.status, answer.slug) == (400, "missing-parameter")
    assert answer.json["error"]["at"] == missing


@pytest.mark.parametrize("what", ["sessions", "session", "events", "search", "statistics", "apps"])
def test_a_parameter_that_means_nothing_is_refused(standing_server: Wire, what: str) -> None:
    answer = standing_server.get(f"{API}/{what}", **PROPER[what], ap="a")
    assert (answer.status, answer.slug) == (400, "unknown-parameter")
    assert answer.json["error"]["at"] == "ap"


PROPER: dict[str, dict[str, str]] = {
    "sessions": {},
    "session": {"app": "a", "session_id": "s"},
    "events": {"app": "a", "session_id": "s"},
    "search": {"q": "q"},
    "statistics": {},
    "apps": {},
}


def test_apps_are_listed_with_their_latest_activity(server: Wire) -> None:
    server.send(
        [
            event("e1", app="shop", session_id="s1", created_at="2026-11-22T10:00:00Z"),
            event("e2", app="shop", session_id="s2", created_at="2026-11-22T12:00:00Z"),
            event("e3", app="desk", session_id="s1", created_at="2026-11-21T10:00:00Z"),
        ]
    )
    desk = {"app": "desk", "sessions": 1, "last_at": "2026-11-21T10:00:00.000000Z"}
    shop = {"app": "shop", "sessions": 2, "last_at": "2026-11-22T12:00:00.000000Z"}
    assert server.get(f"{API}/apps").json == {"items": [desk, shop]}
    assert server.get(f"{API}/apps", app="shop").json == {"items": [shop]}
    assert server.get(f"{API}/apps", app="unheard-of").json == {"items": []}


def test_a_parameter_that_is_given_twice_is_refused(standing_server: Wire) -> None:
    answer = standing_server.request("GET", f"{API}/sessions?tag=a&tag=b")
    assert (answer.status, answer.slug) == (400, "repeated-parameter")


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "", "1e3", "٣", "9" * 5_000])
@pytest.mark.parametrize("what", ["sessions", "events"])
def test_a_bad_limit_is_refused(standing_server: Wire, what: str, limit: str) -> None:
    answer = standing_server.get(f"{API}/{what}", app="a", session_id="s", limit=limit)
    assert (answer.status, answer.slug) == (400, "bad-limit")


@pytest.mark.parametrize("after", ["x", "1-2-3", "9" * 30 + "-1"])
@pytest.mark.parametrize("what", ["sessions", "events"])
def test_a_bad_cursor_is_refused(standing_server: Wire, what: str, after: str) -> None:
    asked = {"session_id": "s"} if what == "events" else {}
    answer = standing_server.get(f"{API}/{what}", app="a", after=after, **asked)
    assert (answer.status, answer.slug) == (400, "bad-after")


def test_another_method_is_refused(standing_server: Wire) -> None:
    answer = standing_server.request("POST", f"{API}/sessions", b"{}")
    assert (answer.status, answer.slug) == (405, "method-not-allowed")


def test_an_unknown_address_is_an_error_object(standing_server: Wire) -> None:
    answer = standing_server.get(f"{API}/nothing")
    assert (answer.status, answer.slug) == (404, "not-found")


def test_healthz_answers(standing_server: Wire) -> None:
    answer = standing_server.get("/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


def items_within_two_seconds(server: Wire, path: str, **asked: str) -> Any:
    return eventually(lambda: server.get(path, **asked).json["items"], timeout=2)


def test_a_search_result_has_exactly_the_promised_fields(server: Wire) -> None:
    server.send(event(observation__output={"text": "Use the reset link."}))
    assert items_within_two_seconds(server, f"{API}/search", q="reset link") == [
        {
            "app": "support-bot",
            "session_id": "thread_1",
            "id": "e1",
            "at": "2026-11-22T16:00:00.000000Z",
            "kind": "llm",
            "snippet": "Use the reset link.",
            "highlights": [[8, 13], [14, 18]],
        }
    ]


def test_a_search_says_how_many_events_it_may_miss(
    server: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.send(event("e1", observation__output="Use the reset link."))
    items_within_two_seconds(server, f"{API}/search", q="reset link")
    assert server.get(f"{API}/search", q="reset").json["searched_in_part"] == 0
    monkeypatch.setattr(query_terms, "MAX_DIFFERENT_WORDS", 3)
    server.send(event("e2", observation__output="Do use the reset link."))
    eventually(lambda: server.get(f"{API}/search", q="reset").json["searched_in_part"] == 1)
    assert "sessionbat_search_events_in_part 1" in server.get("/metrics").body.decode()


def test_a_search_needs_words(standing_server: Wire) -> None:
    answer = standing_server.get(f"{API}/search")
    assert (answer.status, answer.slug) == (400, "missing-parameter")


def test_statistics_have_exactly_the_promised_fields(server: Wire) -> None:
    server.send(event(observation__metrics={"latency_ms": 820, "cost_usd": 0.002}))
    asked = {"by": "hour", "from": "2026-11-22T00:00:00Z", "to": "2026-11-23T00:00:00Z"}
    (item,) = items_within_two_seconds(server, f"{API}/statistics", app="support-bot", **asked)
    percentiles = [item.pop(f"latency_ms_p{p}") for p in (50, 95, 99)]
    assert percentiles == [pytest.approx(820, rel=0.05)] * 3
    assert item == {
        "at": "2026-11-22T16:00:00.000000Z",
        "group": None,
        "count": 1,
        "errors": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "cost_usd": 0.002,
        "cost_estimated": 0.0,
    }


@pytest.mark.parametrize(
    ("asked", "slug"),
    [
        ({"by": "week"}, "bad-parameter"),
        ({"group": "user"}, "bad-parameter"),
        ({"from": "yesterday"}, "bad-time"),
        ({"to": "0001-01-01T00:00:00Z"}, "bad-time"),
        ({"by": "hour", "from": "1999-01-01T00:00:00Z"}, "too-many-spans"),
    ],
)
def test_statistics_that_cannot_be_given_are_refused(
    standing_server: Wire, asked: dict[str, str], slug: str
) -> None:
    answer = standing_server.get(f"{API}/statistics", **asked)
    assert (answer.status, answer.slug) == (400, slug)


@pytest.fixture(scope="module")
def two_sessions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A server with a session that failed and one that did not."""
    url = f"sqlite:///{tmp_path_factory.mktemp('filters') / 'store.db'}"
    with running(Settings(port=0, store_url=url)) as base:
        server = Wire(base)
        server.send(
            [
                event("f1", session_id="failed", context={"user_id": "u1"},
                      observation__error={"type": "Timeout"},
                      observation__metrics={"cost_usd": 0.5}),
                event("f2", session_id="fine", tags=["beta"], type="tool",
                      observation__name="lookup", created_at="2026-11-22T15:00:00Z"),
            ]
        )  # fmt: skip
        yield server


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["failed", "fine"]),
        ({"error": "true"}, ["failed"]),
        ({"error": "false"}, ["fine"]),
        ({"error_type": "Timeout"}, ["failed"]),
        ({"user_id": "u1"}, ["failed"]),
        ({"user_id": ""}, ["failed", "fine"]),
        ({"tag": "beta"}, ["fine"]),
        ({"tool": "lookup", "kind": "tool"}, ["fine"]),
        ({"from": "2026-11-22T16:00:00Z"}, ["failed"]),
        ({"to": "2026-11-22T16:00:00+00:00"}, ["fine"]),
        ({"min_cost_usd": "0.1", "max_latency_ms": "1"}, ["failed"]),
        ({"max_tokens": "0", "sort": "cost"}, ["failed", "fine"]),
    ],
)
def test_sessions_are_filtered_by_parameters(
    two_sessions: Wire, asked: dict[str, str], expected: list[str]
) -> None:
    items = two_sessions.get(f"{API}/sessions", **asked).json["items"]
    assert [session["session_id"] for session in items] == expected


@pytest.mark.parametrize(
    ("asked", "slug"),
    [
        ({"enviroment": "prod"}, "unknown-parameter"),
        ({"context.plan": "pro"}, "unknown-parameter"),
        ({"error": "yes"}, "bad-parameter"),
        ({"sort": "name"}, "bad-parameter"),
        ({"min_cost_usd": "nan"}, "bad-parameter"),
        ({"min_tokens": "-1"}, "bad-parameter"),
        ({"max_latency_ms": "1e400"}, "bad-parameter"),
        ({"from": "now"}, "bad-time"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(
    standing_server: Wire, asked: dict[str, str], slug: str
) -> None:
    answer = standing_server.get(f"{API}/sessions", **asked)
    assert (answer.status, answer.slug) == (400, slug)


def test_configured_context_keys_are_parameters(start_server: Callable[..., Wire]) -> None:
    server = start_server(context_keys=("plan",))
    server.send([event("e1", context={"plan": "pro"}), event("e2", session_id="s2")])
    items = server.get(f"{API}/sessions", **{"context.plan": "pro"}).json["items"]
    assert [session["session_id"] for session in items] == ["thread_1"]
