"""What /metrics says, after things were done that it counts; read by Prometheus's own parser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sessionbat.errors import StoreError
from sessionbat.server.ops.prometheus import Counter, Histogram, write
from sessionbat.server.store.sqlite.store import SqliteStore
from tests.server.wire import Wire, event


class Scraped:
    """One reading of /metrics: values by name and labels."""

    def __init__(self, server: Wire) -> None:
        answer = server.get("/metrics")
        assert answer.status == 200
        self.content_type = answer.headers["content-type"]
        self.text = answer.body.decode()
        self.families = list(text_string_to_metric_families(self.text))
        self._values = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> Any:
        return self._values.get((name, tuple(sorted(labels.items()))))


def test_the_format_is_the_one_that_prometheus_reads(standing_server: Wire) -> None:
    scraped = Scraped(standing_server)
    assert scraped.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert all(family.documentation and family.type != "unknown" for family in scraped.families)


def test_events_are_counted_by_what_became_of_them(server: Wire) -> None:
    server.send([event("e1"), event("e2"), event("e1"), event("e3", app=7), b"".hex()])
    scraped = Scraped(server)
    assert scraped("sessionbat_events_accepted_total") == 2
    assert scraped("sessionbat_events_duplicate_total") == 1
    assert scraped("sessionbat_events_rejected_total", slug="bad-event") == 2
    assert scraped("sessionbat_store_events") == 2


def test_refused_bodies_are_counted_by_slug(server: Wire) -> None:
    server.send(b"{")
    server.send(event(), "text/plain")
    scraped = Scraped(server)
    assert scraped("sessionbat_bodies_refused_total", slug="not-json") == 1
    assert scraped("sessionbat_bodies_refused_total", slug="unknown-content-type") == 1


def test_requests_are_counted_by_route_and_class_of_status(server: Wire) -> None:
    server.get("/api/v1/sessions", limit=0)
    server.get("/healthz")
    server.get("/s3cret/passwd")
    server.get("/static/none.js")
    scraped = Scraped(server)
    count = "sessionbat_http_requests_total"
    assert scraped(count, route="/api/v1/sessions", status="4xx") == 1
    assert scraped(count, route="/healthz", status="2xx") == 1
    assert scraped(count, route="other", status="4xx") == 1
    assert scraped(count, route="/static", status="4xx") == 1
    assert "s3cret" not in scraped.text


def test_commits_are_measured(server: Wire) -> None:
    server.send([event("e1"), event("e2")])
    scraped = Scraped(server)
    assert scraped("sessionbat_commit_seconds_count") == 1
    assert scraped("sessionbat_commit_events_sum") == 2
    assert scraped("sessionbat_commit_requests_sum") == 1
    assert scraped("sessionbat_ingest_seconds_count") == 1
    assert 0 < scraped("sessionbat_ingest_seconds_sum") < 20


def test_nothing_waits_when_nothing_is_done(server: Wire) -> None:
    server.send(event())
    scraped = Scraped(server)
    assert scraped("sessionbat_waiting_requests") == 0
    assert scraped("sessionbat_waiting_bytes") == 0


def test_unindexed_events_are_measured(server: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "_follow", lambda store: True)
        server.send([event("e1"), event("e2")])
        scraped = Scraped(server)
    assert scraped("sessionbat_follower_lag_events") == 2
    assert 0 < scraped("sessionbat_follower_lag_seconds") < 20


def test_the_process_and_the_file_are_measured(standing_server: Wire) -> None:
    scraped = Scraped(standing_server)
    assert scraped("process_cpu_seconds_total") > 0
    assert scraped("process_start_time_seconds") > 1.7e9
    assert scraped("sessionbat_store_file_bytes") > 0
    assert scraped("sessionbat_store_log_bytes") is not None


def test_a_store_that_fails_is_told_and_the_rest_is_still_there(
    server: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(store: SqliteStore) -> None:
        raise StoreError("the store failed", slug="store-failed")

    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "measure", fail)
        scraped = Scraped(server)
    assert scraped("sessionbat_store_up") == 0
    assert scraped("sessionbat_store_events") is None
    assert scraped("sessionbat_events_accepted_total") == 0


def test_busy_refusals_are_counted(
    start_server: Callable[..., Wire],
) -> None:
    server = start_server(max_waiting_requests=0)
    assert server.send(event()).slug == "busy"
    assert Scraped(server)("sessionbat_bodies_refused_total", slug="busy") == 1


def test_label_values_are_escaped() -> None:
    counter = Counter("c_total", "c", ["what"])
    counter.add(1, 'a"b\\c\nd')
    (family,) = text_string_to_metric_families(write([counter]).decode())
    assert [sample.labels for sample in family.samples] == [{"what": 'a"b\\c\nd'}]


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram("h", "h", [1, 2.5])
    for value in (0.5, 1, 2, 99):
        histogram.observe(value)
    lines = write([histogram]).decode().splitlines()
    assert lines[2:] == [
        'h_bucket{le="1"} 2',
        'h_bucket{le="2.5"} 3',
        'h_bucket{le="+Inf"} 4',
        "h_sum 102.5",
        "h_count 4",
    ]
