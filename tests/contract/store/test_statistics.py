"""Statistics sum up what began in an hour or a day, by what they are grouped."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sessionbat.server.store.opening import Store
from tests.contract.store.events import DAY, received, searchable, statistics


def test_statistics_sum_up_each_hour(store: Store) -> None:
    metrics = {"input_tokens": 10, "output_tokens": 2, "cost_usd": 0.1, "latency_ms": 800}
    searchable(
        store,
        received("e1", at="10:00:00", metrics=metrics),
        received("e2", at="10:59:59.999999", metrics=metrics, error="x"),
        received("e3", at="11:00:00"),
    )
    ten, eleven = statistics(store)
    assert (ten.at, ten.count, ten.errors) == ("2026-11-22T10:00:00.000000Z", 2, 1)
    assert (ten.input_tokens, ten.output_tokens, ten.cost_usd) == (20, 4, 0.2)
    assert (eleven.count, eleven.errors, eleven.latency_ms_p50) == (1, 0, None)


def test_statistics_sum_up_each_day(store: Store) -> None:
    searchable(store, received("e1", at="00:00:00"), received("e2", at="23:59:59"))
    (day,) = statistics(store, "day")
    assert (day.at, day.count) == ("2026-11-22T00:00:00.000000Z", 2)


def test_percentiles_are_within_five_percent(store: Store) -> None:
    latencies = range(100, 1100)
    searchable(
        store,
        *(received(f"e{n}", at="10:00:00", metrics={"latency_ms": n}) for n in latencies),
    )
    (hour,) = statistics(store)
    assert hour.latency_ms_p50 == pytest.approx(599, rel=0.05)
    assert hour.latency_ms_p95 == pytest.approx(1049, rel=0.05)
    assert hour.latency_ms_p99 == pytest.approx(1089, rel=0.05)


@pytest.mark.parametrize("latency", [1e308, 1e-308, -1e308, 0, 2**63])
def test_an_absurd_latency_does_not_end_search_and_statistics(store: Store, latency: float) -> None:
    searchable(
        store,
        received("e1", at="10:00:00", metrics={"latency_ms": latency}),
        received("e2", at="10:00:00"),
    )
    assert [hour.count for hour in statistics(store)] == [2]


def test_statistics_of_a_time_count_what_began_in_it(store: Store) -> None:
    searchable(store, *(received(f"e{n}", at=f"0{n}:30:00") for n in range(4)))
    asked = {"by": "hour", "until": DAY + timedelta(hours=3)}
    items = store.statistics(since=DAY + timedelta(hours=1, minutes=45), **asked)
    assert [item.at[11:13] for item in items] == ["01", "02"]


@pytest.mark.parametrize(
    ("group", "counts"),
    [
        (None, {None: 4}),
        ("app", {"support-bot": 3, "other": 1}),
        ("model", {"small": 2}),
        ("tool", {"lookup": 1}),
    ],
)
def test_statistics_are_grouped(store: Store, group: Any, counts: dict[str | None, int]) -> None:
    searchable(
        store,
        received("e1", at="10:00:00", metadata={"model": "small"}),
        received("e2", at="10:00:00", metadata={"model": "small"}, app="other"),
        received("e3", at="10:00:00", kind="tool", name="lookup"),
        received("e4", at="10:00:00"),
    )
    assert {item.group: item.count for item in statistics(store, group=group)} == counts


def test_statistics_of_one_app_count_no_other(store: Store) -> None:
    searchable(store, received("e1", at="10:00:00"), received("e2", at="10:00:00", app="other"))
    assert [item.count for item in statistics(store, app="other")] == [1]
    assert statistics(store, app="nobody") == []


def test_statistics_add_up_over_several_appends_and_count_no_duplicate(store: Store) -> None:
    for _ in range(2):
        searchable(store, received("e1", at="10:00:00", metrics={"latency_ms": 10}))
    searchable(store, received("e2", at="10:00:00", metrics={"latency_ms": 1000}))
    (hour,) = statistics(store)
    assert hour.count == 2
    assert hour.latency_ms_p50 == pytest.approx(10, rel=0.05)
