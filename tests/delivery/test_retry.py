"""How long waits are: arithmetic, no clock."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionbat._delivery.retry import backoff_s, retry_after_s

NOW = 1_800_000_000.0


def test_the_wait_doubles_up_to_a_minute() -> None:
    ceilings = [backoff_s(tries, draw=lambda: 1.0) for tries in range(1, 12)]
    assert ceilings == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


@given(st.integers(-5, 10_000), st.floats(0, 1))
def test_the_wait_is_never_nothing_and_never_over_a_minute(tries: int, drawn: float) -> None:
    assert 0.05 <= backoff_s(tries, draw=lambda: drawn) <= 60


def test_the_jitter_is_full() -> None:
    waits = [backoff_s(8) for _ in range(500)]
    assert min(waits) < 15 and max(waits) > 45


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        (" 0 ", 0.0),
        ("-5", 0.0),
        ("1000000000", 300.0),
        (formatdate(NOW + 20, usegmt=True), 20.0),
        (formatdate(NOW - 20, usegmt=True), 0.0),
        (formatdate(NOW + 1e6, usegmt=True), 300.0),
        ("soon", None),
        ("1.5", None),
        ("", None),
        (None, None),
        ("²", None),
        ("9" * 5000, None),
        ("Fri, 99 Foo 9999 99:99:99 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW) == seconds


@given(st.text())
def test_retry_after_takes_any_text(header: str) -> None:
    wait = retry_after_s(header, NOW)
    assert wait is None or 0 <= wait <= 300
