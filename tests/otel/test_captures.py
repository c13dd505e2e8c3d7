"""Each capture gives what its scenario did: once, in its session, however its spans arrive.

What is expected is in ``expected/NAME.json``, written by hand from the scenario.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from sessionbat._otel.assembling import assemble
from sessionbat._otel.joining import join
from sessionbat._otel.mapping import map_log, map_span
from sessionbat._otel.model import SpanKey
from sessionbat._otel.parts import Part
from sessionbat._otel.placing import place
from tests.otel.captures import FOLDER, logs_of, names, spans_of
from tests.otel.telling import FOLDER as EXPECTED
from tests.otel.telling import agree, expected, told

CAPTURES = sorted(path.stem for path in EXPECTED.glob("*.json"))
each_capture = pytest.mark.parametrize("name", CAPTURES)


@pytest.fixture(autouse=True)
def _needs_captures() -> None:
    if not FOLDER.exists():
        if "CI" in os.environ:
            pytest.fail(f"{FOLDER} is missing, and under CI it must be there")
        pytest.skip(f"{FOLDER} is not here")


def spans(name: str) -> list[Part]:
    return [part for span in spans_of(name) for part in map_span(span)]


def logs(name: str) -> list[Part]:
    return [part for record in logs_of(name) for part in map_log(record)]


def mismatches(name: str, events: list[dict[str, Any]]) -> list[Any]:
    found, wanted = told(events), expected(name)
    if len(found) != len(wanted):
        return [(each.get("is"), each) for each in found]
    return [
        {"expected": want, "found": have}
        for want, have in zip(wanted, found, strict=True)
        if not agree(want, have)
    ]


def test_each_capture_has_an_expectation() -> None:
    assert set(CAPTURES) == set(names())


@each_capture
def test_a_capture_gives_each_call_once(name: str) -> None:
    assert mismatches(name, assemble([*spans(name), *logs(name)])) == []


@each_capture
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_arrival_changes_nothing(name: str, seed: int) -> None:
    parts = [*spans(name), *logs(name)]
    in_order = assemble(parts)
    random.Random(seed).shuffle(parts)
    assert assemble(parts) == in_order


@each_capture
def test_logs_before_spans_and_everything_sent_twice_change_nothing(name: str) -> None:
    in_order = assemble([*spans(name), *logs(name)])
    assert assemble([*logs(name), *spans(name)]) == in_order
    assert assemble([*logs(name), *spans(name), *spans(name), *logs(name)]) == in_order


@each_capture
def test_one_span_at_a_time_through_a_store_gives_the_same(name: str) -> None:
    parts = [*spans(name), *logs(name)]
    random.Random(7).shuffle(parts)
    store = Store()
    for part in parts:
        store.receive([part])
    in_order = assemble([*spans(name), *logs(name)])
    assert sorted(store.events(), key=_id) == sorted(in_order, key=_id)


@each_capture
def test_no_event_holds_a_vector_or_a_stack_trace(name: str) -> None:
    written = str(assemble([*spans(name), *logs(name)]))
    assert "0.5, 0.5, 0.5" not in written
    assert "Traceback (most recent" not in written


class Store:
    """Keeps parts, and events where they are placed, as a server does: touches what it must."""

    def __init__(self) -> None:
        self._facts: dict[SpanKey, bytes] = {}
        self._known: dict[SpanKey, Part] = {}
        self._placed: dict[SpanKey, dict[str, Any]] = {}
        self._by_join: dict[str, set[str]] = {}

    def receive(self, parts: Iterable[Part]) -> None:
        for part in parts:
            known = self._known.get(part.key)  # its event as it is stored: at its place
            self._known[part.key] = joined = part if known is None else join(known, part)
            self._facts[part.key] = joined.facts.to_json()
            for name in joined.facts.joins:
                self._by_join.setdefault(name, set()).add(part.key.trace)
            self._place({part.key.trace})

    def events(self) -> Iterator[dict[str, Any]]:
        yield from self._placed.values()

    def _place(self, traces: set[str]) -> None:
        for _ in range(2):  # the traces that share a call, and those that share one with these
            for key, part in self._known.items():
                if key.trace in traces:
                    for name in part.facts.joins:
                        traces = traces | self._by_join[name]
        known = {key: part for key, part in self._known.items() if key.trace in traces}
        facts = {key: type(part.facts).from_json(self._facts[key]) for key, part in known.items()}
        assert facts == {key: part.facts for key, part in known.items()}
        places = place(facts)
        for key, part in known.items():
            if key in places and part.event is not None:
                self._placed[key] = places[key].apply(part.event)
                self._known[key] = Part(key, part.facts, self._placed[key])
            else:
                self._placed.pop(key, None)


def _id(event: dict[str, Any]) -> str:
    return str(event["id"])
