"""LangChain's own tracer hears the same run: both see the same operations, errors and tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool

from tests.integration.conftest import Recorded
from tests.integration.oracle import recorded_as
from tests.integration.scripted import Hang, Scripted, cancel, hang

pytestmark = pytest.mark.slow  # every scenario twice, beside LangChain's own tracer

Scenario = Callable[[dict[str, Any]], Any]
SCENARIOS: dict[str, Scenario] = {}
PROMPT = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{input}")])
ASKED = {"input": "hi"}


def scenario(run: Scenario) -> Scenario:
    SCENARIOS[run.__name__] = run
    return run


def chain(*script: Any) -> Any:
    return PROMPT | Scripted(script=list(script) or ["Hello, world!"]) | StrOutputParser()


@scenario
def invoke(config: dict[str, Any]) -> None:
    chain().invoke(ASKED, config)


@scenario
def stream(config: dict[str, Any]) -> None:
    assert "".join(chain().stream(ASKED, config)).strip() == "Hello, world!"


@scenario
def batch(config: dict[str, Any]) -> None:
    chain().batch([ASKED] * 5, config)


@scenario
def batch_of_a_bare_model(config: dict[str, Any]) -> None:
    Scripted().batch(["one", "two", "three"], config)


@scenario
def several_prompts_at_once(config: dict[str, Any]) -> None:
    Scripted().generate([[HumanMessage("a")], [HumanMessage("b")]], callbacks=config["callbacks"])


@scenario
async def ainvoke(config: dict[str, Any]) -> None:
    await chain().ainvoke(ASKED, config)


@scenario
async def astream(config: dict[str, Any]) -> None:
    async for _ in chain().astream(ASKED, config):
        pass


@scenario
async def abatch(config: dict[str, Any]) -> None:
    await chain().abatch([ASKED] * 5, config)


@scenario
async def astream_events_v2(config: dict[str, Any]) -> None:
    async for _ in chain().astream_events(ASKED, config, version="v2"):
        pass


@scenario
async def astream_events_v3(config: dict[str, Any]) -> None:
    if not hasattr(BaseCallbackHandler, "on_stream_event"):
        pytest.skip("this langchain-core has no version 3")
    streaming = Scripted().astream_events("hi", config, version="v3")
    async for _ in await streaming if asyncio.iscoroutine(streaming) else streaming:
        pass


@scenario
async def astream_log(config: dict[str, Any]) -> None:
    async for _ in chain().astream_log(ASKED, config):
        pass


@scenario
def parallel(config: dict[str, Any]) -> None:
    RunnableParallel(a=chain(), b=chain(), c=chain()).invoke(ASKED, config)


@scenario
async def parallel_async(config: dict[str, Any]) -> None:
    await RunnableParallel(a=chain(), b=chain(), c=chain()).ainvoke(ASKED, config)


@scenario
def text_model(config: dict[str, Any]) -> None:
    FakeListLLM(responses=["a", "b"]).batch(["x", "y"], config)


@scenario
def retry(config: dict[str, Any]) -> None:
    model = Scripted(script=[ValueError("busy"), ValueError("busy"), "at last"])
    (PROMPT | model.with_retry(wait_exponential_jitter=False)).invoke(ASKED, config)


@scenario
def retry_that_gives_up(config: dict[str, Any]) -> None:
    model = Scripted(script=[ValueError("busy")])
    with suppress(ValueError):
        (PROMPT | model.with_retry(wait_exponential_jitter=False)).invoke(ASKED, config)


@scenario
def fallbacks(config: dict[str, Any]) -> None:
    model = Scripted(script=[ValueError("down")]).with_fallbacks([Scripted()])
    (PROMPT | model).invoke(ASKED, config)


@scenario
def fallbacks_at_the_top(config: dict[str, Any]) -> None:
    Scripted(script=[ValueError("down")]).with_fallbacks([Scripted()]).invoke("hi", config)


@scenario
async def fallbacks_at_the_top_async(config: dict[str, Any]) -> None:
    model = Scripted(script=[ValueError("down")]).with_fallbacks([Scripted()])
    await model.ainvoke("hi", config)


class Library(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document(query, metadata={"score": 0.9})]


class Librarian(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return Library().invoke(query, {"callbacks": run_manager.get_child()})


class ClosedLibrary(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        raise ConnectionError("index away")


@scenario
def nested_retrievers(config: dict[str, Any]) -> None:
    Librarian().invoke("locked out", config)


@scenario
async def nested_retrievers_async(config: dict[str, Any]) -> None:
    await (RunnableLambda(lambda x: x["input"]) | Librarian()).ainvoke(ASKED, config)


@scenario
def failing_retriever(config: dict[str, Any]) -> None:
    with suppress(ConnectionError):
        ClosedLibrary().invoke("locked out", config)


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@tool
async def slow_add(a: int, b: int) -> int:
    """Add slowly."""
    await asyncio.sleep(0.001)  # its work
    return a + b


@tool
def broken(a: int) -> int:
    """Fail."""
    raise RuntimeError("broken")


@scenario
def tools_alone(config: dict[str, Any]) -> None:
    add.invoke({"a": 1, "b": 2}, config)
    with suppress(RuntimeError):
        broken.invoke({"a": 1}, config)
    with suppress(Exception):
        add.invoke({"a": "no number"}, config)


@scenario
def soft_tool_error(config: dict[str, Any]) -> None:
    @tool
    def refuses(a: int) -> int:
        """Refuse."""
        from langchain_core.tools import ToolException

        raise ToolException("not today")

    refuses.handle_tool_error = True
    call = {"name": "refuses", "args": {"a": 1}, "id": "call_1", "type": "tool_call"}
    refuses.invoke(call, config)


@scenario
async def tools_alone_async(config: dict[str, Any]) -> None:
    await slow_add.ainvoke({"a": 1, "b": 2}, config)
    await add.ainvoke({"a": 1, "b": 2}, config)


@scenario
def failing_chain(config: dict[str, Any]) -> None:
    with suppress(ZeroDivisionError):
        (chain() | RunnableLambda(lambda _: 1 / 0)).invoke(ASKED, config)


@scenario
def error_in_the_middle_of_a_stream(config: dict[str, Any]) -> None:
    with suppress(ConnectionError):
        list(chain(["one ", "two ", ConnectionError("cut off")]).stream(ASKED, config))


@scenario
def keyboard_interrupt(config: dict[str, Any]) -> None:
    with suppress(KeyboardInterrupt):
        chain(KeyboardInterrupt()).invoke(ASKED, config)


@scenario
def half_read_stream(config: dict[str, Any]) -> None:
    reading = chain("one two three four").stream(ASKED, config)
    next(reading)
    reading.close()


@scenario
async def half_read_stream_async(config: dict[str, Any]) -> None:
    reading = chain("one two three four").astream(ASKED, config)
    await anext(reading)
    await reading.aclose()


@scenario
def half_read_stream_of_a_bare_model(config: dict[str, Any]) -> None:
    reading = Scripted(script=["one two three four"]).stream("hi", config)
    next(reading)
    reading.close()


@scenario
async def half_read_events(config: dict[str, Any]) -> None:
    reading = chain("one two three four").astream_events(ASKED, config, version="v2")
    async for event in reading:
        if event["event"] == "on_chat_model_stream":
            break
    await reading.aclose()


@scenario
async def cancelled_chain(config: dict[str, Any]) -> None:
    await cancel(chain(Hang()).ainvoke(ASKED, config))


@scenario
async def cancelled_bare_model(config: dict[str, Any]) -> None:
    await cancel(Scripted(script=[Hang()]).ainvoke("hi", config))


@scenario
async def cancelled_stream(config: dict[str, Any]) -> None:
    async def read() -> None:
        async for _ in chain(["one ", Hang()]).astream(ASKED, config):
            pass

    await cancel(read())


@scenario
async def cancelled_tool(config: dict[str, Any]) -> None:
    @tool
    async def waits(a: int) -> int:
        """Wait."""
        await hang()
        return a

    await cancel((RunnableLambda(lambda x: x) | waits).ainvoke({"a": 1}, config))


@scenario
async def cancelled_parallel(config: dict[str, Any]) -> None:
    both = RunnableParallel(a=chain(Hang()), b=chain(Hang()), c=chain())
    await cancel(both.ainvoke(ASKED, config), after=2)


@scenario
async def timed_out_inside_a_chain_that_goes_on(config: dict[str, Any]) -> None:
    async def impatient(asked: Any) -> str:
        with suppress(TimeoutError):
            await asyncio.wait_for(chain(Hang()).ainvoke(asked), 0.01)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await Scripted(script=[Hang()]).ainvoke("hi")
        return await chain().ainvoke(asked)

    await RunnableLambda(impatient).ainvoke(ASKED, config)


@scenario
def cache_hits(config: dict[str, Any]) -> None:
    model = Scripted(cache=InMemoryCache())
    for _ in range(3):
        model.invoke("hi", config)
    text = FakeListLLM(responses=["a"], cache=InMemoryCache())
    text.invoke("hi", config)
    text.invoke("hi", config)


@scenario
def multimodal(config: dict[str, Any]) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "QUJD" * 50}}
    Scripted().invoke([HumanMessage([{"type": "text", "text": "what?"}, picture])], config)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_handler_and_langchains_own_tracer_agree(name: str, recorded: Recorded) -> None:
    run = SCENARIOS[name]
    config = {"callbacks": [recorded.oracle, recorded.handler]}
    if asyncio.iscoroutinefunction(run):
        asyncio.run(run(config))
    else:
        run(config)
    expected = recorded.oracle.expectation()
    assert expected
    assert recorded_as(recorded.events) == expected
