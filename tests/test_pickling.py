"""Copies of what holds a client, a session or an interaction, and pickles in other processes."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import logging
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pydantic
import pytest

from sessionbat import (
    ConfigurationError,
    Interaction,
    Session,
    SessionBat,
    current_interaction,
    current_session,
)
from sessionbat.testing import Endpoint
from sessionbat.transports import IngestionTransport, MemoryTransport, StdoutTransport
from tests.pickled_mask import hide_input

KEY = "sbat_ingest_never_in_a_pickle"


class Unknown:
    """Cannot be copied or pickled, and must not be asked to."""

    def __reduce__(self) -> Any:
        raise AssertionError("the host's code ran")

    def send(self, event: object) -> None: ...

    def flush(self, timeout: float | None = None) -> None: ...

    def close(self, timeout: float | None = None) -> None: ...

    def __call__(self, event: Any) -> Any:
        return event


@dataclasses.dataclass
class Deps:
    held: Any


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    held: Any


def everything() -> dict[str, Any]:
    client = SessionBat(app="a", transport=MemoryTransport(), mask=lambda event: event)
    session = client.session(session_id="s")
    interaction = session.interaction()
    held = {
        "client": client,
        "session": session,
        "interaction": interaction,
        "measurement": interaction.measure_llm(),
        "memory": MemoryTransport(),
        "stdout": StdoutTransport(io.StringIO()),
        "ingestion": IngestionTransport(endpoint="http://127.0.0.1:9", spool=False),
        "nowhere": current_interaction(),
    }
    with contextlib.suppress(ImportError):
        held["handler"] = client.langchain_callback()
    return held


@pytest.mark.parametrize("name", everything())
def test_a_copy_of_what_holds_it_holds_the_same(name: str) -> None:
    held = everything()[name]

    assert copy.copy(held) is held
    assert copy.deepcopy({"in": [held]})["in"][0] is held
    assert dataclasses.asdict(Deps(held))["held"] is held
    assert dataclasses.replace(Deps(held)).held is held
    assert Model(held=held).model_copy(deep=True).held is held


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", everything())
def test_everything_can_be_pickled(name: str, protocol: int) -> None:
    held = everything()[name]

    restored = pickle.loads(pickle.dumps(Deps(held), protocol)).held

    assert type(restored) is type(held)


def test_a_pickle_in_the_same_process_has_the_same_client() -> None:
    client = SessionBat(app="a", transport=MemoryTransport(), default_tags=["t"])
    session = client.session(session_id="s", tags=["u"], context={"user_id": "ada"})
    interaction = session.interaction(interaction_id="i", tags=["v"], context={"n": 1})

    restored: Interaction = pickle.loads(pickle.dumps(interaction))

    assert restored.session.client is client
    assert (restored.session_id, restored.interaction_id) == ("s", "i")
    for made in (interaction, restored):
        made.llm(input=1, tags=["w"], context={"m": 2})
    first, second = client._recorder.transport.events  # type: ignore[union-attr]
    for name in ("app", "session_id", "interaction_id", "tags", "context"):
        assert first[name] == second[name]
    assert second["tags"] == ["t", "u", "v", "w"]
    assert second["context"] == {"user_id": "ada", "n": 1, "m": 2}
    restored.session.interaction(interaction_id="j").llm()
    assert client._recorder.transport.events[-1]["tags"] == ["t", "u"]  # type: ignore[union-attr]


def test_what_is_outside_any_session_stays_outside() -> None:
    restored: Session = pickle.loads(pickle.dumps(current_session()))

    assert restored.client is current_session().client


def test_no_key_and_no_object_of_the_host_is_in_a_pickle() -> None:
    client = SessionBat(
        api_key=KEY,
        endpoint="https://example.com",
        mask=Unknown(),
        spool=False,  # type: ignore[arg-type]
    )
    own = SessionBat(transport=Unknown())
    held = [client, client.session(context={"u": Unknown()}).interaction(), own]

    assert KEY.encode() not in pickle.dumps(held)


def test_a_measurement_elsewhere_has_its_id_and_records_nothing() -> None:
    client = SessionBat(transport=MemoryTransport())
    with client.session().interaction().measure_llm() as call:
        with pickle.loads(pickle.dumps(call)) as elsewhere:
            elsewhere.output = 1
            elsewhere.metrics["n"] = 1
        assert elsewhere.id == call.id
    assert client.stats().recorded == 1


def test_counts_and_errors_travel_as_well() -> None:
    client = SessionBat(transport=Unknown())
    client.session(session_id="").interaction().llm()
    with pytest.raises(ConfigurationError) as raised:
        SessionBat(app="a", endpoint="ftp://x", api_key="k")

    for held in (client.stats(), client.flush(0)):
        assert pickle.loads(pickle.dumps(held)) == copy.deepcopy(held) == held
    error = pickle.loads(pickle.dumps(raised.value))
    assert (str(error), error.slug) == (str(raised.value), "bad-endpoint")


# In another process.


def elsewhere(held: object, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Unpickle in a new process; ``code`` runs there with what came as ``held``."""
    program = f"import pickle, sys\nheld = pickle.load(sys.stdin.buffer)\n{code}\n"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(held),
        capture_output=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode().strip(), done.stderr.decode()
    )


