"""How long an address that sends wrong keys has to wait, by a clock that the test moves."""

from __future__ import annotations

import pytest

from sessionbat.server.access.throttle import ALLOWANCE, MAX_ADDRESSES, REFILL_PER_S, Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(clock)


def fail(throttle: Throttle, address: str, times: int) -> list[int | None]:
    return [throttle.fail(address) for _ in range(times)]


def test_an_address_may_fail_a_few_times_then_has_to_wait(throttle: Throttle) -> None:
    answers = fail(throttle, "10.0.0.1", ALLOWANCE + 2)
    assert answers[:ALLOWANCE] == [None] * ALLOWANCE
    assert answers[ALLOWANCE:] == [1 / REFILL_PER_S] * 2


def test_after_the_wait_that_was_named_it_may_fail_again(throttle: Throttle, clock: Clock) -> None:
    wait_s = fail(throttle, "10.0.0.1", ALLOWANCE + 1)[-1]
    assert wait_s is not None
    clock.now += wait_s
    assert fail(throttle, "10.0.0.1", 2) == [None, wait_s]


def test_failures_are_forgotten_after_a_while(throttle: Throttle, clock: Clock) -> None:
    fail(throttle, "10.0.0.1", 50)
    clock.now += ALLOWANCE / REFILL_PER_S
    assert fail(throttle, "10.0.0.1", ALLOWANCE) == [None] * ALLOWANCE
    clock.now += 10_000
    assert fail(throttle, "10.0.0.1", ALLOWANCE + 1)[-1] is not None  # and never more than that


def test_one_address_does_not_pay_for_another(throttle: Throttle) -> None:
    fail(throttle, "10.0.0.1", ALLOWANCE + 1)
    assert throttle.fail("10.0.0.2") is None


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "10.0.0.2", False),
        ("", "", True),
    ],
)
def test_an_ipv6_network_counts_as_one_address(
    throttle: Throttle, one: str, other: str, are_one: bool
) -> None:
    fail(throttle, one, ALLOWANCE)
    assert (throttle.fail(other) is not None) is are_one


def test_however_many_addresses_fail_only_so_many_are_remembered(throttle: Throttle) -> None:
    fail(throttle, "10.0.0.1", ALLOWANCE)
    for n in range(MAX_ADDRESSES - 1):
        throttle.fail(f"host-{n}")
    assert throttle.fail("10.0.0.1") is not None  # it failed lately, so it is still known
    for n in range(2 * MAX_ADDRESSES):
        throttle.fail(f"host-{n}")
    assert len(throttle._left) == MAX_ADDRESSES
    assert throttle.fail("10.0.0.1") is None
