"""Which session and interaction each observation lands in."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import RunnableLambda

from sessionbat import SessionBat
from sessionbat.transports import MemoryTransport
from tests.integration.conftest import Recorded
from tests.integration.scripted import Scripted
from tests.integration.test_oracle_chains import ASKED, add, chain


def homes(recorded: Recorded) -> list[tuple[str, str]]:
    return [(event["session_id"], event["interaction_id"]) for event in recorded.events]


@pytest.mark.parametrize("key", ["session_id", "thread_id", "conversation_id"])
def test_a_session_is_named_by_the_runs_metadata(key: str, recorded: Recorded) -> None:
    Scripted().invoke("hi", recorded.config(metadata={key: "s-1"}))
    assert recorded.events[0]["session_id"] == "s-1"


@pytest.mark.parametrize(
    "thread", ["t-1", 7, UUID("0198f1a2-0000-7000-8000-000000000001")], ids=["text", "int", "uuid"]
)
def test_a_chains_thread_is_found_around_its_children(thread: Any, recorded: Recorded) -> None:
    chain().invoke(ASKED, recorded.config(configurable={"thread_id": thread}))
    assert recorded.events[0]["session_id"] == str(thread)


def test_a_chains_thread_is_found_in_async_code_and_streams(recorded: Recorded) -> None:
    async def run() -> None:
        config = recorded.config(configurable={"thread_id": "t-1"})
        await chain().ainvoke(ASKED, config)
        async for _ in chain().astream(ASKED, config):
            pass

    asyncio.run(run())
    list(chain().stream(ASKED, recorded.config(configurable={"thread_id": "t-1"})))
    assert {session for session, _ in homes(recorded)} == {"t-1"}
    assert len({interaction for _, interaction in homes(recorded)}) == 3


def test_the_session_found_first_holds_for_the_whole_tree(recorded: Recorded) -> None:
    def ask(_: Any) -> Any:
        Scripted().invoke("a", {"metadata": {"thread_id": "other"}})
        return chain().invoke(ASKED, {"configurable": {"thread_id": "another"}})

    RunnableLambda(ask).invoke("x", recorded.config(metadata={"session_id": "s-1"}))
    assert len(recorded.events) == 2
    assert len(set(homes(recorded))) == 1
    assert recorded.events[0]["session_id"] == "s-1"


def test_without_any_name_the_root_run_is_session_and_interaction(recorded: Recorded) -> None:
    root = uuid4()
    chain().invoke(ASKED, recorded.config(run_id=root))
    assert homes(recorded) == [(str(root), str(root))]


def test_the_handlers_own_session_wins_over_every_other_name(recorded: Recorded) -> None:
    session = recorded.client.session(session_id="own", tags=["s"], context={"user_id": "u"})
    handler = session.langchain_callback(tags=["h"], context={"plan": "pro"})
    config = {"callbacks": [handler], "metadata": {"session_id": "other"}}
    with recorded.client.session(session_id="current"):
        chain().invoke(ASKED, config)
        chain().invoke(ASKED, config)
    assert {session for session, _ in homes(recorded)} == {"own"}
    assert len({interaction for _, interaction in homes(recorded)}) == 2
    assert recorded.events[0]["tags"] == ["s", "h"]
    assert recorded.events[0]["context"] == {"user_id": "u", "plan": "pro"}


def test_the_handlers_own_interaction_takes_every_run(recorded: Recorded) -> None:
    interaction = recorded.client.session(session_id="own").interaction(
        interaction_id="turn", tags=["i"], context={"step": 1}
    )
    handler = interaction.langchain_callback(tags=["h"], context={"plan": "pro"})
    for _ in range(2):
        chain().invoke(ASKED, {"callbacks": [handler]})
    assert homes(recorded) == [("own", "turn")] * 2
    assert recorded.events[0]["tags"] == ["i", "h"]
    assert recorded.events[0]["context"] == {"step": 1, "plan": "pro"}


def test_the_current_session_and_interaction_are_used(recorded: Recorded) -> None:
    with recorded.client.session(session_id="now", tags=["n"]) as session:
        Scripted().invoke("hi", recorded.config())
        with session.interaction(interaction_id="turn"):
            Scripted().invoke("hi", recorded.config())
    (first, _), second = homes(recorded)
    assert (first, second) == ("now", ("now", "turn"))
    assert recorded.events[0]["tags"] == ["n"]


def test_metadata_wins_over_the_current_session(recorded: Recorded) -> None:
    with recorded.client.session(session_id="now"):
        Scripted().invoke("hi", recorded.config(metadata={"session_id": "s-1"}))
    assert recorded.events[0]["session_id"] == "s-1"


def test_the_current_session_of_another_client_gives_its_id_only(recorded: Recorded) -> None:
    other = SessionBat(app="other", transport=MemoryTransport())
    with other.session(session_id="theirs", context={"user_id": "u"}):
        Scripted().invoke("hi", recorded.config())
    (event,) = recorded.events
    assert (event["app"], event["session_id"], event["context"]) == ("test-app", "theirs", {})


def test_metadata_says_who_and_where(recorded: Recorded) -> None:
    said = {"user_id": "u-1", "workspace_id": "w-1", "feature": "refund"}
    chain().invoke(ASKED, recorded.config(metadata=said))
    (event,) = recorded.events
    assert event["context"] == {"user_id": "u-1", "workspace_id": "w-1"}
    assert event["observation"]["metadata"]["feature"] == "refund"


def test_labels_of_the_user_become_tags_and_those_of_the_machinery_do_not(
    recorded: Recorded,
) -> None:
    chain().invoke(ASKED, recorded.config(tags=["checkout"]))
    assert recorded.events[0]["tags"] == ["checkout"]


def test_a_nested_call_with_callbacks_of_its_own_stays_in_its_tree(recorded: Recorded) -> None:
    def ask(asked: Any) -> Any:
        return chain().invoke(asked, {"callbacks": [recorded.handler]})

    (chain() | RunnableLambda(lambda _: ASKED) | RunnableLambda(ask)).invoke(
        ASKED, recorded.config()
    )
    assert len(recorded.events) == 2
    assert len(set(homes(recorded))) == 1


def test_a_nested_call_for_another_session_goes_there(recorded: Recorded) -> None:
    other = recorded.client.session(session_id="audit").langchain_callback()
    nested = RunnableLambda(lambda x: Scripted().invoke("hi", {"callbacks": [other]}))
    nested.invoke("x", recorded.config(metadata={"session_id": "s-1"}))
    assert [session for session, _ in homes(recorded)] == ["audit"]


def test_fallbacks_at_the_top_share_one_interaction(recorded: Recorded) -> None:
    failing = Scripted(script=[ValueError("down")])
    failing.with_fallbacks([Scripted()]).invoke("hi", recorded.config())
    assert len(recorded.events) == 2
    assert len(set(homes(recorded))) == 1


def test_a_handler_in_the_models_constructor_takes_the_unseen_parent(recorded: Recorded) -> None:
    root = uuid4()
    model = Scripted(callbacks=[recorded.handler])
    (RunnableLambda(lambda x: x) | model).invoke(
        "hi", {"run_id": root, "configurable": {"thread_id": "t-1"}}
    )
    assert homes(recorded) == [("t-1", str(root))]


def test_a_model_copied_deeply_keeps_its_handler(recorded: Recorded) -> None:
    model = FakeListChatModel(responses=["hi"], callbacks=[recorded.handler])
    model.model_copy(deep=True).invoke("hi")
    assert len(recorded.events) == 1


def test_an_operation_inside_a_tool_names_the_tool_as_its_parent(recorded: Recorded) -> None:
    from langchain_core.tools import tool

    @tool
    def research(question: str) -> str:
        """Research."""
        add.invoke({"a": 1, "b": 2})
        return str(chain().invoke({"input": question}))

    research.invoke({"question": "why"}, recorded.config())
    inner, model, outer = recorded.events
    assert outer["observation"]["name"] == "research"
    for event in (inner, model):
        assert event["observation"]["metadata"]["parent_observation_id"] == outer["id"]
    assert "parent_observation_id" not in outer["observation"]["metadata"]


def test_metadata_of_the_handler_is_on_every_record(recorded: Recorded) -> None:
    handler = recorded.client.langchain_callback(metadata={"service": "bot"})
    chain().invoke(ASKED, {"callbacks": [handler]})
    assert recorded.only()["metadata"]["service"] == "bot"
