"""Masks that are functions: what they may do, and what becomes of one that fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sessionbat import SessionBat
from sessionbat.transports import MemoryTransport
from tests.conftest import assert_adds_up
from tests.masking.recorded import SECRET, Event, asynchronous, masked, raises, record


class TestFunctions:
    def test_a_function_gets_the_event_as_it_would_be_sent_and_decides(self) -> None:
        seen: list[Event] = []

        def mask(event: Event) -> Event:
            seen.append(json.loads(json.dumps(event)))
            event["observation"]["output"] = "less"
            event["tags"].append("masked")
            event["context"] = {"user_id": "u"}
            return event

        memory = MemoryTransport()
        client = SessionBat(app="a", transport=memory, mask=mask)
        client.session(tags=["t"], context={"user_id": "Ada"}).interaction().tool_call(
            tool_name="t", input=("tuple",), output=object(), metrics={"latency_ms": 1}
        )
        [event], [given] = memory.events, seen
        assert given["observation"]["input"] == ["tuple"]
        assert given["observation"]["output"] == "<builtins.object>"
        given["observation"]["output"] = "less"
        given["tags"] = ["t", "masked"]
        given["context"] = {"user_id": "u"}
        assert event == given

    def test_what_the_function_changes_is_its_own_copy(self) -> None:
        def mask(event: Event) -> Event:
            event["observation"]["input"]["list"].clear()
            event["context"].clear()
            return event

        memory = MemoryTransport()
        session = SessionBat(transport=memory, mask=mask).session(context={"plan": "free"})
        payload = {"list": [1]}
        session.interaction().llm(input=payload)
        assert payload == {"list": [1]}
        assert session._scope.context == {"plan": "free"}

    def test_none_keeps_an_event_back_and_is_counted(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        memory = MemoryTransport()
        client = SessionBat(
            transport=memory, mask=lambda e: None if e["type"] == "retrieval" else e
        )
        interaction = client.session().interaction()
        interaction.llm()
        ids = [interaction.retrieval(query="q") for _ in range(3)]
        assert len(set(ids)) == 3
        assert [event["type"] for event in memory.events] == ["llm"]
        assert client.stats().dropped == {"masked": 3}
        assert_adds_up(client)
        assert client.flush() == (1, 0, 0, 0)  # nothing is amiss
        assert client.flush()
        assert sum("[masked]" in record.message for record in caplog.records) == 1

    @pytest.mark.parametrize(
        ("field", "value"),
        [("id", "x"), ("session_id", "x"), ("interaction_id", "x"), ("app", "x"), ("type", "tool"),
         ("created_at", "2020-01-01T00:00:00Z")],
    )  # fmt: skip
    def test_who_and_when_cannot_be_changed_and_trying_is_told_once(
        self, field: str, value: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        given: list[Any] = []

        def mask(event: Event) -> Event:
            given.append(event[field])
            return {**event, field: value}

        memory = MemoryTransport()
        client = SessionBat(transport=memory, mask=mask)
        interaction = client.session().interaction()
        interaction.llm(input="kept")
        interaction.llm(input="kept")
        assert [event[field] for event in memory.events] == given
        assert [event["observation"]["input"] for event in memory.events] == ["kept"] * 2
        assert client.stats().mended == {"mask-identity": 2}
        assert sum("[mask-identity]" in record.message for record in caplog.records) == 1

    def test_a_field_that_is_left_out_is_removed_and_the_form_stays(self) -> None:
        event = masked(lambda e: {"observation": {}}, input=1, metadata={"a": 1}, error="e")
        observation = event["observation"]
        assert (event["tags"], event["context"], event["type"]) == ([], {}, "llm")
        assert observation == {
            "kind": "llm",
            "name": None,
            "started_at": None,
            "input": None,
            "output": None,
            "error": None,
            "metadata": {},
            "metrics": {},
        }

    def test_metrics_that_are_no_numbers_any_more_become_metadata(self) -> None:
        def mask(event: Event) -> Event:
            event["observation"]["metrics"]["cost_usd"] = "hidden"
            return event

        observation = masked(mask, metrics={"cost_usd": 1.5, "latency_ms": 2})["observation"]
        assert observation["metrics"] == {"latency_ms": 2}
        assert observation["metadata"] == {"cost_usd": "hidden"}


def raises_after_half_of_the_work(event: Event) -> Event:
    event["observation"]["input"] = "half"
    raise ValueError(SECRET)


def endless(event: Event) -> Event:
    return endless(event)


JUNK: dict[str, Callable[[Event], Any]] = {
    "a text": lambda e: "junk",
    "true": lambda e: True,
    "a list": lambda e: [e],
    "an empty object": lambda e: {},
    "an observation that is none": lambda e: {**e, "observation": "gone"},
    "an observation of pairs": lambda e: {**e, "observation": [["input", SECRET]]},
    "a context that is none": lambda e: {**e, "context": SECRET},
    "tags that are none": lambda e: {**e, "tags": SECRET},
    "tags that are numbers": lambda e: {**e, "tags": [1]},
    "metadata that are none": lambda e: {
        **e,
        "observation": {**e["observation"], "metadata": [SECRET]},
    },
    "an exception": raises,
    "an exception half way": raises_after_half_of_the_work,
    "an endless recursion": endless,
}


class TestFailure:
    @pytest.mark.parametrize("fault", JUNK)
    def test_a_mask_that_fails_lets_nothing_through_but_the_envelope(
        self, fault: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        memory = MemoryTransport()
        client = SessionBat(app="a", transport=memory, mask=JUNK[fault])
        session = client.session(session_id="s", tags=[SECRET], context={"user": SECRET})
        interaction = session.interaction(interaction_id="i")
        event_id = ""
        for _ in range(3):
            event_id = interaction.tool_call(
                tool_name=f"mail {SECRET}",
                input=SECRET,
                output={"to": SECRET},
                error=ValueError(SECRET),
                metadata={"user": SECRET},
                metrics={"latency_ms": 12},
            )
        event = memory.events[-1]
        created_at = event.pop("created_at")
        assert created_at.endswith("Z")
        assert event == {
            "type": "tool",
            "id": event_id,
            "app": "a",
            "session_id": "s",
            "interaction_id": "i",
            "tags": [],
            "context": {},
            "observation": {
                "kind": "tool",
                "name": None,
                "started_at": None,
                "input": "[masked]",
                "output": "[masked]",
                "error": {"type": "ValueError", "message": "[masked]"},
                "metadata": {"mask": "failed"},
                "metrics": {"latency_ms": 12},
            },
        }
        assert client.stats().mended == {"mask-failed": 3}
        assert_adds_up(client)
        assert sum("[mask-failed]" in record.message for record in caplog.records) == 1
        assert SECRET not in caplog.text

    def test_an_error_whose_type_is_a_text_keeps_none_of_it(self) -> None:
        event = masked(raises, error={"type": f"sent to {SECRET}", "message": SECRET})
        assert event["observation"]["error"] == {"type": "Error", "message": "[masked]"}

    def test_a_function_that_waits_lets_nothing_through(self) -> None:
        with pytest.warns(RuntimeWarning, match="never awaited"):
            event = masked(lambda e: asynchronous(e), input=SECRET)
        assert event["observation"]["input"] == "[masked]"

    def test_a_mask_that_records_does_not_mask_itself_for_ever(self) -> None:
        memory = MemoryTransport()

        def mask(event: Event) -> Event:
            interaction.llm(input=SECRET)
            return event

        client = SessionBat(transport=memory, mask=mask)
        interaction = client.session().interaction()
        interaction.llm(input="outer")
        assert [e["observation"]["input"] for e in memory.events] == ["[masked]", "outer"]

    def test_the_next_event_is_masked_again(self) -> None:
        faults = iter([ValueError()])

        def mask(event: Event) -> Event:
            for fault in faults:
                raise fault
            return event

        memory = MemoryTransport()
        interaction = SessionBat(transport=memory, mask=mask).session().interaction()
        interaction.llm(input="first")
        interaction.llm(input="second")
        assert [e["observation"]["input"] for e in memory.events] == ["[masked]", "second"]

    def test_ctrl_c_in_a_mask_is_the_hosts(self) -> None:
        def mask(event: Event) -> Event:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            record(mask)
