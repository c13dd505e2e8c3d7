"""A graph that waits for a person: the question, that it waits, and which turn goes on with it."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import pytest

pytest.importorskip("langgraph.graph")

from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from sessionbat._langchain.interrupts import MAX_INTERRUPTED, InterruptedTurns
from tests.integration.conftest import Recorded
from tests.integration.scripted import Scripted, calls

ASKED = {"question": "May I refund 250?"}


class State(TypedDict, total=False):
    messages: list[Any]
    words: Annotated[list[Any], operator.add]


@tool
def refund(amount: int) -> str:
    """Refund."""
    return "done: " + str(interrupt(ASKED))


def tools_graph(saver: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("tools", ToolNode([refund]))
    graph.add_edge(START, "tools")
    return graph.compile(checkpointer=saver)


def asking_node(_: State) -> dict[str, Any]:
    return {"words": [interrupt(ASKED), str(Scripted().invoke("hi").content)]}


def model_node(_: State) -> dict[str, Any]:
    return {"words": [str(Scripted().invoke("hi").content)]}


def two_nodes(saver: Any, second: Any = asking_node, **options: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("first", model_node)
    graph.add_node("second", second)
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    return graph.compile(checkpointer=saver, **options)


def in_thread(recorded: Recorded, thread: str = "th") -> dict[str, Any]:
    return recorded.config(configurable={"thread_id": thread})


def interrupts(recorded: Recorded) -> list[dict[str, Any]]:
    return [o for o in recorded.observations if o["metadata"].get("status") == "interrupted"]


REFUND = {"messages": [calls(("refund", {"amount": 250}))]}


def test_a_tool_that_asks_is_recorded_with_its_question(recorded: Recorded) -> None:
    tools_graph(InMemorySaver()).invoke(REFUND, in_thread(recorded))
    asked = recorded.only("tool")
    assert (asked["error"], asked["metadata"]["status"]) == (None, "interrupted")
    (question,) = asked["output"]["interrupts"]
    assert question["value"] == ASKED
    assert question["id"]


def test_a_node_that_asks_is_a_record_of_its_own(recorded: Recorded) -> None:
    two_nodes(InMemorySaver()).invoke({}, in_thread(recorded))
    (asked,) = interrupts(recorded)
    assert (asked["kind"], asked["name"], asked["error"]) == ("tool", "interrupt", None)
    assert asked["output"]["interrupts"][0]["value"] == ASKED
    assert asked["metadata"]["node"] == "second"
    assert len({event["interaction_id"] for event in recorded.events}) == 1


def test_several_questions_at_once_are_all_recorded(recorded: Recorded) -> None:
    graph = StateGraph(State)
    for name in ("a", "b", "c"):
        graph.add_node(name, lambda _, name=name: {"words": [interrupt(f"may {name}?")]})
        graph.add_edge(START, name)
    graph.compile(checkpointer=InMemorySaver()).invoke({}, in_thread(recorded))
    values = [o["output"]["interrupts"][0]["value"] for o in interrupts(recorded)]
    assert sorted(values) == ["may a?", "may b?", "may c?"]


@pytest.mark.parametrize("where", ["interrupt_before", "interrupt_after"])
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_graph_that_stops_at_a_node_says_so(where: str, way: str, recorded: Recorded) -> None:
    pytest.importorskip("langgraph.callbacks")
    options: dict[str, Any] = {where: ["second" if where == "interrupt_before" else "first"]}
    graph = two_nodes(InMemorySaver(), model_node, **options)
    getattr(graph, way)({}, in_thread(recorded))
    if way == "stream":
        list(graph.stream({}, in_thread(recorded, "other")))
    (asked,) = interrupts(recorded)
    assert asked["metadata"]["interrupt"] == where
    turn = recorded.events[-1]["interaction_id"]
    thread = "other" if way == "stream" else "th"
    graph.invoke(None, in_thread(recorded, thread))
    assert recorded.observations[-1]["metadata"]["resumes"] == turn


def test_a_graph_inside_a_graph_asks_once(recorded: Recorded) -> None:
    inner = two_nodes(None)
    outer = StateGraph(State)
    outer.add_node("inner", inner)
    outer.add_edge(START, "inner")
    outer.compile(checkpointer=InMemorySaver()).invoke({}, in_thread(recorded))
    (asked,) = interrupts(recorded)
    assert asked["output"]["interrupts"][0]["value"] == ASKED


@pytest.mark.parametrize("graph", [tools_graph, two_nodes])
@pytest.mark.parametrize("answer", ["yes", "by id"])
def test_another_clients_handler_names_the_turn_that_it_resumes(
    graph: Any, answer: str, recorded: Recorded
) -> None:
    saver, other = InMemorySaver(), Recorded()
    question = graph(saver).invoke(REFUND, in_thread(recorded))["__interrupt__"][0]
    resume: Any = {question.id: "yes"} if answer == "by id" else answer
    graph(saver).invoke(Command(resume=resume), in_thread(other))
    turn = recorded.events[0]["interaction_id"]
    assert {o["metadata"]["resumes"] for o in other.observations} == {turn}
    places = [o["metadata"]["checkpoint_ns"] for o in (*interrupts(recorded), *other.observations)]
    assert len(set(places)) == 1  # by which any reader finds the two, from whatever process


def test_another_thread_of_the_same_graph_resumes_nothing(recorded: Recorded) -> None:
    saver, other = InMemorySaver(), Recorded()
    tools_graph(saver).invoke(REFUND, in_thread(recorded))
    tools_graph(saver).invoke(REFUND, in_thread(other, "another"))
    tools_graph(saver).invoke(Command(resume="yes"), in_thread(other, "another"))
    own = other.events[0]["interaction_id"]
    assert other.observations[-1]["metadata"]["resumes"] == own


def test_interrupted_turns_are_bounded_and_taken_once() -> None:
    turns = InterruptedTurns()
    for number in range(MAX_INTERRUPTED + 5):
        turns.note(str(number), f"turn-{number}")
    assert len(turns) == MAX_INTERRUPTED
    assert turns.take("0") is None
    assert turns.take(str(MAX_INTERRUPTED)) == f"turn-{MAX_INTERRUPTED}"
    assert turns.take(str(MAX_INTERRUPTED)) is None


def test_an_answer_that_is_no_question_waits_for_nobody(recorded: Recorded) -> None:
    graph = StateGraph(State)
    graph.add_node("talk", lambda _: {"messages": [AIMessage("hi")]})
    graph.add_edge(START, "talk")
    graph.compile(checkpointer=InMemorySaver()).invoke({}, in_thread(recorded))
    assert recorded.events == []
