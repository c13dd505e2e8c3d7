"""The demo's sessions show what they say they show, and look like those of a real support bot."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from sessionbat.client import SessionBat
from sessionbat.demo.play import play_all
from sessionbat.demo.scenarios import SCENARIOS
from sessionbat.event import find_problem
from sessionbat.transports import MemoryTransport

NOW = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)

Session = list[dict[str, Any]]


def record() -> dict[str, Session]:
    """Play everything; the events of each session, in order, by its id."""
    transport = MemoryTransport()
    client = SessionBat(app="support-bot", transport=transport)
    sessions: dict[str, Session] = {
        session_id: [] for session_id, _ in play_all(client, run="run", now=NOW)
    }
    for event in transport.events:
        sessions[event["session_id"]].append(event)
    return sessions


@cache
def recorded() -> dict[str, Session]:
    """The same, played once, and not while tests are collected: each worker does that."""
    return record()


def of(outcome: str) -> list[Session]:
    return [recorded()[f"{s.slug}-run"] for s in SCENARIOS if s.outcome.startswith(outcome)]


def observations(session: Session, kind: str) -> list[dict[str, Any]]:
    return [event["observation"] for event in session if event["type"] == kind]


def everything() -> list[dict[str, Any]]:
    return [event for session in recorded().values() for event in session]


def test_there_are_some_thirty_sessions_and_no_two_are_alike() -> None:
    assert 30 <= len(recorded()) <= 40
    assert len({scenario.slug for scenario in SCENARIOS}) == len(SCENARIOS)
    assert len({scenario.turns[0].says for scenario in SCENARIOS}) == len(SCENARIOS)


def test_every_event_is_one_that_a_server_stores() -> None:
    assert [find_problem(event) for event in everything() if find_problem(event)] == []


@pytest.mark.parametrize("key", ["user_id", "workspace_id", "environment", "release"])
def test_there_is_something_to_filter_by(key: str) -> None:
    assert len({event["context"][key] for event in everything()}) >= 2


def test_there_are_several_channels() -> None:
    assert {"web", "ios", "android", "email"} <= {t for e in everything() for t in e["tags"]}


@pytest.mark.parametrize("session", of("tool loop"), ids=lambda s: s[0]["session_id"])
def test_a_tool_loop_calls_one_tool_with_the_same_arguments_again_and_again(
    session: Session,
) -> None:
    calls = [(t["name"], json.dumps(t["input"])) for t in observations(session, "tool")]
    assert Counter(calls).most_common(1)[0][1] >= 5


def test_a_retrieval_miss_finds_nothing_or_next_to_nothing() -> None:
    def best_score(retrieval: dict[str, Any]) -> float:
        return max((d["score"] for d in retrieval["output"]["documents"]), default=0.0)

    misses = [best_score(r) for s in of("retrieval miss") for r in observations(s, "retrieval")]
    hits = [best_score(r) for s in of("solved") for r in observations(s, "retrieval")]
    assert 0.0 in misses
    assert any(misses)
    assert max(misses) < min(hits)


def test_documents_have_what_a_page_shows_best_first() -> None:
    for event in everything():
        if event["type"] == "retrieval":
            documents = event["observation"]["output"]["documents"]
            assert all({"id", "title", "score", "content"} <= d.keys() for d in documents)
            scores = [d["score"] for d in documents]
            assert scores == sorted(scores, reverse=True)
            assert event["observation"]["metrics"]["documents_found"] == len(documents)


@pytest.mark.parametrize("session", of("model rate limit"), ids=lambda s: s[0]["session_id"])
def test_a_rate_limited_call_is_tried_again_and_then_answered(session: Session) -> None:
    calls = observations(session, "llm")
    limited = [n for n, c in enumerate(calls) if c["metrics"].get("http_status") == 429]
    assert limited
    for n in limited:
        assert calls[n]["error"]["type"] == "RateLimitError"
        before, after = (calls[m]["metadata"].get("attempt", 1) for m in (n, n + 1))
        assert after == before + 1
    assert calls[-1]["error"] is None


@pytest.mark.parametrize("session", of("tool failure"), ids=lambda s: s[0]["session_id"])
def test_a_tool_failure_carries_its_error_and_status(session: Session) -> None:
    failed = [tool for tool in observations(session, "tool") if tool["error"]]
    assert failed
    assert all(t["metrics"]["http_status"] >= 500 and t["output"] is None for t in failed)


def test_a_cancelled_answer_is_no_error_and_keeps_what_was_written() -> None:
    (session,) = of("answer cancelled")
    cancelled = [c for c in observations(session, "llm") if "status" in c["metadata"]]
    assert [c["metadata"]["status"] for c in cancelled] == ["cancelled"]
    assert cancelled[0]["error"] is None
    assert cancelled[0]["output"]["text"]


@pytest.mark.parametrize("session", of("user gives up"), ids=lambda s: s[0]["session_id"])
def test_a_user_who_gives_up_asked_more_than_twice(session: Session) -> None:
    assert len({event["interaction_id"] for event in session}) >= 3


def test_solved_sessions_have_no_failure_but_what_the_shop_refused() -> None:
    statuses = {
        observation["metrics"].get("http_status")
        for session in of("solved")
        for observation in observations(session, "tool")
    }
    assert statuses <= {None, 404, 409, 422}
    assert not any(o["error"] for s in of("solved") for o in observations(s, "llm"))


def test_a_model_call_is_given_the_whole_conversation() -> None:
    for session in recorded().values():
        lengths = [len(c["input"]["messages"]) for c in observations(session, "llm")]
        assert lengths == sorted(lengths)
        assert observations(session, "llm")[0]["input"]["messages"][0]["role"] == "system"


def test_answered_model_calls_tell_time_tokens_and_cost() -> None:
    for call in (e["observation"] for e in everything() if e["type"] == "llm"):
        if call["output"] is not None and "status" not in call["metadata"]:
            metrics = call["metrics"]
            assert 0 < metrics["time_to_first_token_ms"] < metrics["latency_ms"] < 60_000
            assert metrics["input_tokens"] > metrics["output_tokens"] > 0
            assert 0 < metrics["cost_usd"] < 0.1


def test_sessions_are_spread_over_hours_and_none_is_in_the_future() -> None:
    for session in recorded().values():
        started = [datetime.fromisoformat(e["observation"]["started_at"]) for e in session]
        assert started == sorted(started)
        assert started[-1] < NOW
    first = min(datetime.fromisoformat(e["observation"]["started_at"]) for e in everything())
    assert 4 * 3600 < (NOW - first).total_seconds() < 24 * 3600


@pytest.mark.slow
def test_two_runs_tell_the_same() -> None:
    def told(session: Session) -> list[Any]:
        for observation in (event["observation"] for event in session):
            for name in ("run_id", "checkpoint_ns", "parent_observation_id"):
                observation["metadata"].pop(name, None)
        return [event["observation"] for event in session]

    assert [told(s) for s in record().values()] == [told(s) for s in recorded().values()]
