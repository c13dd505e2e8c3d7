"""Whatever records passes the mask: a contract for the API, LangChain and each later integration.

A recorder is added to ``RECORDERS`` with a function that puts a secret into all that it passes on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from sessionbat import SessionBat
from sessionbat.transports import MemoryTransport

SECRET = "hunter2-of-ada"


def by_hand(client: SessionBat) -> None:
    interaction = client.session(tags=[SECRET], context={"user": SECRET}).interaction()
    interaction.llm(
        model=SECRET, input=SECRET, output={SECRET: SECRET}, metadata={"a": SECRET},
        metrics={SECRET: 1, "note": SECRET}, error=ValueError(SECRET), name=SECRET,
    )  # fmt: skip
    interaction.tool_call(tool_name=SECRET, input=json.dumps({"q": SECRET}), output=SECRET.encode())
    interaction.retrieval(query=SECRET, documents=[{"id": SECRET, "content": SECRET}])


def measured(client: SessionBat) -> None:
    interaction = client.session().interaction()
    with interaction.measure_llm(model=SECRET, input={"m": SECRET}) as call:
        call.output = SECRET
        call.metadata["a"] = SECRET
        call.metrics["b"] = SECRET  # type: ignore[assignment]
    with pytest.raises(ValueError, match=SECRET), interaction.measure_tool_call(tool_name=SECRET):
        raise ValueError(SECRET)
    with interaction.measure_retrieval(query=SECRET) as found:
        found.output = [{"content": SECRET}]


def feedback(client: SessionBat) -> None:
    session = client.session(tags=[SECRET], context={"user": SECRET})
    session.feedback(score=1, label=SECRET, comment="x" * 8180 + SECRET, source=SECRET)
    session.feedback(
        label={SECRET: SECRET},  # type: ignore[arg-type]
        comment=json.dumps({"q": SECRET}),
        tags=[SECRET],
        context={"c": SECRET},
    )
    session.interaction(context={"u": SECRET}).feedback(score=SECRET, comment=SECRET)  # type: ignore[arg-type]
    session.outcome(SECRET, reason=[SECRET])  # type: ignore[arg-type]


def langchain(client: SessionBat) -> None:
    from langchain_core.language_models.fake_chat_models import FakeListChatModel
    from langchain_core.messages import HumanMessage
    from langchain_core.tools import tool

    @tool
    def look_up(name: str) -> str:
        """Look somebody up."""
        return f"{name} is {SECRET}"

    @tool
    def fail(name: str) -> str:
        """Fail."""
        raise ValueError(name)

    handler = client.langchain_callback(
        tags=[SECRET], context={"c": SECRET}, metadata={"handler": SECRET}
    )
    config: Any = {
        "callbacks": [handler],
        "metadata": {"own": SECRET, SECRET: 1},
        "tags": [f"tag {SECRET}"],
        "run_name": SECRET,
    }
    model = FakeListChatModel(responses=[SECRET])
    long = "x" * 1_048_000 + SECRET + "y" * 1_000_000  # cut before it is recorded
    for asked in ([HumanMessage(SECRET, additional_kwargs={"k": SECRET})], long):
        model.invoke(asked, config)  # type: ignore[arg-type]
    look_up.invoke({"name": SECRET}, config)
    with pytest.raises(ValueError, match=SECRET):
        fail.invoke({"name": SECRET}, config)


RECORDERS: dict[str, Callable[[SessionBat], None]] = {
    "by hand": by_hand,
    "measured": measured,
    "feedback": feedback,
    "langchain": langchain,
}


@pytest.mark.parametrize("recorder", RECORDERS)
def test_a_pattern_finds_what_is_recorded_wherever_it_stands(recorder: str) -> None:
    memory = MemoryTransport()
    client = SessionBat(app="a", transport=memory, mask=[re.compile(SECRET)])
    RECORDERS[recorder](client)
    sent = json.dumps(memory.events)
    assert len(memory.events) >= 3
    assert SECRET not in sent
    assert SECRET[:6] not in sent, "half of it was left where something was cut"
    assert client.stats().mended == {}


@pytest.mark.parametrize("recorder", RECORDERS)
def test_a_mask_that_fails_lets_nothing_of_it_through(recorder: str) -> None:
    def broken(event: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("broken")

    memory = MemoryTransport()
    client = SessionBat(app="a", transport=memory, mask=broken)
    RECORDERS[recorder](client)
    assert len(memory.events) >= 3
    assert SECRET not in json.dumps(memory.events)
