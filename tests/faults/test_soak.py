"""A minute of the soak of ``bench/soak.py``; the long one is run by hand."""

from __future__ import annotations

import pytest
from bench.soak import soak

from sessionbat._delivery.posting import MAX_SENDERS


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_minute_of_random_faults_at_500_events_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing lost, and threads, descriptors and memory stay where they are."""
    monkeypatch.setenv("SESSIONBAT_SPOOL_DIR", "")  # the soak sets one; this brings the old back
    found = soak(60)
    assert (found.status, found.lost, found.left_on_disk) == (0, 0, 0)
    assert found.samples[-1]["dropped"] == {}
    assert len(found.faults) > 3
    assert found.least("threads") <= 2
    assert found.most("threads") <= MAX_SENDERS + 2
    assert found.most("descriptors") - found.least("descriptors") <= MAX_SENDERS + 3
    first, *_, last = found.settled
    assert last["rss"] - first["rss"] < 30e6
