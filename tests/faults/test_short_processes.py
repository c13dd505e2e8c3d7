"""Short processes get through a backlog: what is acknowledged is never sent again."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.faults.short_processes import (
    KINDS,
    MANNERS,
    SILENT,
    TAKES,
    Figures,
    measure,
    slowly,
)

IN_FLIGHT = {"single": 12, "batches": 1000}


def check(figures: Figures, takes: str) -> None:
    assert figures.left == 0
    # A killed process may have delivered its own event without having said so.
    assert 0 <= figures.arrived[-1] - figures.backlog - figures.own <= figures.kills
    # On a machine that is short of time a process ends before its last requests are answered.
    assert figures.sent_again <= 0.02 * figures.arrived[-1] + figures.kills * IN_FLIGHT[takes]


@pytest.mark.slow
@pytest.mark.parametrize(("takes", "manner", "kill_each"), KINDS)
def test_each_short_process_gets_further(takes: str, manner: str, kill_each: int) -> None:
    figures = measure(
        MANNERS[manner](TAKES[takes]), backlog=3000, processes=4, kill_each=kill_each and 2
    )
    check(figures, takes)
    further = [b - a for a, b in pairwise(figures.arrived[:-1])]
    assert min(further) >= (0 if kill_each else 1)


@pytest.mark.slow
@pytest.mark.parametrize("takes", TAKES)
def test_a_process_that_neither_flushes_nor_closes_gets_further_too(takes: str) -> None:
    figures = measure(slowly(TAKES[takes]), backlog=3000, processes=4, program=SILENT)
    check(figures, takes)
    for before, after in pairwise([0, *figures.arrived[:-1]]):
        assert after - before > 1 or before >= figures.backlog, "its own event alone"


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("takes", "manner", "kill_each"), KINDS)
def test_a_hundred_short_processes(takes: str, manner: str, kill_each: int) -> None:
    figures = measure(
        MANNERS[manner](TAKES[takes]), backlog=20_000, processes=100, kill_each=kill_each
    )
    check(figures, takes)
    if takes == "single":
        assert figures.factor <= 1.02
        assert figures.posts <= figures.arrived[-1] * (1.02 if manner != "failing" else 1.15)
