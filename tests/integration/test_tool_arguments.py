"""A tool's record holds what the model gave it and what it returned, not the engine's state."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("langgraph.graph")

from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.types import Command, Send
from pydantic import BaseModel

from sessionbat._langchain.tools import described, tool_arguments
from tests.integration.conftest import Recorded

HISTORY = [HumanMessage("SECRET-HISTORY")]


@dataclass
class State:
    messages: list[Any]


class Arguments(BaseModel):
    x: int


class TakesAnything(BaseTool):
    """As LangGraph calls a tool whose schema does not name what is injected."""

    name: str = "takes_anything"
    description: str = "d"

    def _run(self, **given: Any) -> str:
        return "ok"


def config(**more: Any) -> dict[str, Any]:
    return {"configurable": {"dsn": "postgres://u:pw@h/d"}, "callbacks": None, **more}


ENGINE: dict[str, Any] = {
    "state": {"messages": HISTORY, "n": 1},
    "state as an object": State(HISTORY),
    "messages": HISTORY,
    "a message": HISTORY[0],
    "config": config(tags=["a"], recursion_limit=5),
}


@pytest.mark.parametrize("name", ENGINE)
def test_the_engines_state_is_no_argument(name: str) -> None:
    kept = tool_arguments({"x": 1, "word": "w", "given": ENGINE[name]}, True)
    assert kept == {"x": 1, "word": "w"}


def test_runtime_and_store_are_no_arguments(recorded: Recorded) -> None:
    from langgraph.store.memory import InMemoryStore

    given = {"x": 1, "store": InMemoryStore(), "handler": recorded.handler}
    try:
        from langgraph.prebuilt import ToolRuntime

        given["runtime"] = ToolRuntime(
            state={"messages": HISTORY}, context=None, config={}, stream_writer=print,
            tool_call_id="c", store=None,
        )  # fmt: skip
    except (ImportError, TypeError):  # older, or made otherwise
        pass
    assert tool_arguments(given, False) == {"x": 1}


@pytest.mark.parametrize(
    "given",
    [
        {"config": {"mode": "fast"}},
        {"configurable": True},
        {"state": {"city": "Ulm"}},
        {"messages": [{"role": "user", "content": "hi"}]},
        {"metadata": {"callbacks": 3, "and": "more"}},
        {"tags": ["a"], "store": "corner shop", "runtime": "90 min"},
    ],
)
def test_a_models_arguments_of_the_same_names_are_kept(given: Any) -> None:
    assert tool_arguments(given, True) == given


def test_messages_that_a_host_gives_a_tool_itself_are_kept(recorded: Recorded) -> None:
    TakesAnything().invoke({"x": 1, "history": HISTORY}, recorded.config())
    assert "SECRET-HISTORY" in json.dumps(recorded.only()["input"])


def test_a_tool_called_for_a_model_keeps_only_its_arguments(recorded: Recorded) -> None:
    class Named(TakesAnything):
        args_schema: Any = Arguments

        def _run(self, x: int, **given: Any) -> str:
            return "ok"

    call = {"name": "takes_anything", "args": {"x": 1}, "id": "c", "type": "tool_call"}
    Named().invoke(call, recorded.config())
    assert recorded.only()["input"] == {"x": 1}


SENT = {"node": "worker", "arg": {"job": "resize-7"}}
RETURNED: dict[str, tuple[Any, Any]] = {
    "send": (Send("worker", {"job": "resize-7"}), SENT),
    "sends": ([Send("worker", {"job": "resize-7"})], [SENT]),
    "a send with messages": (
        Send("worker", {"messages": [HumanMessage("x")]}),
        {"node": "worker", "arg": {"messages": [{"role": "user", "content": "x"}]}},
    ),
    "remove": (RemoveMessage(id="m-7"), {"role": "remove", "content": "", "id": "m-7"}),
    "command": (
        Command(goto=[Send("worker", {"job": "resize-7"})], graph=Command.PARENT),
        {"goto": [SENT], "graph": "__parent__"},
    ),
    "command within": (
        {"next": [Command(update={"messages": [RemoveMessage(id="m-7")]}, goto="a")]},
        {"next": [{"update": {"messages": [{"role": "remove", "content": "", "id": "m-7"}]},
                   "goto": "a"}]},
    ),
    "pairs": (
        Command(update=[("messages", [RemoveMessage(id="m-7")])]),
        {"update": [["messages", [{"role": "remove", "content": "", "id": "m-7"}]]]},
    ),
    "resume": (Command(resume={"i": "yes"}), {"resume": {"i": "yes"}}),
    "artifact": (
        Command(update={"messages": [ToolMessage("x", tool_call_id="c", artifact={"rows": 3})]}),
        {"update": {"messages": [{"role": "tool", "content": "x", "tool_call_id": "c",
                                  "artifact": {"rows": 3}}]}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RETURNED)
def test_commands_parcels_and_removals_keep_their_fields(name: str) -> None:
    value, right = RETURNED[name]
    assert described(value) == right


def test_a_tool_that_fans_out_says_where_the_work_went(recorded: Recorded) -> None:
    @tool
    def fan_out(x: int) -> Command:
        """Fan out."""
        return Command(goto=[Send("worker", {"job": "resize-7"})])

    call = {"name": "fan_out", "args": {"x": 1}, "id": "c", "type": "tool_call"}
    fan_out.invoke(call, recorded.config())
    assert recorded.only()["output"] == {"goto": [SENT]}


def test_an_endless_structure_around_a_message_ends() -> None:
    around: Any = {"m": AIMessage("x")}
    around["again"] = around
    assert described(around)["m"] == {"role": "assistant", "content": "x"}
