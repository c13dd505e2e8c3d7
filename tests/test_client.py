"""The recording API, as a user of ``MemoryTransport`` sees it."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

import sessionbat
from sessionbat import ConfigurationError, SessionBat, current_interaction, current_session
from sessionbat.transports import IngestionTransport, MemoryTransport, StdoutTransport
from tests.conftest import assert_adds_up


@pytest.fixture
def memory() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def client(memory: MemoryTransport) -> SessionBat:
    return SessionBat(
        app="support-bot",
        transport=memory,
        default_tags=["production"],
        default_context={"environment": "prod"},
    )


def only(memory: MemoryTransport) -> dict[str, Any]:
    [event] = memory.events
    return event


def test_an_event_has_every_field_of_the_format(
    client: SessionBat, memory: MemoryTransport
) -> None:
    session = client.session(session_id="thread_123", context={"user_id": "user_123"})
    interaction = session.interaction(interaction_id="interaction_123")
    event_id = interaction.llm(
        model="gpt-5.4-mini",
        input={"messages": []},
        output={"text": "Hi"},
        metrics={"latency_ms": 820, "input_tokens": 142},
    )
    event = only(memory)
    created_at = event.pop("created_at")
    assert event == {
        "type": "llm",
        "id": event_id,
        "app": "support-bot",
        "session_id": "thread_123",
        "interaction_id": "interaction_123",
        "tags": ["production"],
        "context": {"environment": "prod", "user_id": "user_123"},
        "observation": {
            "kind": "llm",
            "name": None,
            "started_at": None,
            "input": {"messages": []},
            "output": {"text": "Hi"},
            "error": None,
            "metadata": {"model": "gpt-5.4-mini"},
            "metrics": {"latency_ms": 820, "input_tokens": 142},
        },
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", created_at)


def test_a_tool_call_has_its_name(client: SessionBat, memory: MemoryTransport) -> None:
    client.session().interaction().tool_call(
        tool_name="lookup_account", input={"account_id": "a"}, output={"status": "locked"}
    )
    event = only(memory)
    assert (event["type"], event["observation"]["name"]) == ("tool", "lookup_account")


def test_a_retrieval_has_its_query_and_documents(
    client: SessionBat, memory: MemoryTransport
) -> None:
    documents = [{"id": "d", "title": "Reset", "score": 0.93, "lang": "en"}]
    client.session().interaction().retrieval(query="locked out", documents=documents)
    observation = only(memory)["observation"]
    assert observation["kind"] == "retrieval"
    assert observation["input"] == {"query": "locked out"}
    assert observation["output"] == {"documents": documents}


def test_tags_are_merged_in_order_without_repeats(
    client: SessionBat, memory: MemoryTransport
) -> None:
    session = client.session(tags=["vip", "production"])
    session.interaction(tags=["beta"]).llm(tags=["vip", "slow"])
    assert only(memory)["tags"] == ["production", "vip", "beta", "slow"]


def test_the_inner_context_wins(client: SessionBat, memory: MemoryTransport) -> None:
    session = client.session(context={"environment": "staging", "user_id": "u"})
    session.interaction(context={"user_id": "v"}).llm(context={"release": "1.2"})
    context = {"environment": "staging", "user_id": "v", "release": "1.2"}
    assert only(memory)["context"] == context


def test_context_changed_after_the_session_was_made_stays_out(
    client: SessionBat, memory: MemoryTransport
) -> None:
    context = {"plan": {"tier": "free"}}
    session = client.session(context=context)
    context["plan"]["tier"] = "paid"
    session.interaction().llm()
    assert only(memory)["context"]["plan"] == {"tier": "free"}


def test_a_payload_changed_after_the_call_arrives_as_it_was(
    client: SessionBat, memory: MemoryTransport
) -> None:
    messages = [{"role": "user", "content": "one"}]
    client.session().interaction().llm(input={"messages": messages})
    messages[0]["content"] = "two"
    messages.append({"role": "user", "content": "three"})
    assert only(memory)["observation"]["input"]["messages"] == [{"role": "user", "content": "one"}]


@pytest.mark.parametrize(
    ("given", "text"),
    [("thread", "thread"), (7, "7"), (UUID(int=1), "00000000-0000-0000-0000-000000000001")],
)
def test_a_session_id_becomes_text(client: SessionBat, given: object, text: str) -> None:
    assert client.session(session_id=given).session_id == text


@pytest.mark.parametrize("given", ["", b"bytes", 1.5, True, [], object()])
def test_an_unusable_id_is_replaced_counted_and_warned_of_once(
    client: SessionBat, caplog: pytest.LogCaptureFixture, given: object
) -> None:
    assert client.session(session_id=given).session_id
    assert client.session(session_id=given).session_id
    assert client.stats().mended == {"bad-session-id": 2}
    assert len(caplog.records) == 1


def test_ids_are_made_where_none_is_given(client: SessionBat) -> None:
    first, second = client.session(), client.session()
    assert first.session_id != second.session_id
    assert re.fullmatch("[0-9a-f]{32}", first.interaction().interaction_id)


def test_a_hosts_observation_id_is_kept(client: SessionBat, memory: MemoryTransport) -> None:
    assert client.session().interaction().llm(observation_id="mine-1") == "mine-1"
    assert only(memory)["id"] == "mine-1"


@pytest.mark.parametrize("given", ["", "x" * 129, "ü", "a\nb", 3.5])
def test_an_unusable_observation_id_is_replaced(
    client: SessionBat, memory: MemoryTransport, given: Any
) -> None:
    event_id = client.session().interaction().llm(observation_id=given)
    assert only(memory)["id"] == event_id != given
    assert client.stats().mended == {"bad-observation-id": 1}


@pytest.mark.parametrize(
    ("error", "recorded"),
    [
        (TimeoutError("slow"), {"type": "TimeoutError", "message": "slow"}),
        ("boom", {"type": "Error", "message": "boom"}),
        ({"type": "X", "code": 7}, {"type": "X", "code": 7}),
        (7, {"type": "Error", "message": "7"}),
    ],
)
def test_an_error_becomes_an_object(
    client: SessionBat, memory: MemoryTransport, error: Any, recorded: dict[str, Any]
) -> None:
    client.session().interaction().llm(error=error)
    assert only(memory)["observation"]["error"] == recorded


def test_metrics_that_are_no_finite_numbers_move_to_metadata(
    client: SessionBat, memory: MemoryTransport
) -> None:
    metrics: Any = {"latency_ms": 1.5, "cost": "0.1", "bad": float("inf"), "flag": True}
    client.session().interaction().llm(model="m", metrics=metrics)
    observation = only(memory)["observation"]
    assert observation["metrics"] == {"latency_ms": 1.5}
    assert observation["metadata"] == {"model": "m", "cost": "0.1", "bad": None, "flag": True}


def test_started_at_is_written_as_utc(client: SessionBat, memory: MemoryTransport) -> None:
    moment = datetime(2026, 11, 22, 18, 0, tzinfo=timezone(timedelta(hours=2)))
    client.session().interaction().llm(started_at=moment)
    assert only(memory)["observation"]["started_at"] == "2026-11-22T16:00:00Z"


@pytest.mark.parametrize("bad", [object(), 5, "text", [1, 2], {1: {2}}])
def test_arguments_of_any_type_are_recorded_without_raising(
    client: SessionBat, memory: MemoryTransport, bad: Any
) -> None:
    interaction = client.session(tags=bad, context=bad).interaction(tags=bad, context=bad)
    interaction.llm(
        model=bad, input=bad, output=bad, error=bad, metadata=bad, metrics=bad, tags=bad,
        context=bad, name=bad, started_at=bad,
    )  # fmt: skip
    interaction.tool_call(tool_name=bad)
    interaction.retrieval(query=bad, documents=bad)
    assert len(memory.events) == 3
    assert_adds_up(client)


def test_measuring_records_input_as_it_was_at_entry(
    client: SessionBat, memory: MemoryTransport
) -> None:
    messages = ["one"]
    with client.session().interaction().measure_llm(model="m", input=messages) as call:
        messages.append("two")
        call.output = {"text": "done"}
        call.metrics["input_tokens"] = 3
        call.metadata["provider"] = "p"
    event = only(memory)
    observation = event["observation"]
    assert event["id"] == call.id
    assert observation["input"] == ["one"]
    assert observation["output"] == {"text": "done"}
    assert observation["metadata"] == {"provider": "p", "model": "m"}
    assert observation["metrics"]["input_tokens"] == 3
    assert 0 <= observation["metrics"]["latency_ms"] < 5000
    assert observation["started_at"].endswith("Z")


def test_an_exception_inside_a_measurement_is_attached_and_goes_on(
    client: SessionBat, memory: MemoryTransport
) -> None:
    interaction = client.session().interaction()
    with pytest.raises(LookupError), interaction.measure_tool_call(tool_name="find"):
        raise LookupError("nothing there")
    observation = only(memory)["observation"]
    assert observation["error"] == {"type": "LookupError", "message": "nothing there"}


@pytest.mark.parametrize("ending", [asyncio.CancelledError, GeneratorExit])
def test_a_cancelled_measurement_is_no_error(
    client: SessionBat, memory: MemoryTransport, ending: type[BaseException]
) -> None:
    interaction = client.session().interaction()
    with pytest.raises(ending), interaction.measure_retrieval(query="q") as call:
        call.output = [{"id": "partial"}]
        raise ending
    observation = only(memory)["observation"]
    assert (observation["error"], observation["metadata"]) == (None, {"status": "cancelled"})
    assert observation["output"] == {"documents": [{"id": "partial"}]}


def test_a_session_and_an_interaction_become_current(client: SessionBat) -> None:
    with client.session() as session:
        assert current_session() is session
        assert current_interaction().session is session
        with session.interaction() as interaction:
            assert current_interaction() is interaction
        assert current_interaction() is not interaction
    assert current_session() is not session


def test_outside_any_session_nothing_is_recorded_but_counted_and_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from sessionbat.client import nowhere

    nowhere.cache_clear()
    assert current_interaction().llm(model="m")
    assert current_session().interaction().llm(model="m")
    assert nowhere().stats().dropped == {"no-session": 2}
    assert sum("[no-session]" in record.message for record in caplog.records) == 1


def test_tasks_have_each_their_own_current_session(client: SessionBat) -> None:
    async def one(number: int) -> bool:
        with client.session(session_id=number) as session:
            await asyncio.sleep(0.001)  # the others run meanwhile
            with session.interaction():
                await asyncio.sleep(0.001)  # as above
                return current_session().session_id == str(number)

    async def many() -> list[bool]:
        return list(await asyncio.gather(*(one(number) for number in range(50))))

    assert all(asyncio.run(many()))


def test_one_session_entered_by_several_tasks_is_left_by_each(client: SessionBat) -> None:
    shared = client.session()

    async def enter_and_leave(pause: float) -> bool:
        before = current_session()
        with shared:
            await asyncio.sleep(pause)  # who enters first leaves last
        return current_session().session_id == before.session_id

    async def both() -> list[bool]:
        return list(await asyncio.gather(enter_and_leave(0.002), enter_and_leave(0.001)))

    assert all(asyncio.run(both()))


def test_leaving_in_another_context_than_entered_is_no_error(client: SessionBat) -> None:
    async def closed_elsewhere() -> None:
        async def stream() -> Any:
            with client.session().interaction() as interaction:
                yield interaction.llm(model="m")
                yield 1

        generator = stream()
        await asyncio.create_task(anext(generator))
        await asyncio.create_task(generator.aclose())

    asyncio.run(closed_elsewhere())


def test_disabled_recording_returns_ids_and_needs_no_key(
    monkeypatch: pytest.MonkeyPatch, memory: MemoryTransport
) -> None:
    monkeypatch.setenv("SESSIONBAT_ENABLED", "0")
    for client in (SessionBat(app="a"), SessionBat(app="a", transport=memory)):
        assert client.session().interaction().llm(model="m")
        assert client.flush()
        assert client.stats().recorded == 0
        client.close()
    assert memory.events == []


def test_a_transport_that_raises_costs_its_events_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def send(self, event: object) -> None:
            raise OSError("disk on fire")

        def flush(self, timeout: float | None = None) -> None:
            raise OSError("still burning")

        def close(self, timeout: float | None = None) -> None:
            raise OSError("ashes")

    client = SessionBat(app="a", transport=Broken())
    for _ in range(3):
        assert client.session().interaction().llm(model="m")
    assert client.flush().dropped == 3
    client.close()
    assert client.stats().dropped == {"transport-error": 3}
    assert_adds_up(client)
    assert "burning" not in caplog.text


def test_stdout_prints_one_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    client = SessionBat(app="a", transport=StdoutTransport())
    client.session(session_id="s\u2028t").interaction().llm(model="m", input="line\nbreak")
    client.flush()
    assert capsys.readouterr().out.count("\n") == 1


def test_a_client_is_a_context_manager_that_closes(memory: MemoryTransport) -> None:
    with SessionBat(app="a", transport=memory) as client:
        client.session().interaction().llm()
    client.session().interaction().llm()
    assert client.stats().dropped == {"closed": 1}


def test_aflush_waits_without_holding_up_the_loop(client: SessionBat) -> None:
    client.session().interaction().llm()
    result = asyncio.run(client.aflush(timeout=5))
    assert (bool(result), result.delivered) == (True, 1)


def test_many_threads_lose_nothing(client: SessionBat, memory: MemoryTransport) -> None:
    interaction = client.session().interaction()

    def record() -> None:
        for _ in range(300):
            interaction.llm(model="m", input="x")

    threads = [threading.Thread(target=record) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({event["id"] for event in memory.events}) == 4800
    assert client.stats().delivered == 4800


class TestConfiguration:
    def test_no_key_for_a_distant_endpoint_says_what_to_do(self) -> None:
        with pytest.raises(ConfigurationError, match=r"SESSIONBAT_API_KEY.*\[no-api-key\]"):
            SessionBat(app="a")

    @pytest.mark.parametrize(
        "endpoint",
        [
            "ingest.example.com",
            "ftp://host/x",
            "http://",
            "http://h:port",
            "http://[::1",
            "http:///p",
        ],
    )
    def test_an_endpoint_that_is_no_url_is_named(self, endpoint: str) -> None:
        with pytest.raises(ConfigurationError, match=r"\[bad-endpoint\]") as raised:
            SessionBat(app="a", api_key="k", endpoint=endpoint)
        assert repr(endpoint) in str(raised.value)

    @pytest.mark.parametrize("key", ["sbat ingest", "sbat\ningest", "schlüssel"])
    def test_a_key_that_cannot_stand_in_a_header_is_refused_unseen(self, key: str) -> None:
        with pytest.raises(ConfigurationError, match=r"\[bad-api-key\]") as raised:
            SessionBat(app="a", api_key=key)
        assert key not in str(raised.value)

    def test_an_empty_key_is_none(self) -> None:
        with pytest.raises(ConfigurationError, match=r"\[no-api-key\]"):
            SessionBat(app="a", api_key="  ")

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1.2.3"])
    def test_loopback_needs_no_key(self, host: str) -> None:
        transport = IngestionTransport(endpoint=f"http://{host}:9")
        assert transport.endpoint == f"http://{host}:9/api/v1/ingestion/events"

    def test_the_default_endpoint_is_the_hosted_one(self) -> None:
        transport = IngestionTransport(api_key="k")
        assert transport.endpoint == "https://ingest.sessionbat.com/api/v1/ingestion/events"

    @pytest.mark.parametrize("path", ["", "/"])
    def test_an_endpoint_without_a_path_gets_the_ingestion_path(self, path: str) -> None:
        transport = IngestionTransport(endpoint=f"https://h.example{path}", api_key="k")
        assert transport.endpoint == "https://h.example/api/v1/ingestion/events"

    def test_settings_come_from_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, memory: MemoryTransport
    ) -> None:
        monkeypatch.setenv("SESSIONBAT_API_KEY", " key\n")
        monkeypatch.setenv("SESSIONBAT_ENDPOINT", "https://h.example/x")
        monkeypatch.setenv("SESSIONBAT_APP", "from-environment")
        assert IngestionTransport().endpoint == "https://h.example/x"
        SessionBat(transport=memory).session().interaction().llm()
        assert only(memory)["app"] == "from-environment"

    def test_a_key_stands_in_no_representation(self) -> None:
        transport = IngestionTransport(api_key="sbat_ingest_secret")
        for shown in (transport, transport._worker, transport._worker.destination):
            assert "secret" not in repr(shown)


def test_public_names() -> None:
    for name in ("SessionBat", "Session", "Interaction", "ConfigurationError", "__version__"):
        assert name in sessionbat.__all__
        assert hasattr(sessionbat, name)


def test_ids_are_uuid7_and_ascend(client: SessionBat) -> None:
    record: Callable[[], str] = client.session().interaction().llm
    ids = [record() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert {UUID(event_id).version for event_id in ids} == {7}
    assert {UUID(event_id).variant for event_id in ids} == {"specified in RFC 4122"}
