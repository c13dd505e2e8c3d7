"""The handler is a guest: whatever it is given, the application goes on and nothing is lost."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.outputs import LLMResult
from langchain_core.tools import tool

from sessionbat import ConfigurationError, LangChainCallbackHandler, SessionBat
from sessionbat.transports import MemoryTransport
from tests.integration.conftest import Recorded
from tests.integration.scripted import Scripted
from tests.integration.test_oracle_chains import ASKED, chain

RUN = UUID(int=7)
SOURCE = Path(__file__).parents[2] / "src"


class Hostile:
    """Raises whenever somebody looks."""

    def _refuse(self, *args: Any) -> Any:
        raise RuntimeError("do not look")

    __repr__ = __str__ = __eq__ = __hash__ = __getattr__ = __iter__ = __len__ = _refuse
    __bool__ = __reduce_ex__ = __format__ = _refuse


def test_an_object_that_raises_when_looked_at_is_recorded_by_its_class(recorded: Recorded) -> None:
    @tool(response_format="content_and_artifact")
    def hand_out(key: str) -> tuple[str, Any]:
        """Hand out."""
        return "here", Hostile()

    call = {"name": "hand_out", "args": {"key": "k"}, "id": "c", "type": "tool_call"}
    assert hand_out.invoke(call, recorded.config()).content == "here"
    artifact = recorded.only()["output"]["artifact"]
    assert artifact == "<tests.integration.test_guest.Hostile>"


def test_a_tool_may_return_anything(recorded: Recorded) -> None:
    given = [object(), threading.Lock(), (n for n in range(3)), {1, 2}, Hostile(), float("nan")]

    @tool
    def hand_out(number: int) -> Any:
        """Hand out."""
        return given[number]

    for number in range(len(given)):
        hand_out.invoke({"number": number}, recorded.config())
    assert len(recorded.events) == len(given)
    assert list(given[2]) == [0, 1, 2]  # type: ignore[call-overload]  # not consumed


def test_an_exception_that_cannot_be_printed_is_recorded_by_its_type(recorded: Recorded) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

        __repr__ = __str__

    with pytest.raises(Unprintable):
        chain(Unprintable("x")).invoke(ASKED, recorded.config())
    assert recorded.only()["error"] == {"type": "Unprintable", "message": "x"}


def test_an_answer_that_cannot_be_read_is_counted_and_still_recorded() -> None:
    transport = MemoryTransport()
    handler = SessionBat(app="test-app", transport=transport).langchain_callback()
    begin(handler)
    response = LLMResult.model_construct(generations=[[{"not": "a generation"}]], llm_output=None)
    handler.on_llm_end(response, run_id=RUN)
    (event,) = transport.events
    assert event["observation"]["metadata"]["status"] == "unreadable"
    assert event["observation"]["input"]["messages"]
    assert handler.failures == 1


def begin(handler: LangChainCallbackHandler) -> None:
    handler.on_chat_model_start({}, [[HumanMessage("hi")]], run_id=RUN)


@pytest.mark.parametrize(
    ("callback", "arguments"),
    [
        ("on_chat_model_start", ({}, [[object()]])),
        ("on_llm_start", (None, None)),
        ("on_tool_start", (7, object())),
        ("on_retriever_start", (None, object())),
        ("on_chain_start", (None, object())),
    ],
)
def test_no_callback_raises_whatever_it_is_given(callback: str, arguments: Any) -> None:
    client = SessionBat(app="test-app", transport=MemoryTransport())
    handler = client.langchain_callback()
    getattr(handler, callback)(*arguments, run_id=RUN, metadata={7: 8}, tags=[9])
    ends = {"on_chain_start": "on_chain_end", "on_tool_start": "on_tool_end"}
    end = ends.get(callback, "on_llm_end" if "retriever" not in callback else "on_retriever_end")
    getattr(handler, end)(None, run_id=RUN)
    assert len(handler._book) == 0
    handler.on_llm_new_token("x", run_id=RUN)
    handler.on_tool_end("never begun", run_id=RUN)


def test_failures_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    client = SessionBat(app="test-app", transport=MemoryTransport())
    handler = client.langchain_callback()
    for _ in range(3):
        handler.on_chat_model_start({}, [[object()]], run_id=RUN)  # type: ignore[list-item]
        handler.on_llm_end(LLMResult(generations=[]), run_id=RUN)
    assert handler.failures == 3
    (record,) = [r for r in caplog.records if "langchain-callback" in r.getMessage()]
    assert record.name == "sessionbat"


def test_a_closed_client_drops_and_counts_and_the_chain_goes_on() -> None:
    client = SessionBat(app="test-app", transport=MemoryTransport())
    handler = client.langchain_callback()
    client.close()
    assert chain().invoke(ASKED, {"callbacks": [handler]}) == "Hello, world!"
    assert client.stats().dropped == {"closed": 1}
    assert len(handler._book) == 0


def test_a_response_without_anything_is_recorded(recorded: Recorded) -> None:
    begin(recorded.handler)
    recorded.handler.on_llm_end(LLMResult(generations=[[]]), run_id=RUN)
    assert recorded.only()["output"] is None


def test_a_handler_is_not_copied_with_what_holds_it(recorded: Recorded) -> None:
    assert copy.deepcopy({"callbacks": [recorded.handler]})["callbacks"][0] is recorded.handler
    assert copy.copy(recorded.handler) is recorded.handler


def test_a_handler_needs_something_to_record_with() -> None:
    with pytest.raises(ConfigurationError, match=r"client\.langchain_callback\(\).*\[no-client\]"):
        LangChainCallbackHandler()


WITHOUT_LANGCHAIN = f"""
import sys
sys.path.insert(0, {str(SOURCE)!r})
sys.modules["langchain_core"] = None  # as if it were not installed
from sessionbat import LangChainCallbackHandler, SessionBat
from sessionbat.transports import MemoryTransport
client = SessionBat(transport=MemoryTransport())
for make in (client.langchain_callback, lambda: LangChainCallbackHandler(client)):
    try:
        make()
    except ImportError as error:
        print(error)
"""


def test_without_langchain_the_handler_says_what_to_install() -> None:
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_LANGCHAIN], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert (
        said
        == [
            "the LangChain handler needs langchain-core:"
            ' pip install "sessionbat[langchain]". [no-langchain]'
        ]
        * 2
    )


def test_a_forked_child_begins_with_no_runs(recorded: Recorded) -> None:
    reading = Scripted(script=["one two"]).stream("hi", recorded.config())
    next(reading)
    child = os.fork()
    if child == 0:
        os._exit(len(recorded.handler._book))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert recorded.runs_held == 1
    list(reading)
