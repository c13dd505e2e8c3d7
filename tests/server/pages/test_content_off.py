"""Where a sender keeps messages to itself, the page says how to switch them on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.server.pages.markup import Document
from tests.server.wire import Wire, event

Read = Callable[..., Document]
SESSION = {"app": "support-bot", "id": "thread_1"}


def shown(server: Wire, read: Read, kind: str = "llm", **changes: Any) -> str:
    changes.setdefault("observation__input", None)
    changes.setdefault("observation__output", None)
    server.send([event("e1", type=kind, **changes)])
    return read("/session", **SESSION).text


def off(scope: str) -> dict[str, Any]:
    return {"content": "off", "instrumentation": scope}


@pytest.mark.parametrize(
    ("scope", "switch"),
    [
        (
            "opentelemetry.instrumentation.genai.openai",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=span_only",
        ),
        ("com.anthropic.sdk.python", "ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE=content"),
        ("agent_framework", "enable_sensitive_data=True"),
        ("gcp.vertex.agent", "SPAN_ONLY"),
        ("nobody.knows", "its sender keeps it to itself"),
    ],
)
@pytest.mark.parametrize("kind", ["llm", "tool"])
def test_a_call_without_content_says_how_to_switch_it_on(
    server: Wire, read: Read, scope: str, switch: str, kind: str
) -> None:
    words = shown(server, read, kind, observation__metadata=off(scope))
    assert "Content is off: " in words and switch in words
    assert "recorded" not in words  # as of a call that had none


@pytest.mark.parametrize("metadata", [{}, {"content": "on"}, {"content": ["off"]}, {"content": 7}])
def test_a_call_that_had_none_says_only_that(
    server: Wire, read: Read, metadata: dict[str, Any]
) -> None:
    words = shown(server, read, observation__metadata=metadata)
    assert "Content is off" not in words and "No input recorded." in words


def test_what_is_there_is_shown_beside_it(server: Wire, read: Read) -> None:
    given = {"messages": [{"role": "user", "content": ""}], "other": "kept"}
    words = shown(
        server, read, observation__input=given, observation__metadata=off("agent_framework")
    )
    assert "Content is off: " in words and "kept" in words


def test_a_scope_that_is_no_text_or_markup_harms_nothing(server: Wire, read: Read) -> None:
    words = shown(server, read, observation__metadata=off("<b>scope</b>"))
    assert "Content is off" in words
    metadata = {"content": "off", "instrumentation": {"a": 1}}
    server.send([event("e2", observation__metadata=metadata)])
    assert read("/session", **SESSION)


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"observation__metadata": off("agent_framework")}, "Content is off: call enable_"),
        ({"observation__metadata": off("nobody.knows")}, "Content is off: its sender keeps it"),
        ({}, "No answer."),
        (
            {"observation__metadata": off("agent_framework"), "observation__error": "refused"},
            "No answer: the last step failed.",
        ),
    ],
)
def test_where_the_answer_belongs_a_turn_says_why_there_is_none(
    server: Wire, read: Read, changes: dict[str, Any], answer: str
) -> None:
    silent = {"observation__input": None, "observation__output": None}
    server.send([event("e1", **silent, **changes)])
    turn = read("/session", **SESSION).one("section", "turn")
    (line,) = [each.text for each in turn.all("div", "assistant")]
    assert line.removeprefix("Assistant").strip().startswith(answer)
