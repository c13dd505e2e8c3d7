"""As ``test_oracle_chains``, for agents and graphs."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, TypedDict

import pytest

pytest.importorskip("langgraph.graph")
pytest.importorskip("langchain.agents.middleware", reason="create_agent came with langchain 1.0")

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, ToolRetryMiddleware
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel

from tests.integration.conftest import Recorded
from tests.integration.oracle import recorded_as
from tests.integration.scripted import Hang, Scripted, calls, cancel, hang
from tests.integration.test_oracle_chains import Library, add, broken, slow_add

pytestmark = pytest.mark.slow  # every scenario twice, beside LangChain's own tracer

Scenario = Callable[[dict[str, Any]], Any]
SCENARIOS: dict[str, Scenario] = {}
QUESTION = {"messages": [{"role": "user", "content": "what is 1 + 2?"}]}


class State(TypedDict, total=False):
    words: Annotated[list[str], operator.add]


def scenario(run: Scenario) -> Scenario:
    SCENARIOS[run.__name__] = run
    return run


def agent(*script: Any, tools: Any = (add, broken, slow_add), **options: Any) -> Any:
    return create_agent(Scripted(script=list(script)), list(tools), **options)


def one_node(node: Any, **options: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_edge("node", END)
    return graph.compile(**options)


@scenario
def agent_with_parallel_tools(config: dict[str, Any]) -> None:
    both = calls(("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4}))
    agent(both, "3 and 7").invoke(QUESTION, config)


@scenario
def agent_with_a_failing_tool(config: dict[str, Any]) -> None:
    with suppress(RuntimeError):
        agent(calls(("broken", {"a": 1})), "no").invoke(QUESTION, config)


@scenario
def agent_that_calls_with_bad_arguments(config: dict[str, Any]) -> None:
    agent(calls(("add", {"a": "x"})), calls(("nowhere", {})), "sorry").invoke(QUESTION, config)


@scenario
async def agent_with_async_tools(config: dict[str, Any]) -> None:
    both = calls(("slow_add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4}))
    await agent(both, "3 and 7").ainvoke(QUESTION, config)


@scenario
def agent_streamed(config: dict[str, Any]) -> None:
    streaming = agent(calls(("add", {"a": 1, "b": 2})), "it is three")
    list(streaming.stream(QUESTION, config, stream_mode=["messages", "updates"]))


@scenario
async def agent_events(config: dict[str, Any]) -> None:
    streaming = agent(calls(("add", {"a": 1, "b": 2})), "it is three")
    async for _ in streaming.astream_events(QUESTION, config, version="v2"):
        pass


@scenario
def tool_tried_again(config: dict[str, Any]) -> None:
    again = ToolRetryMiddleware(max_retries=2, initial_delay=0, jitter=False)
    agent(calls(("broken", {"a": 1})), "no", middleware=[again]).invoke(QUESTION, config)


@scenario
def structured_output(config: dict[str, Any]) -> None:
    class Sum(BaseModel):
        total: int

    model = Scripted(script=[calls(("Sum", {"total": 3}))])
    assert create_agent(model, [], response_format=Sum).invoke(QUESTION, config)[
        "structured_response"
    ] == Sum(total=3)
    model.with_structured_output(Sum).invoke("1 + 2", config)


@scenario
def sub_agent_in_a_tool(config: dict[str, Any]) -> None:
    adder = agent(calls(("add", {"a": 1, "b": 2})), "three", name="adder")

    @tool
    def ask_adder(question: str) -> str:
        """Ask the adder."""
        answer = adder.invoke({"messages": [HumanMessage(question)]})
        return str(answer["messages"][-1].content)

    agent(calls(("ask_adder", {"question": "1+2"})), "3", tools=[ask_adder]).invoke(
        QUESTION, config
    )


@scenario
def sub_graphs(config: dict[str, Any]) -> None:
    inner = one_node(lambda _: {"words": [str(Scripted().invoke("hi").content)]})
    one_node(inner).invoke({"words": []}, config)


@scenario
def fan_out_by_send(config: dict[str, Any]) -> None:
    graph = StateGraph(State)
    graph.add_node("worker", lambda _: {"words": [str(Scripted().invoke("hi").content)]})
    graph.add_conditional_edges(START, lambda _: [Send("worker", {"words": []})] * 8)
    assert len(graph.compile().invoke({"words": []}, config)["words"]) == 8


@scenario
def several_turns_of_a_thread(config: dict[str, Any]) -> None:
    talking = agent("hello", checkpointer=InMemorySaver())
    for _ in range(4):
        talking.invoke(QUESTION, {**config, "configurable": {"thread_id": 7}})


@tool
def ask_person(question: str) -> str:
    """Ask."""
    return str(interrupt(question))


@scenario
def interrupt_and_resume(config: dict[str, Any]) -> None:
    asking = agent(
        calls(("ask_person", {"question": "sure?"})),
        "done",
        tools=[ask_person],
        checkpointer=InMemorySaver(),
    )
    threaded = {**config, "configurable": {"thread_id": "t"}}
    asking.invoke(QUESTION, threaded)
    asking.invoke(Command(resume="yes"), threaded)


@scenario
def person_in_the_loop(config: dict[str, Any]) -> None:
    approve = HumanInTheLoopMiddleware(interrupt_on={"add": True})
    careful = agent(
        calls(("add", {"a": 1, "b": 2})), "3", middleware=[approve], checkpointer=InMemorySaver()
    )
    threaded = {**config, "configurable": {"thread_id": "t"}}
    careful.invoke(QUESTION, threaded)
    careful.invoke(Command(resume={"decisions": [{"type": "approve"}]}), threaded)


@scenario
def retriever_in_a_node(config: dict[str, Any]) -> None:
    one_node(lambda _: {"words": [Library().invoke("x")[0].page_content]}).invoke({}, config)


@scenario
def tool_that_returns_a_command(config: dict[str, Any]) -> None:
    @tool
    def remember(word: str) -> Command:
        """Remember."""
        return Command(update={"messages": [HumanMessage(word)]})

    with suppress(Exception):
        agent(calls(("remember", {"word": "x"})), "ok", tools=[remember]).invoke(QUESTION, config)


@scenario
async def cancelled_agent_in_its_model(config: dict[str, Any]) -> None:
    await cancel(agent(Hang()).ainvoke(QUESTION, config))


@scenario
async def cancelled_agent_in_its_tools(config: dict[str, Any]) -> None:
    @tool
    async def waits(a: int) -> int:
        """Wait."""
        await hang()
        return a

    both = calls(("waits", {"a": 1}), ("waits", {"a": 2}))
    await cancel(agent(both, tools=[waits]).ainvoke(QUESTION, config), after=2)


@scenario
async def half_read_agent(config: dict[str, Any]) -> None:
    reading = agent(["one ", "two ", "three "]).astream(QUESTION, config, stream_mode="messages")
    await anext(reading)
    await reading.aclose()


@scenario
def half_read_agent_in_a_thread(config: dict[str, Any]) -> None:
    reading = agent(calls(("add", {"a": 1, "b": 2})), "3").stream(QUESTION, config)
    next(reading)
    reading.close()


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
