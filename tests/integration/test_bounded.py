"""Many runs, threads and tasks with one handler: nothing stays, nothing is mixed up."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from sessionbat import SessionBat
from sessionbat.event import EncodedEvent
from tests.integration.conftest import Recorded
from tests.integration.test_oracle_chains import ASKED, chain

CALLERS = 64
TURNS = 5


def assert_nothing_is_mixed(recorded: Recorded) -> None:
    for event in recorded.events:
        (_, question) = event["observation"]["input"]["messages"]
        assert question["content"] == f"I am {event['session_id']}"
        assert event["context"] == {"user_id": event["session_id"]}
    assert len(recorded.events) == CALLERS * TURNS
    assert len({event["interaction_id"] for event in recorded.events}) == CALLERS * TURNS


def config_of(recorded: Recorded, caller: str) -> dict[str, Any]:
    return recorded.config(configurable={"thread_id": caller}, metadata={"user_id": caller})


@pytest.mark.slow
def test_64_threads_with_one_handler_mix_nothing(recorded: Recorded) -> None:
    asking = chain()

    def talk(caller: str) -> None:
        for _ in range(TURNS):
            asking.invoke({"input": f"I am {caller}"}, config_of(recorded, caller))

    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(talk, [f"s-{n}" for n in range(CALLERS)]))
    assert_nothing_is_mixed(recorded)


@pytest.mark.slow
def test_64_tasks_with_one_handler_mix_nothing(recorded: Recorded) -> None:
    asking = chain()

    async def talk(caller: str) -> None:
        for _ in range(TURNS):
            await asking.ainvoke({"input": f"I am {caller}"}, config_of(recorded, caller))

    async def main() -> None:
        await asyncio.gather(*(talk(f"s-{n}") for n in range(CALLERS)))

    asyncio.run(main())
    assert_nothing_is_mixed(recorded)


class CountingTransport:
    """Keeps nothing, so that what grows is the handler's."""

    def __init__(self) -> None:
        self.count = 0

    def send(self, event: EncodedEvent) -> None:
        self.count += 1

    def flush(self, timeout: float | None = 30.0) -> None: ...

    def close(self, timeout: float | None = 30.0) -> None: ...


def resident_kb() -> int:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def invoke_many(number: int, warm_up: int) -> tuple[int, int, int]:
    """Invoke a chain; say how many events came, what the handler holds, how many kB grew."""
    transport = CountingTransport()
    handler = SessionBat(app="test-app", transport=transport).langchain_callback()
    model = FakeListChatModel(responses=["Hello, world!"])
    asking: Any = ChatPromptTemplate.from_messages([("human", "{input}")]) | model
    asking = asking | StrOutputParser()
    config = {"callbacks": [handler]}
    for _ in range(warm_up):
        asking.invoke(ASKED, config)
    before = resident_kb()
    for _ in range(number):
        asking.invoke(ASKED, config)
    return transport.count - warm_up, len(handler._book), resident_kb() - before


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_invocations_leave_nothing_behind() -> None:
    recorded, held, grown_kb = invoke_many(1_000, warm_up=500)
    assert (recorded, held) == (1_000, 0)
    assert grown_kb < 2048


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_100_000_invocations_leave_nothing_behind() -> None:
    recorded, held, grown_kb = invoke_many(100_000, warm_up=5_000)
    assert (recorded, held) == (100_000, 0)
    assert grown_kb < 2048
