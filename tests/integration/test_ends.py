"""How a run ends: cancelled, interrupted, half read, failed, never; each exactly once."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.outputs import GenerationChunk
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import ToolException, tool

from sessionbat.integrations import _book
from tests.conftest import eventually
from tests.integration.conftest import Recorded
from tests.integration.scripted import Hang, Scripted, cancel
from tests.integration.test_oracle_chains import ASKED, add, broken, chain


def test_a_cancelled_model_is_recorded_and_is_no_error(recorded: Recorded) -> None:
    asyncio.run(cancel(chain(Hang()).ainvoke(ASKED, recorded.config())))
    observation = recorded.only()
    assert observation["error"] is None
    assert observation["metadata"]["status"] == "cancelled"
    assert observation["input"]["messages"][1] == {"role": "user", "content": "hi"}
    assert observation["metrics"]["latency_ms"] >= 10


def test_a_cancelled_bare_model_is_recorded(recorded: Recorded) -> None:
    asyncio.run(cancel(Scripted(script=[Hang()]).ainvoke("hi", recorded.config())))
    assert recorded.only()["metadata"]["status"] == "cancelled"


def test_a_cancelled_stream_keeps_what_came(recorded: Recorded) -> None:
    async def read() -> None:
        async for _ in Scripted(script=[["one ", "two ", Hang()]]).astream("hi", recorded.config()):
            pass

    asyncio.run(cancel(read()))
    observation = recorded.only()
    assert (observation["error"], observation["metadata"]["status"]) == (None, "cancelled")
    assert observation["output"]["text"] == "one two "


def test_a_timeout_inside_a_chain_that_goes_on_ends_the_model_at_once(recorded: Recorded) -> None:
    open_after_timeout: list[int] = []

    async def impatient(_: Any) -> str:
        with suppress(TimeoutError):
            await asyncio.wait_for(Scripted(script=[Hang()]).ainvoke("hi"), 0.1)
        await asyncio.sleep(0)
        open_after_timeout.append(recorded.runs_held)
        return "went on"

    asyncio.run(RunnableLambda(impatient).ainvoke("x", recorded.config()))
    assert recorded.only()["metadata"]["status"] == "cancelled"
    assert open_after_timeout == [2]  # the chain, and the run that ended inside it


def test_runs_left_open_by_a_chains_own_task_end_with_the_chain(
    recorded: Recorded,
) -> None:
    chain_id, model_id = UUID(int=1), UUID(int=2)

    async def main() -> int:  # as a chain does that awaits its model with a time limit
        recorded.handler.on_chain_start(None, {}, run_id=chain_id)
        recorded.handler.on_llm_start({}, ["hi"], run_id=model_id, parent_run_id=chain_id)
        recorded.handler.on_chain_end({}, run_id=chain_id)
        return recorded.runs_held

    assert asyncio.run(main()) == 0
    assert recorded.only()["metadata"]["status"] == "cancelled"


def test_a_timeout_that_cuts_a_stream_short_ends_the_model_with_the_chain(
    recorded: Recorded,
) -> None:
    async def impatient(_: Any) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await Scripted(script=[["one ", Hang()]]).ainvoke("hi")
        return "went on"

    async def main() -> int:
        listening = RunnableLambda(impatient).astream_events("x", recorded.config(), version="v2")
        async for _ in listening:
            pass
        return recorded.runs_held

    assert asyncio.run(main()) == 0
    observation = recorded.only()
    assert observation["metadata"]["status"] == "cancelled"
    assert observation["output"] == {"text": "one "}


def test_a_model_cut_short_while_others_read_its_stream_keeps_what_came(
    recorded: Recorded,
) -> None:
    # A graph's model is invoked, and streams to whoever listens; LangChain then forgets the pieces.
    async def listen(model: Scripted) -> None:
        async for _ in (RunnableLambda(lambda x: x) | model.ainvoke).astream_events(
            "hi", recorded.config(), version="v2"
        ):
            pass

    asyncio.run(cancel(listen(Scripted(script=[["one ", "two ", Hang()]]))))
    observation = recorded.only()
    assert observation["metadata"]["status"] == "cancelled"
    assert observation["output"] == {"text": "one two "}


def test_a_piece_reported_twice_is_kept_once(recorded: Recorded) -> None:
    run_id = UUID(int=1)
    recorded.handler.on_llm_start({}, ["hi"], run_id=run_id)
    for text in ("one ", "two "):
        chunk = GenerationChunk(text=text)
        recorded.handler.on_llm_new_token(text, chunk=chunk, run_id=run_id)
        recorded.handler.on_llm_new_token(text, chunk=chunk, run_id=run_id)
    recorded.handler.on_llm_error(asyncio.CancelledError(), run_id=run_id)
    assert recorded.only()["output"] == {"text": "one two "}


def test_a_task_that_serves_for_ever_gathers_no_callbacks(recorded: Recorded) -> None:
    async def serve() -> int:
        for _ in range(50):
            await Scripted().ainvoke("hi", recorded.config())
        return len(recorded.handler._book._watched)

    assert asyncio.run(serve()) == 0
    assert len(recorded.events) == 50


def test_a_stream_whose_pieces_are_fetched_by_several_tasks_is_one_record(
    recorded: Recorded,
) -> None:
    async def read() -> None:
        reading = Scripted(script=["one two three"]).astream("hi", recorded.config())
        with suppress(StopAsyncIteration):
            while True:
                await asyncio.wait_for(anext(reading), 5)

    asyncio.run(read())
    observation = recorded.only()
    assert "status" not in observation["metadata"]
    assert observation["output"]["text"].strip() == "one two three"


def test_a_half_read_stream_is_cancelled_with_what_was_read(recorded: Recorded) -> None:
    reading = Scripted(script=["one two three"]).stream("hi", recorded.config())
    for _ in range(2):
        next(reading)
    reading.close()
    observation = recorded.only()
    assert (observation["error"], observation["metadata"]["status"]) == (None, "cancelled")
    assert observation["output"]["text"].startswith("one")


def test_an_error_in_the_middle_of_a_stream_keeps_what_came(recorded: Recorded) -> None:
    with suppress(ConnectionError):
        list(
            Scripted(script=[["one ", ConnectionError("cut off")]]).stream("hi", recorded.config())
        )
    observation = recorded.only()
    assert observation["error"] == {"type": "ConnectionError", "message": "cut off"}
    assert observation["output"]["text"] == "one "


def test_ctrl_c_is_an_error_and_goes_on(recorded: Recorded) -> None:
    with pytest.raises(KeyboardInterrupt):
        chain(KeyboardInterrupt()).invoke(ASKED, recorded.config())
    assert recorded.only()["error"]["type"] == "KeyboardInterrupt"


def test_the_same_handler_twice_in_one_list_is_one_record(recorded: Recorded) -> None:
    Scripted().invoke("hi", {"callbacks": [recorded.handler, recorded.handler]})
    assert recorded.only()["input"]["messages"]


def test_two_handlers_of_one_client_make_one_record(recorded: Recorded) -> None:
    model = Scripted(callbacks=[recorded.client.langchain_callback()])
    model.invoke("hi", recorded.config())
    assert len(recorded.events) == 1


def test_each_attempt_of_a_retry_is_a_record_with_its_number(recorded: Recorded) -> None:
    model = Scripted(script=[ValueError("busy"), "at last"])
    model.with_retry(wait_exponential_jitter=False).invoke("hi", recorded.config())
    first, second = recorded.observations
    assert first["error"]["message"] == "busy"
    assert second["error"] is None
    assert second["metadata"]["attempt"] == 2


def test_an_error_a_tool_reports_by_its_status_is_an_error(recorded: Recorded) -> None:
    @tool
    def refuses(a: int) -> int:
        """Refuse."""
        raise ToolException("not today")

    refuses.handle_tool_error = True
    call = {"name": "refuses", "args": {"a": 1}, "id": "call_9", "type": "tool_call"}
    refuses.invoke(call, recorded.config())
    observation = recorded.only()
    assert observation["error"] == {"type": "ToolError", "message": "not today"}
    assert observation["metadata"]["tool_call_id"] == "call_9"


def test_a_tool_that_raises_is_recorded_with_its_arguments(recorded: Recorded) -> None:
    with suppress(RuntimeError):
        broken.invoke({"a": 1}, recorded.config())
    observation = recorded.only()
    assert (observation["name"], observation["input"]) == ("broken", {"a": 1})
    assert observation["error"] == {"type": "RuntimeError", "message": "broken"}


def test_a_cache_hit_counts_no_tokens(recorded: Recorded) -> None:
    model = Scripted(cache=InMemoryCache())
    model.invoke("hi", recorded.config())
    model.invoke("hi", recorded.config())
    asked, repeated = recorded.observations
    assert asked["metrics"]["input_tokens"] == 100
    assert "input_tokens" not in repeated["metrics"]
    assert repeated["metadata"]["cached"] is True
    assert repeated["output"]["text"] == asked["output"]["text"]


def test_closing_the_client_records_what_is_open_as_unfinished(recorded: Recorded) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @tool
    def waits(a: int) -> int:
        """Wait."""
        begun.set()
        go_on.wait(10)
        return a

    thread = threading.Thread(target=lambda: waits.invoke({"a": 1}, recorded.config()))
    thread.start()
    assert begun.wait(10)
    recorded.client.close()
    go_on.set()
    thread.join()
    observation = recorded.only()
    assert observation["metadata"]["status"] == "unfinished"
    assert observation["input"] == {"a": 1}


def test_flushing_the_client_ends_nothing(recorded: Recorded) -> None:
    reading = Scripted(script=["one two"]).stream("hi", recorded.config())
    next(reading)
    recorded.client.flush()
    assert recorded.events == []
    list(reading)
    assert "status" not in recorded.only()["metadata"]


def test_beyond_the_limit_the_oldest_open_runs_are_recorded_unfinished(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_book, "MAX_OPEN", 3)
    open_streams = []
    for number in range(5):
        reading = Scripted(script=["one two"]).stream(str(number), recorded.config())
        next(reading)
        open_streams.append(reading)
    assert recorded.runs_held == 3
    asked = [o["input"]["messages"][0]["content"] for o in recorded.observations]
    assert asked == ["0", "1"]
    assert {o["metadata"]["status"] for o in recorded.observations} == {"unfinished"}
    for reading in open_streams:
        list(reading)
    assert len(recorded.events) == 5


def test_held_input_is_bounded(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_book, "MAX_HELD_BYTES", 3000)
    open_streams = []
    for _ in range(5):
        reading = Scripted(script=["one two"]).stream("x" * 1000, recorded.config())
        next(reading)
        open_streams.append(reading)
    assert recorded.runs_held == 2
    for reading in open_streams:
        list(reading)
    assert len(recorded.events) == 5


def test_a_message_changed_after_the_call_is_recorded_as_it_was(recorded: Recorded) -> None:
    from langchain_core.messages import HumanMessage

    message = HumanMessage("before")
    reading = Scripted(script=["one two"]).stream([message], recorded.config())
    next(reading)
    message.content = "after"
    list(reading)
    assert recorded.only()["input"]["messages"][0]["content"] == "before"


def test_a_call_left_running_when_its_chain_ends_stays_in_its_interaction(
    recorded: Recorded,
) -> None:
    async def main() -> None:
        left: list[asyncio.Task[Any]] = []

        async def leave_running(_: Any) -> str:
            left.append(asyncio.ensure_future(Scripted(pause_s=0.05).ainvoke("later")))
            await asyncio.sleep(0.01)  # the one left running has begun by then
            return str((await Scripted().ainvoke("now")).content)

        await RunnableLambda(leave_running).ainvoke("x", recorded.config())
        await left[0]

    asyncio.run(main())
    eventually(lambda: len(recorded.events) == 2)
    first, second = recorded.events
    assert first["interaction_id"] == second["interaction_id"]
    assert "status" not in second["observation"]["metadata"]


def test_async_tools_and_models_run_on_the_callers_thread(recorded: Recorded) -> None:
    threads: set[int] = set()
    begin = recorded.handler._book.begin_run

    def note_thread(*args: Any, **kwargs: Any) -> Any:
        threads.add(threading.get_ident())
        return begin(*args, **kwargs)

    recorded.handler._book.begin_run = note_thread  # type: ignore[method-assign]
    asyncio.run(chain().ainvoke(ASKED, recorded.config()))
    asyncio.run(RunnableLambda(lambda _: "x").ainvoke("x", recorded.config()))
    assert threads == {threading.get_ident()}
    del recorded.handler._book.begin_run
    add.invoke({"a": 1, "b": 1}, recorded.config())