RECORD = "held.llm(input={'password': 'hunter2'}); held.session.client.flush(20)\n"


@pytest.mark.slow
def test_elsewhere_a_client_is_made_from_the_settings(endpoint: Endpoint) -> None:
    client = SessionBat(app="a", endpoint=endpoint.url, spool=False, default_tags=["t"])
    interaction = client.session(session_id="s").interaction(interaction_id="i")

    done = elsewhere(
        interaction,
        RECORD
        + "c = held.session.client; print(c.stats().delivered, c._recorder.transport.endpoint)",
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"1 {endpoint.url}"
    (event,) = endpoint.requests[-1].events
    found = [event[name] for name in ("app", "session_id", "interaction_id", "tags")]
    assert found == ["a", "s", "i", ["t"]]


@pytest.mark.slow
def test_elsewhere_the_key_is_that_of_the_environment(endpoint: Endpoint) -> None:
    client = SessionBat(app="a", endpoint=endpoint.url, api_key=KEY, spool=False)

    done = elsewhere(client.session().interaction(), RECORD, SESSIONBAT_API_KEY="sbat_there")

    assert (done.returncode, done.stderr) == (0, "")
    assert endpoint.requests[-1].headers["authorization"] == "Bearer sbat_there"


@pytest.mark.slow
def test_elsewhere_an_open_client_of_the_same_settings_is_found(endpoint: Endpoint) -> None:
    client = SessionBat(app="a", endpoint=endpoint.url, spool=False, sample_rate=1.0)

    done = elsewhere(
        [pickle.dumps(client), pickle.dumps(client.session(tags=["t"]))],
        "from sessionbat import SessionBat\n"
        f"here = SessionBat(app='a', endpoint={endpoint.url!r}, spool=False)\n"
        f"tagged = SessionBat(app='b', endpoint={endpoint.url!r}, spool=False)\n"
        "client, session = (pickle.loads(each) for each in held)\n"
        "print(client is here, session.client is here)\n"
        "here.close()\n"
        "again = [pickle.loads(held[0]) for _ in range(20)]\n"
        "print(again[0] is here, len(set(map(id, again))))",
    )

    assert (done.returncode, done.stdout) == (0, "True True\nFalse 1"), done.stderr


@pytest.mark.slow
def test_elsewhere_without_a_key_nothing_raises_and_the_loss_is_counted_and_said_once() -> None:
    client = SessionBat(app="a", endpoint="https://example.com", api_key=KEY, spool=False)

    done = elsewhere(
        client.session().interaction(),
        "for _ in range(3): held.llm(input='hunter2')\n"
        "print(dict(held.session.client.stats().dropped))",
    )

    assert (done.returncode, done.stdout) == (0, "{'no-api-key': 3}"), done.stderr
    assert done.stderr.count("[no-api-key]") == done.stderr.count("\n") == 1


@pytest.mark.slow
def test_elsewhere_recording_may_be_turned_off() -> None:
    client = SessionBat(app="a", endpoint="https://example.com", api_key=KEY, spool=False)

    done = elsewhere(client.session().interaction(), RECORD, SESSIONBAT_ENABLED="0")

    assert (done.returncode, done.stderr) == (0, "")


def local_mask() -> Callable[[Any], Any]:
    def mask(event: Any) -> Any:
        event["observation"]["input"] = "[gone]"
        return event

    return mask


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mask", "expected", "said"),
    [
        (["password"], {"password": "[masked]"}, 0),
        ([re.compile("hunter.")], {"password": "[masked]"}, 0),
        (re.compile("(?i)HUNTER."), {"password": "[masked]"}, 0),
        (iter(["password"]), {"password": "[masked]"}, 0),
        (hide_input, "hidden", 0),
        (lambda event: event, "[masked]", 1),
        (local_mask(), "[masked]", 1),
        (Unknown(), "[masked]", 1),
    ],
    ids=["name", "pattern", "bare", "iterator", "function", "lambda", "local", "object"],
)
def test_elsewhere_nothing_is_sent_that_the_mask_had_removed(
    mask: Any, expected: Any, said: int, endpoint: Endpoint
) -> None:
    client = SessionBat(app="a", endpoint=endpoint.url, spool=False, mask=mask)

    done = elsewhere(client.session().interaction(), RECORD)

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("[mask-lost]") == said
    (event,) = endpoint.requests[-1].events
    assert event["observation"]["input"] == expected


