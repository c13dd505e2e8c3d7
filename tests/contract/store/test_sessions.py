"""What a session is said to be: its counts, sums, times and title."""

from __future__ import annotations

from typing import Any

import pytest

from sessionbat.server.store.opening import Store
from tests.contract.store.events import received, said, summary


def test_a_session_counts_its_observations_by_kind(store: Store) -> None:
    kinds = ["llm", "llm", "llm", "tool", "tool", "retrieval", "something-new"]
    store.append([received(f"e{n}", kind=kind) for n, kind in enumerate(kinds)])
    found = summary(store)
    assert found.observations == 7
    assert (found.llm_calls, found.tool_calls, found.retrievals) == (3, 2, 1)


def test_an_error_is_an_observation_whose_error_is_not_null(store: Store) -> None:
    errors: list[Any] = [None, {"message": "x"}, "text", {}, ""]
    store.append([received(f"e{n}", error=error) for n, error in enumerate(errors)])
    assert summary(store).errors == 4


def test_interactions_are_counted_once_each_over_several_appends(store: Store) -> None:
    store.append([received("e1", interaction_id="i1"), received("e2", interaction_id="i2")])
    store.append([received("e3", interaction_id="i2"), received("e4", interaction_id="i3")])
    assert summary(store).interactions == 3


@pytest.mark.parametrize("none", [None, ""])
def test_no_interaction_id_is_no_interaction(store: Store, none: str | None) -> None:
    store.append([received("e1", interaction_id=none)])
    assert summary(store).interactions == 0


def test_the_same_interaction_id_in_two_sessions_counts_in_both(store: Store) -> None:
    store.append([received(s, session_id=s, interaction_id="i1") for s in ("s1", "s2")])
    assert [summary(store, s).interactions for s in ("s1", "s2")] == [1, 1]


def test_tokens_are_summed_over_several_appends(store: Store) -> None:
    store.append([received("e1", metrics={"input_tokens": 100, "output_tokens": 7})])
    store.append([received("e2", metrics={"input_tokens": 20.0})])
    assert (summary(store).input_tokens, summary(store).output_tokens) == (120, 7)


@pytest.mark.parametrize("value", [None, "7", True, -1, 10**9 + 1, 1e300, 2**64 - 1, [7], {}])
def test_tokens_that_are_no_sane_number_do_not_count(store: Store, value: object) -> None:
    store.append([received("e1", metrics={"input_tokens": value})])
    assert summary(store).input_tokens == 0


def test_first_and_last_times_do_not_depend_on_the_order_of_arrival(store: Store) -> None:
    store.append([received("e1", at="12:00:00"), received("e2", at="09:00:00.5")])
    store.append([received("e3", at="11:00:00")])
    assert summary(store).first_at == "2026-11-22T09:00:00.500000Z"
    assert summary(store).last_at == "2026-11-22T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("created_at", "utc"),
    [
        ("2026-11-22T16:00:00.123456Z", "2026-11-22T16:00:00.123456Z"),
        ("2026-11-22T16:00:00+02:00", "2026-11-22T14:00:00.000000Z"),
        ("2026-11-22T16:00:00.123456789Z", "2026-11-22T16:00:00.123456Z"),
        ("2026-11-22T16:00:00", "2026-11-22T16:00:00.000000Z"),
        (None, "2026-11-23T18:00:00.000000Z"),
        ("yesterday", "2026-11-23T18:00:00.000000Z"),
        ("1492-10-12T00:00:00Z", "2026-11-23T18:00:00.000000Z"),
        ("9999-12-31T23:59:59-14:00", "2026-11-23T18:00:00.000000Z"),
        ("0001-01-01T00:00:00+14:00", "2026-11-23T18:00:00.000000Z"),
    ],
)
def test_an_events_time_is_its_created_at_else_that_of_receipt(
    store: Store, created_at: str | None, utc: str
) -> None:
    store.append([received("e1", created_at=created_at)])
    assert summary(store).first_at == utc


def test_the_cost_is_summed_without_drift(store: Store) -> None:
    store.append([received(f"e{n}", metrics={"cost_usd": 0.1}) for n in range(3)])
    assert summary(store).cost_usd == 0.3


@pytest.mark.parametrize("value", [None, "7", True, -1, 10**6 + 1, 1e300, [7]])
def test_a_cost_that_is_no_sane_number_does_not_count(store: Store, value: object) -> None:
    store.append([received("e1", metrics={"cost_usd": value})])
    assert summary(store).cost_usd == 0


def test_a_session_is_called_by_its_users_first_words(store: Store) -> None:
    store.append([said("e2", "Second", at="10:00:02"), said("e1", "First", at="10:00:01")])
    assert summary(store).title == "First"


def test_first_words_that_arrive_late_name_the_session_still(store: Store) -> None:
    store.append([said("e2", "Second", at="10:00:02")])
    store.append([said("e1", "First", at="10:00:01")])
    store.append([said("e3", "Third", at="10:00:03")])
    assert summary(store).title == "First"


def test_a_retrieval_query_is_the_title_until_a_user_speaks(store: Store) -> None:
    store.append([received("e1", kind="retrieval", at="10:00:01", input={"query": "locked"})])
    assert summary(store).title == "locked"
    store.append([said("e2", "I am locked out", at="10:00:02")])
    assert summary(store).title == "I am locked out"


def test_a_long_title_is_cut_at_a_word(store: Store) -> None:
    store.append([said("e1", "wörter " * 100)])
    title = summary(store).title
    assert len(title) <= 91
    assert title.endswith("wörter…")
