"""Latency histograms: adding, packing, and what a percentile of one is worth."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionbat.server.store.latency_histogram import (
    NOTHING,
    RELATIVE_ERROR,
    Histogram,
    bucket_of,
    histogram_of,
    merge,
    unpack,
    unpack_sum,
)

counts = st.dictionaries(st.integers(0, 500), st.integers(1, 2**40), max_size=20)


@given(counts)
def test_a_packed_histogram_is_unpacked_unchanged(given: dict[int, int]) -> None:
    histogram = histogram_of(given)
    back = unpack(histogram.pack())
    assert (back.first, list(back.counts)) == (histogram.first, list(histogram.counts))


@pytest.mark.parametrize(("most", "width"), [(255, 1), (256, 2), (65_536, 4), (2**32, 8)])
def test_a_count_takes_as_many_bytes_as_the_largest_needs(most: int, width: int) -> None:
    assert len(Histogram(7, (1, most, 1)).pack()) == 3 + 3 * width


@pytest.mark.slow
@given(st.lists(counts, max_size=5))
def test_merging_adds_up_bucket_by_bucket(several: list[dict[int, int]]) -> None:
    merged = merge(histogram_of(each) for each in several)
    expected: Counter[int] = Counter()
    for each in several:
        expected.update(each)
    found = {merged.first + n: count for n, count in enumerate(merged.counts) if count}
    assert found == dict(expected)


@pytest.mark.slow
@given(st.lists(counts, max_size=5))
def test_what_is_packed_is_added_up_as_merging_does(several: list[dict[int, int]]) -> None:
    histograms = [histogram_of(each) for each in several]
    added = unpack_sum([each.pack() for each in histograms])
    merged = merge(histograms)
    assert (added.first, list(added.counts)) == (merged.first, list(merged.counts))


def test_nothing_has_no_percentiles() -> None:
    assert merge([NOTHING, NOTHING]).percentiles((0.5, 0.99)) == [None, None]


@pytest.mark.parametrize(
    ("latency_ms", "bucket"),
    [(-1.0, 0), (0.0, 0), (0.01, 0), (0.0101, 1), (1e30, 500), (1e300, 500), (9.99e29, 500)],
)
def test_a_latency_beyond_the_buckets_is_in_the_first_or_last(
    latency_ms: float, bucket: int
) -> None:
    assert bucket_of(latency_ms) == bucket


@pytest.mark.slow
@given(st.lists(st.floats(0.02, 1e7), min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_within_its_error(latencies: list[float], part: float) -> None:
    histogram = histogram_of(Counter(bucket_of(latency) for latency in latencies))
    at = max(1, -(-part * len(latencies) // 1))
    assert histogram.percentiles([part]) == [
        pytest.approx(sorted(latencies)[int(at) - 1], rel=RELATIVE_ERROR)
    ]