@pytest.mark.slow
def test_elsewhere_a_lost_mask_takes_no_client_that_has_none(endpoint: Endpoint) -> None:
    client = SessionBat(app="a", endpoint=endpoint.url, spool=False, mask=local_mask())

    done = elsewhere(
        pickle.dumps(client.session().interaction()),
        "from sessionbat import SessionBat\n"
        f"here = SessionBat(app='a', endpoint={endpoint.url!r}, spool=False)\n"
        "with here.session(): held = pickle.loads(held)\n" + RECORD,
    )

    assert done.returncode == 0, done.stderr
    assert "hunter2" not in str([request.events for request in endpoint.requests])


@pytest.mark.slow
def test_elsewhere_a_transport_of_the_hosts_own_is_that_of_the_current_session() -> None:
    pickled = pickle.dumps(SessionBat(app="a", transport=Unknown()).session().interaction())

    done = elsewhere(
        pickled,
        "from sessionbat import SessionBat\nfrom sessionbat.transports import MemoryTransport\n"
        "lost = pickle.loads(held)\nlost.llm()\nprint(dict(lost.session.client.stats().dropped))\n"
        "here = SessionBat(app='a', transport=MemoryTransport())\n"
        "other = SessionBat(app='b', transport=MemoryTransport())\n"
        "with here.session(): print(pickle.loads(held).session.client is here)\n"
        "with other.session(): print(pickle.loads(held).session.client is other)",
    )

    assert (done.returncode, done.stdout) == (0, "{'transport-lost': 1}\nTrue\nFalse"), done.stderr
    assert done.stderr.count("[transport-lost]") == 1


def record_in_child(interaction: Interaction, number: int) -> int:
    """Run in a process of a pool."""
    interaction.tool_call(tool_name=f"call {number}")
    interaction.session.client.flush(20)
    return len(multiprocessing.current_process().name)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_arguments_of_another_process_record_there(method: str, endpoint: Endpoint) -> None:
    client = SessionBat(app="a", endpoint=endpoint.url)
    interaction = client.session(session_id="s").interaction()

    with multiprocessing.get_context(method).Pool(2) as pool:
        pool.starmap(record_in_child, [(interaction, number) for number in range(6)])
        pool.close()
        pool.join()

    events = [event for request in endpoint.requests for event in request.events]
    assert sorted(e["observation"]["name"] for e in events) == [f"call {n}" for n in range(6)]
    assert {event["session_id"] for event in events} == {"s"}


@pytest.mark.slow
def test_cloudpickle_carries_a_function_that_closes_over_a_session(endpoint: Endpoint) -> None:
    joblib = pytest.importorskip("joblib.externals.cloudpickle")
    interaction = SessionBat(app="a", endpoint=endpoint.url).session().interaction()

    done = elsewhere(
        joblib.dumps(lambda: interaction.llm(input=1)),
        "held = pickle.loads(held); held()\n"
        "held.__closure__[0].cell_contents.session.client.flush(20)",
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert len(endpoint.requests[-1].events) == 1


def test_a_handler_goes_on_with_its_session() -> None:
    pytest.importorskip("langchain_core")
    client = SessionBat(app="a", transport=MemoryTransport())
    handler = client.session(session_id="s").langchain_callback(
        tags=["t"], context={"u": 1}, metadata={"when": Unknown()}
    )

    restored = pickle.loads(pickle.dumps(handler))

    assert restored._runs.home.client is client
    assert restored._runs.home.session.session_id == "s"
    assert (restored._runs.home.tags, restored._runs.home.context) == (("t",), {"u": 1})


def test_a_mask_is_what_it_was_when_the_client_was_made(caplog: pytest.LogCaptureFixture) -> None:
    names = ["password"]
    client = SessionBat(transport=MemoryTransport(), mask=names)
    names.clear()

    assert client.__reduce__()[1][1]["mask"] == ["password"]  # type: ignore[index]
    with caplog.at_level(logging.WARNING):
        assert pickle.loads(pickle.dumps(client)) is client
    assert caplog.records == []
