"""Sampling by session: whole sessions in or out, alike everywhere, counted apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sessionbat import ConfigurationError, SessionBat
from sessionbat.testing import Endpoint
from sessionbat.transports import MemoryTransport
from tests.conftest import assert_adds_up

SOURCE = Path(__file__).parent.parent / "src"


def sessions_of(memory: MemoryTransport) -> set[str]:
    return {event["session_id"] for event in memory.events}


def record_sessions(count: int, rate: float) -> tuple[SessionBat, MemoryTransport]:
    """Record three observations in each of so many sessions."""
    memory = MemoryTransport()
    client = SessionBat(app="a", transport=memory, sample_rate=rate)
    for number in range(count):
        session = client.session(session_id=f"session-{number}")
        session.interaction().llm(model="m")
        session.interaction(tags=["later"]).tool_call(tool_name="t", context={"user_id": "u"})
        with session.interaction().measure_retrieval(query="q"):
            pass
    return client, memory


def test_whole_sessions_are_in_or_out() -> None:
    _, memory = record_sessions(400, 0.5)
    kept = sessions_of(memory)
    assert 150 < len(kept) < 250
    assert len(memory.events) == 3 * len(kept)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.9])
def test_the_share_is_the_rate(rate: float) -> None:
    memory = MemoryTransport()
    client = SessionBat(transport=memory, sample_rate=rate)
    for number in range(5000):
        client.session(session_id=number).interaction().llm()
    assert abs(len(memory.events) / 5000 - rate) < 0.01


def test_sampled_out_events_are_counted_separately_and_the_rest_adds_up() -> None:
    client, memory = record_sessions(100, 0.3)
    stats = client.stats()
    assert stats.sampled_out == 300 - len(memory.events) > 0
    assert stats.recorded == stats.delivered == len(memory.events)
    assert stats.dropped == {}
    assert_adds_up(client)
    assert client.flush()


def test_ids_are_returned_all_the_same() -> None:
    client = SessionBat(transport=MemoryTransport(), sample_rate=0)
    interaction = client.session().interaction()
    assert interaction.llm(observation_id="mine") == "mine"
    assert len(interaction.llm()) == 32


@pytest.mark.parametrize(("rate", "kept"), [(0, 0), (0.0, 0), (1, 20), (1.0, 20)])
def test_nothing_and_everything_are_rates(rate: float, kept: int) -> None:
    client, memory = record_sessions(20, rate)
    assert len(sessions_of(memory)) == kept
    assert client.stats().sampled_out == 3 * (20 - kept)


def test_a_session_in_at_a_low_rate_is_in_at_every_higher_one() -> None:
    kept = [sessions_of(record_sessions(300, rate)[1]) for rate in (0.1, 0.3, 0.6, 1.0)]
    assert kept[0] < kept[1] < kept[2] < kept[3]


def test_every_process_decides_alike() -> None:
    script = (
        "from sessionbat import SessionBat; from sessionbat.transports import MemoryTransport;"
        "m = MemoryTransport(); c = SessionBat(transport=m, sample_rate=0.5);"
        "[c.session(session_id=f'session-{n}').interaction().llm() for n in range(100)];"
        "print(*[e['session_id'] for e in m.events])"
    )
    decided = set()
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(SOURCE)}
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True, text=True, check=True, env=environment,
        )  # fmt: skip
        decided.add(done.stdout)
    assert len(decided) == 1
    assert set(decided.pop().split()) == sessions_of(record_sessions(100, 0.5)[1])


def test_the_decision_never_changes_between_versions() -> None:
    """Half of a fleet may run an older version; a session must not be cut in two by that."""
    _, memory = record_sessions(12, 0.5)
    assert sessions_of(memory) == {"session-0", "session-2", "session-8"}


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), "0.5", None, True, 10**400])
def test_a_rate_that_is_no_share_is_refused(rate: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"\[bad-sample-rate\]"):
        SessionBat(transport=MemoryTransport(), sample_rate=rate)


def test_an_endpoint_hears_of_sampled_sessions_only(endpoint: Endpoint) -> None:
    with SessionBat(endpoint=endpoint.url, sample_rate=0.5, spool=False) as client:
        for number in range(60):
            client.session(session_id=f"session-{number}").interaction().llm()
        assert client.flush()
        stats = client.stats()
        assert stats.recorded == stats.delivered == len(endpoint.acknowledged)
        assert stats.recorded + stats.sampled_out == 60


@pytest.mark.parametrize("limit", [0, -1, 1000, 16 * 1024**2 + 1, 1e6, "1 MiB", None, True])
def test_a_limit_of_an_event_that_is_absurd_is_refused(limit: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"\[bad-max-event-bytes\]"):
        SessionBat(transport=MemoryTransport(), max_event_bytes=limit)


@pytest.mark.parametrize("limit", [16 * 1024, 100_000, 4_000_000])
def test_the_limit_of_an_event_is_the_clients(limit: int) -> None:
    kept: list[int] = []

    class Measuring(MemoryTransport):
        def send(self, event: Any) -> None:
            kept.append(len(event.data))
            super().send(event)

    memory = Measuring()
    client = SessionBat(transport=memory, max_event_bytes=limit)
    client.session().interaction().llm(input="x" * (limit - 2000))
    client.session().interaction().llm(input="x" * 5_000_000)
    whole, cut = memory.events
    assert whole["observation"]["input"] == "x" * (limit - 2000)
    assert limit // 3 < kept[1] <= limit
    assert cut["observation"]["truncated"]["original_bytes"] > 4_900_000
