"""An app's users while another app's key does its worst: bounded memory, short waits, all kept.

Aimed at is a p95 of 1 s for ingestion and of 2 s for pages: ``python -m tests.attack`` says how
near it is. On two processors at rest that was 1.05 s and 1.5 s. The bars here have room for a
machine that does other work, and more where it is slow in itself: ``machine``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.attacker import SHAPES, was_answered
from tests.attack.neighbour import INGESTION
from tests.attack.run import Figures, attack
from tests.attack.server import MAX_SIZE_MB

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(420),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc"),
]

SECONDS = 60.0
INGESTION_P95_S = 10.0
PAGES_P95_S = 12.0
MAX_RSS = 500_000_000


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    return attack(tmp_path_factory.mktemp("attack"), SECONDS)


def test_the_attack_was_carried_out_and_answered(figures: Figures) -> None:
    answered = {turn.shape for turn in figures.turns if was_answered(turn.answers)}
    unanswered = {shape.name for shape in SHAPES} - answered
    assert len(unanswered) <= 2, unanswered  # all are, on a machine at rest
    answers = {answer for turn in figures.turns for answer in turn.answers}
    assert {"200", "202", "400", "413"} <= answers
    assert figures.peak_disk > MAX_SIZE_MB * 1_000_000


def test_no_event_of_the_other_app_is_lost_or_deleted(figures: Figures) -> None:
    assert len(figures.acknowledged) > 500
    assert figures.unanswered == set()
    assert figures.lost == set()
    assert set(figures.stored.values()) == {1}
    assert set(figures.stored) == figures.acknowledged


def test_retention_deleted_events_of_the_attacker(figures: Figures) -> None:
    assert figures.deleted


def test_events_of_the_other_app_are_accepted_quickly(figures: Figures) -> None:
    assert figures.waits(INGESTION).p95 < INGESTION_P95_S * figures.slowness


def test_pages_of_the_other_app_load_quickly(figures: Figures) -> None:
    most = PAGES_P95_S * figures.slowness
    slow = {page: figures.waits(page) for page in figures.pages}
    assert {page: waits for page, waits in slow.items() if waits.p95 >= most} == {}


def test_the_other_app_is_not_refused(figures: Figures) -> None:
    refused = sum(figures.trouble.values())
    assert refused <= 0.01 * len(figures.samples), figures.trouble


def test_memory_is_bounded(figures: Figures) -> None:
    assert figures.peak_rss < MAX_RSS


def test_the_server_has_not_failed(figures: Figures) -> None:
    assert "Traceback" not in figures.log
    assert "internal-error" not in figures.log
