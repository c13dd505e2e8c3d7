"""Recording that is broken off: by a signal handler's exception, by a stack that is at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from sessionbat import SessionBat
from sessionbat.testing import Endpoint
from tests.conftest import assert_adds_up, eventually

NewClient = Callable[..., SessionBat]

#: Where the interpreter lets a signal handler run: entering a function, and after a built-in one.
MOMENTS = ("call", "c_return")


def broken_off(act: Callable[[], object], at: int, error: type[BaseException]) -> bool:
    """Do something and raise an exception in the middle of it, at moment number ``at``.

    Says whether it took that long at all.
    """
    seen = 0

    def strike(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal seen
        if event in MOMENTS:
            seen += 1
            if seen == at:
                raise error("from outside")

    sys.setprofile(strike)
    try:
        act()
    except error:
        return True
    finally:
        sys.setprofile(None)
    return seen >= at


def _has_ended(worker: Any) -> bool:
    return not worker.queue.has_taker


def record(client: SessionBat, text: str) -> str:
    return client.session(session_id="s").interaction().llm(model="m", input=text)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("durability", ["memory", "sync"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_exception_at_any_moment_of_recording_leaves_an_event_whole_or_out(
    endpoint: Endpoint, new_client: NewClient, durability: str, error: type[BaseException]
) -> None:
    """A Ctrl-C, an alarm of the host's, memory at its end: the counts go on to add up."""
    client = new_client(durability=durability)
    record(client, "first")
    interaction = client.session(session_id="s").interaction()
    assert client.flush(10)
    at = 1
    while broken_off(lambda: interaction.llm(model="m", input="struck"), at, error):
        record(client, "next")
        at += 1
    assert at > 20
    result = client.flush(10)
    stats = client.stats()
    assert (result.pending, result.spooled, stats.pending, stats.spooled) == (0, 0, 0, 0)
    assert_adds_up(client)
    assert stats.delivered == len(set(endpoint.acknowledged)) == len(endpoint.acknowledged)
    texts = [e["observation"]["input"] for r in endpoint.requests for e in r.events]
    assert texts.count("next") == at - 1
    assert stats.delivered + sum(stats.dropped.values()) <= 2 * at + 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_at_any_moment_of_the_first_record_leaves_a_worker_that_delivers(
    endpoint: Endpoint, new_client: NewClient
) -> None:
    """The thread that was about to start comes once, or the next call starts it."""
    at, more = 1, True
    while more:
        client = new_client()
        worker = client._recorder._transport._worker  # type: ignore[union-attr]
        interaction = client.session(session_id="s").interaction()
        more = broken_off(
            partial(interaction.llm, model="m", input="struck"), at, KeyboardInterrupt
        )
        record(client, "next")
        assert client.flush(10), at
        client.close()
        eventually(partial(_has_ended, worker))
        at += 1
    assert at > 40
    texts = [e["observation"]["input"] for r in endpoint.requests for e in r.events]
    assert texts.count("next") == at - 1
    assert len(endpoint.acknowledged) == len(set(endpoint.acknowledged))


def test_recording_at_the_end_of_the_stack_is_delivered_or_counted_or_raises(
    endpoint: Endpoint, client: SessionBat
) -> None:
    """From 120 frames before the recursion limit to the last one."""
    interaction = client.session(session_id="s").interaction()
    interaction.llm(model="m", input="first")
    assert client.flush(10)

    def record_below(depth: int) -> None:
        if depth:
            record_below(depth - 1)
        else:
            interaction.llm(model="m", input={"text": "deep"})

    raised, limit = 0, sys.getrecursionlimit()
    for depth in range(limit - 220, limit):
        try:
            record_below(depth)
        except RecursionError:
            raised += 1
    result = client.flush(10)
    stats = client.stats()
    assert_adds_up(client)
    assert (stats.pending, result.pending) == (0, 0)
    assert stats.recorded == stats.delivered + sum(stats.dropped.values())
    assert stats.delivered == len(endpoint.acknowledged)
    assert raised < 100
