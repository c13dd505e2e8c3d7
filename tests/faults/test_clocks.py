"""A host whose tests stop or move the time: freezegun, time-machine, ``mock.patch``."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from sessionbat import SessionBat
from sessionbat._clock import monotonic, wall_clock
from sessionbat._delivery.event_queue import EventQueue
from sessionbat._delivery.segment import Segment
from sessionbat._delivery.spool import MAX_AGE_S, Spool
from sessionbat.accounting import Ledger
from sessionbat.event import is_event_id, new_event_id
from sessionbat.testing import Answer, Endpoint, Recording, receipt, unused_port
from tests.faults.host import run

# Run where freezegun and time-machine are installed: beside the other tools that hosts use.
pytestmark = pytest.mark.slow


def library(name: str) -> Any:
    """Load what moves the time; absent is no reason to skip where all tests have to run."""
    if os.environ.get("CI"):
        return importlib.import_module(name)
    return pytest.importorskip(name)


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


FIRST = {
    "client": "SessionBat(app='a', endpoint='http://127.0.0.1:9', spool=False)",
    "transport": "SessionBat(transport=MemoryTransport()).session().interaction().llm(input=1)",
    "nowhere": "current_interaction().tool_call(tool_name='x')",
    "recording": "Recording().client.session()",
}
FREEZERS = {
    "freezegun": "from freezegun import freeze_time; moved = freeze_time('2026-01-01')",
    "time_machine": "import time_machine; moved = time_machine.travel(0, tick=False)",
    "mock": (
        "from unittest import mock; moved = mock.patch.multiple('datetime', datetime=mock.Mock(),"
        " date=mock.Mock())"
    ),
}
LATER = """
import datetime, json
t = MemoryTransport()
day = datetime.date(2026, 5, 1)
noon = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)
SessionBat(transport=t).session().interaction().llm(input=[day, noon], started_at=noon)
o = t.events[0]["observation"]
print(o["input"], o["started_at"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("freezer", FREEZERS)
@pytest.mark.parametrize("first", FIRST)
def test_the_first_use_of_a_process_may_be_while_time_stands_still(
    first: str, freezer: str
) -> None:
    """Loaded then, the encoder knows dates and times afterwards as well."""
    if freezer != "mock":
        library(freezer)
    done = python(
        "from sessionbat import SessionBat, current_interaction\n"
        "from sessionbat.testing import Recording\n"
        "from sessionbat.transports import MemoryTransport\n"
        f"{FREEZERS[freezer]}\nwith moved:\n    {FIRST[first]}\n{LATER}"
    )
    said = "['2026-05-01', '2026-05-01T12:00:00+00:00'] 2026-05-01T12:00:00Z\n"
    assert (done.returncode, done.stdout) == (0, said), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("loaded", ["before", "while frozen"])
def test_a_process_that_ends_while_time_stands_still_ends_in_time(loaded: str) -> None:
    library("freezegun")
    client = f"c = SessionBat(app='a', endpoint='http://127.0.0.1:{unused_port()}', spool=False)\n"
    freeze = "freeze_time('2026-01-01').start()\n"
    began = monotonic()
    done = python(
        "from sessionbat import SessionBat\nfrom freezegun import freeze_time\n"
        + (client + freeze if loaded == "before" else freeze + client)
        + "c.session().interaction().llm(input=1)"
    )
    assert (done.returncode, done.stderr.count("[exit]")) == (0, 1), done.stderr
    assert monotonic() - began < 30  # 2 s, and a machine under load


def test_a_frozen_event_has_the_time_of_the_test_and_a_true_latency() -> None:
    freezegun = library("freezegun")
    recording = Recording()
    with freezegun.freeze_time("2026-01-01 12:00"):
        interaction = recording.client.session().interaction()
        with interaction.measure_llm(input="x"):
            began = monotonic()
            while monotonic() - began < 0.01:
                pass
    event = recording.only()
    assert event["created_at"] == "2026-01-01T12:00:00.000000Z"
    assert event["observation"]["started_at"] == "2026-01-01T12:00:00Z"
    assert event["observation"]["metrics"]["latency_ms"] >= 10


def test_dates_made_before_and_under_the_freeze_are_written_alike() -> None:
    freezegun = library("freezegun")
    recording = Recording()
    before = datetime(2026, 5, 1, 12, tzinfo=UTC)
    with freezegun.freeze_time("2026-05-01 12:00"):
        now = importlib.import_module("datetime").datetime.now(UTC)
        recording.client.session().interaction().llm(
            input=[before, now, now.date()], started_at=before.astimezone()
        )
    observation = recording.only()["observation"]
    assert observation["input"] == ["2026-05-01T12:00:00+00:00"] * 2 + ["2026-05-01"]
    assert observation["started_at"] == "2026-05-01T12:00:00Z"


def test_a_naive_time_made_before_the_freeze_is_still_local_time() -> None:
    freezegun = library("freezegun")
    recording = Recording()
    before = datetime(2026, 5, 1, 12)
    with freezegun.freeze_time("2026-01-01"):
        recording.client.session().interaction().llm(started_at=before)
    expected = before.astimezone(UTC).isoformat().replace("+00:00", "Z")
    assert recording.only()["observation"]["started_at"] == expected


@pytest.mark.parametrize("name", ["freezegun", "time_machine"])
def test_events_are_delivered_while_time_stands_still(
    name: str, new_client: Callable[..., SessionBat], endpoint: Endpoint
) -> None:
    module, client = library(name), new_client()
    freeze = module.freeze_time if name == "freezegun" else module.travel
    with freeze(datetime(2040, 1, 1, tzinfo=UTC), tick=False):
        event_id = client.session().interaction().llm(input=1)
        assert client.flush(10)
    assert endpoint.acknowledged == [event_id]
    assert endpoint.requests[-1].events[0]["created_at"] == "2040-01-01T00:00:00.000000Z"


@pytest.mark.parametrize("name", ["freezegun", "time_machine"])
def test_a_flush_of_a_silent_endpoint_returns_while_time_stands_still(
    name: str, new_client: Callable[..., SessionBat], endpoint: Endpoint
) -> None:
    module, client = library(name), new_client(spool=False)
    endpoint.behave = lambda request: Answer(hang=True)
    freeze = module.freeze_time if name == "freezegun" else module.travel
    with freeze(datetime(2040, 1, 1, tzinfo=UTC), tick=False):
        client.session().interaction().llm(input=1)
        began = monotonic()
        assert not client.flush(0.2)
    assert 0.2 <= monotonic() - began < 5
    endpoint.behave = receipt
    endpoint.release()
    assert client.flush(20)


@pytest.mark.parametrize(
    "moved",
    [
        {"time": mock.Mock(return_value=0.0)},
        {"time_ns": mock.Mock(return_value=0), "time": mock.Mock(return_value=0.0)},
        {"monotonic": mock.Mock(return_value=1.0), "perf_counter": mock.Mock(return_value=1.0)},
        {"sleep": mock.Mock(return_value=None)},
    ],
    ids=["time", "time-ns", "monotonic", "sleep"],
)
def test_events_are_delivered_while_the_time_module_is_patched(
    moved: dict[str, Any], new_client: Callable[..., SessionBat], endpoint: Endpoint
) -> None:
    client = new_client()
    with mock.patch.multiple("time", **moved):
        ids = [client.session().interaction().llm(input=n) for n in range(3)]
        with client.session().interaction().measure_llm() as call:
            pass
        assert client.flush(10)
    assert endpoint.acknowledged == [*ids, call.id]


@pytest.mark.parametrize("year", [1955, 1970, 9000])
def test_an_id_is_made_in_any_year(year: int) -> None:
    moment_ns = (datetime(year, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )
    with mock.patch("time.time_ns", return_value=moment_ns * 1000):
        ids = {new_event_id() for _ in range(100)}
        recording = Recording()
        recording.client.session().interaction().llm(input=1)
    assert len(ids) == 100
    assert all(is_event_id(made) and len(made) == 32 for made in ids)
    assert recording.only()["created_at"] == f"{year}-01-01T00:00:00.000000Z"


def test_the_keeper_rests_although_sleep_returns_at_once() -> None:
    queue = EventQueue()
    with mock.patch("time.sleep", return_value=None):
        began = monotonic()
        queue.rest(0.05)
    assert monotonic() - began >= 0.04


@pytest.mark.parametrize("name", ["freezegun", "time_machine", "mock"])
def test_spooled_events_do_not_expire_by_a_frozen_clock(name: str, tmp_path: Path) -> None:
    """A test in the year 2040 must not delete what a program has left on this machine."""
    spool = Spool(tmp_path / "spool", {})
    spool.append(b"{}\n", 1)
    spool.close()
    segment = spool.adopt()
    assert segment is not None
    later = datetime(2040, 1, 1, tzinfo=UTC)
    if name == "mock":
        moved: Any = mock.patch("time.time", return_value=later.timestamp())
    else:
        module = library(name)
        freeze = module.freeze_time if name == "freezegun" else module.travel
        moved = freeze(later, tick=False)
    with moved:
        assert not spool.expired(segment)
    aged(segment, MAX_AGE_S + 60)
    assert spool.expired(segment)


def aged(segment: Segment, seconds: float) -> None:
    then = wall_clock() - seconds
    os.utime(segment.path, (then, then))


def test_an_age_is_told_where_the_directory_cannot_be_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", {})
    extent = spool.append(b"{}\n", 1)
    aged(extent.segment, MAX_AGE_S + 60)

    def refuse(*args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    assert spool.expired(extent.segment)


@pytest.mark.slow
def test_a_handler_uses_the_time_of_the_test_as_well() -> None:
    freezegun, recording = library("freezegun"), Recording()
    models = pytest.importorskip("langchain_core.language_models.fake_chat_models")
    model = models.FakeListChatModel(responses=["x"])
    with freezegun.freeze_time("2026-01-01"):
        model.invoke("q", {"callbacks": [recording.client.langchain_callback()]})
    event = recording.only()
    assert event["created_at"] == "2026-01-01T00:00:00.000000Z"
    assert event["observation"]["started_at"].startswith("2026-01-01T00:00:00")
    assert 0 <= event["observation"]["metrics"]["latency_ms"] < 60_000


def test_a_count_is_kept_while_the_clock_of_the_queue_stands_still() -> None:
    queue, ledger = EventQueue(), Ledger()
    with mock.patch("time.monotonic", return_value=0.0):
        assert queue.put(ledger, b"{}")
        began = monotonic()
        queue.wait_until_settled(ledger, 0.05)
    assert monotonic() - began >= 0.04


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["-O", "-OO"])
def test_an_optimized_interpreter_records_and_delivers(flag: str, endpoint: Endpoint) -> None:
    """Without assertions and docstrings."""
    code = (
        "from sessionbat import SessionBat\n"
        f"c = SessionBat(app='a', endpoint={endpoint.url!r}, mask=['password'])\n"
        "i = c.session().interaction()\n"
        "with i.measure_llm(input={'password': 'x'}) as call: call.output = [1j]\n"
        "print(bool(c.flush(20)), __debug__)"
    )
    done = subprocess.run(
        [sys.executable, flag, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "True False\n"), done.stderr
    assert len(endpoint.acknowledged) == 1


def test_time_is_read_where_the_test_can_set_it() -> None:
    """The clock for deadlines is none that another module holds."""
    assert time.monotonic is not monotonic
    assert abs(time.monotonic() - monotonic()) < 5
    assert abs(time.time() - wall_clock()) < 5


@pytest.mark.slow
def test_a_frozen_clock_is_not_logged(endpoint: Endpoint) -> None:
    library("freezegun")
    done = run(
        "from freezegun import freeze_time\nfreeze_time('2026-01-01').start()\nrecord(20)",
        endpoint.url,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(endpoint.acknowledged) == 20
