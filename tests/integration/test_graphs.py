"""What an agent's observations say of graph, node, agent, and of waiting for a person."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langgraph.graph")
pytest.importorskip("langchain.agents.middleware", reason="create_agent came with langchain 1.0")

from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from tests.integration.conftest import Recorded
from tests.integration.scripted import Scripted, calls
from tests.integration.test_oracle_graphs import QUESTION, agent, ask_person, one_node


def in_thread(recorded: Recorded, thread: Any = "t-1") -> dict[str, Any]:
    return recorded.config(configurable={"thread_id": thread})


def asking_agent() -> Any:
    asks = calls(("ask_person", {"question": "sure?"}))
    return agent(asks, "done", tools=[ask_person], checkpointer=InMemorySaver())


def test_the_turns_of_a_thread_are_interactions_of_one_session(recorded: Recorded) -> None:
    talking = agent("hello", checkpointer=InMemorySaver())
    for _ in range(3):
        talking.invoke(QUESTION, in_thread(recorded, 7))
    assert {event["session_id"] for event in recorded.events} == {"7"}
    assert len({event["interaction_id"] for event in recorded.events}) == 3


def test_an_agents_observations_say_where_they_happened(recorded: Recorded) -> None:
    agent(calls(("add", {"a": 1, "b": 2})), "3", name="adder").invoke(QUESTION, recorded.config())
    asked, added, answered = recorded.observations
    assert [o["metadata"]["node"] for o in (asked, added, answered)] == ["model", "tools", "model"]
    assert [o["metadata"]["step"] for o in (asked, added, answered)] == [1, 2, 3]
    assert {o["metadata"]["agent"] for o in (asked, added, answered)} == {"adder"}
    assert {o["metadata"]["framework"] for o in (asked, added, answered)} == {"langgraph"}


def test_a_tool_call_can_be_followed_from_model_to_tool(recorded: Recorded) -> None:
    agent(calls(("add", {"a": 1, "b": 2})), "3").invoke(QUESTION, recorded.config())
    asked, added, answered = recorded.observations
    (call,) = asked["output"]["tool_calls"]
    assert call == {"id": "call_1", "name": "add", "args": {"a": 1, "b": 2}}
    assert added["metadata"]["tool_call_id"] == "call_1"
    assert answered["input"]["messages"][-1] == {
        "role": "tool",
        "content": "3",
        "name": "add",
        "tool_call_id": "call_1",
    }


def test_a_sub_agents_observations_name_the_tool_around_it(recorded: Recorded) -> None:
    adder = agent(calls(("add", {"a": 1, "b": 2})), "three", name="adder")

    @tool
    def ask_adder(question: str) -> str:
        """Ask the adder."""
        answer = adder.invoke({"messages": [HumanMessage(question)]})
        return str(answer["messages"][-1].content)

    outer = agent(calls(("ask_adder", {"question": "1+2"})), "3", tools=[ask_adder], name="chief")
    outer.invoke(QUESTION, recorded.config())
    (around,) = [e for e in recorded.events if e["observation"]["name"] == "ask_adder"]
    inside = [
        e["observation"]["metadata"]["agent"]
        for e in recorded.events
        if e["observation"]["metadata"].get("parent_observation_id") == around["id"]
    ]
    assert inside == ["adder"] * 3
    assert len({event["interaction_id"] for event in recorded.events}) == 1


def test_a_tool_that_asks_a_person_is_interrupted_and_no_error(recorded: Recorded) -> None:
    asking_agent().invoke(QUESTION, in_thread(recorded))
    (asked,) = [o for o in recorded.observations if o["kind"] == "tool"]
    assert (asked["error"], asked["metadata"]["status"]) == (None, "interrupted")


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_resumed_run_names_the_interaction_it_resumes(way: str, recorded: Recorded) -> None:
    asking = asking_agent()
    asking.invoke(QUESTION, in_thread(recorded))
    before = len(recorded.events)
    list(getattr(asking, way)(Command(resume="yes"), in_thread(recorded)))
    interrupted, resumed = recorded.events[0], recorded.events[before:]
    assert {event["session_id"] for event in recorded.events} == {"t-1"}
    assert {e["observation"]["metadata"]["resumes"] for e in resumed} == {
        interrupted["interaction_id"]
    }
    assert interrupted["interaction_id"] not in {e["interaction_id"] for e in resumed}
    (answered,) = [e["observation"] for e in resumed if e["type"] == "tool"]
    assert answered["output"]["content"] == "yes"


def test_a_run_held_by_middleware_is_resumed_all_the_same(recorded: Recorded) -> None:
    approve = HumanInTheLoopMiddleware(interrupt_on={"add": True})
    wants = calls(("add", {"a": 1, "b": 2}))
    careful = agent(wants, "3", middleware=[approve], checkpointer=InMemorySaver())
    careful.invoke(QUESTION, in_thread(recorded))
    careful.invoke(Command(resume={"decisions": [{"type": "approve"}]}), in_thread(recorded))
    first, asked, *resumed = recorded.events
    assert asked["interaction_id"] == first["interaction_id"]
    assert {e["observation"]["metadata"]["resumes"] for e in resumed} == {first["interaction_id"]}
    assert all(e["observation"]["error"] is None for e in recorded.events)


def test_a_new_question_after_an_interrupt_resumes_nothing(recorded: Recorded) -> None:
    asking = asking_agent()
    asking.invoke(QUESTION, in_thread(recorded))
    before = len(recorded.events)
    asking.invoke(QUESTION, in_thread(recorded))
    assert all("resumes" not in o["metadata"] for o in recorded.observations[before:])


def test_a_command_is_recorded_with_its_messages(recorded: Recorded) -> None:
    @tool
    def remember(word: str) -> Command:
        """Remember."""
        return Command(update={"words": [word], "messages": [HumanMessage("noted")]}, goto="next")

    remember.invoke({"word": "x"}, recorded.config())
    assert recorded.only()["output"] == {
        "update": {"words": ["x"], "messages": [{"role": "user", "content": "noted"}]},
        "goto": "next",
    }


def test_nothing_of_langgraphs_machinery_is_recorded(recorded: Recorded) -> None:
    asking = one_node(lambda _: {"words": [str(Scripted().invoke("hi").content)]})
    list(asking.stream({}, recorded.config(tags=["mine"]), stream_mode="messages"))
    metadata = recorded.only()["metadata"]
    machinery = ("langgraph_", "ls_", "lc_", "__", "tags")
    assert not [key for key in metadata if key.startswith(machinery)]
