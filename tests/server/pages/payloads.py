"""Sessions that try to break a page: markup in every field, and every shape out of shape."""

from __future__ import annotations

from typing import Any

from tests.server.wire import event

MARKUP = """<script>alert(1)</script>"'><img src=x onerror=alert(2)></details>{{7*7}}"""
#: As an event id, which becomes an element's id and a fragment.
ATTRIBUTE = "a\" onclick='alert(3)' <b>"


def hostile_events() -> list[dict[str, Any]]:
    """One session of three events with markup in every key and every value that takes text."""
    common: dict[str, Any] = {
        "app": MARKUP,
        "session_id": MARKUP,
        "interaction_id": MARKUP,
        "tags": [MARKUP],
        "context": {MARKUP: MARKUP, "user_id": MARKUP},
        "observation__name": MARKUP,
        "observation__error": {"type": MARKUP, "message": MARKUP, MARKUP: MARKUP},
        "observation__metadata": {"model": MARKUP, "status": MARKUP, MARKUP: MARKUP},
        "observation__metrics": {MARKUP: MARKUP, "latency_ms": MARKUP, "input_tokens": 1},
    }
    call = {"id": MARKUP, "function": {"name": MARKUP, "arguments": MARKUP}}
    messages = [
        {"role": MARKUP, "content": MARKUP, "name": MARKUP},
        {"role": "user", "content": [{"type": MARKUP, MARKUP: MARKUP}, MARKUP]},
        {"role": "assistant", "content": MARKUP, "tool_calls": [call]},
        {"role": "tool", "content": MARKUP},
        {"role": "user", "content": MARKUP},
    ]
    document = {"id": MARKUP, "title": MARKUP, "score": 0.5, "content": MARKUP, MARKUP: MARKUP}
    return [
        event(
            ATTRIBUTE,
            **common,
            observation__input={"messages": messages, MARKUP: MARKUP},
            observation__output={"text": MARKUP, MARKUP: MARKUP},
        ),
        event(
            MARKUP,
            type="tool",
            **common,
            observation__input={MARKUP: [MARKUP] * 30},
            observation__output=MARKUP,
        ),
        event(
            "javascript:alert(4)",
            type="retrieval",
            **{**common, "observation__error": None},
            observation__input={"query": MARKUP, MARKUP: MARKUP},
            observation__output={"documents": [document, MARKUP], MARKUP: MARKUP},
        ),
        event(
            "e4",
            **{**common, "observation__error": None, "interaction_id": None, "type": MARKUP},
            observation__input=MARKUP,
        ),
    ]


DEEP: Any = []  # the server takes 200 levels
for _ in range(150):
    DEEP = [DEEP]

#: What an ``input``, ``output``, ``error``, ``metadata`` or ``metrics`` may also be.
ODD_VALUES: list[Any] = [
    None,
    0,
    -1.5,
    True,
    "",
    "x" * 100_000,
    [],
    {},
    DEEP,
    [None, 1, "a", [], {}],
    10**30,
    1e308,
    {"messages": None},
    {"messages": "text"},
    {"messages": [1, None, "a", [], {}]},
    {"messages": [{"role": 5, "content": {"a": 1}, "tool_calls": "x"}]},
    {"messages": [[{"role": "user", "content": "batched"}]]},
    {"messages": [{"role": "user", "content": ["a", 1, None, {"type": "text"}]}]},
    {"messages": [{"role": "assistant", "tool_calls": [1, {}, {"function": 1}, {"name": None}]}]},
    {"messages": [{"type": []}, {"content": [{"type": {}}]}], "type": []},
    {"prompt": ["a", 1]},
    {"choices": [{"message": None}]},
    {"choices": []},
    {"message": "text"},
    {"documents": "none"},
    {"documents": [1, None, [], {"score": "high"}, {"score": True}, {"id": {"a": 1}}]},
    {"query": {"nested": 1}},
    {"type": 1, "message": 2},
    {"latency_ms": -5, "input_tokens": -1, "cost_usd": 1e-9},
    {"latency_ms": 1e300, "input_tokens": 1e300},
    {"latency_ms": 10**40, "http_status": 10**40},
]

FIELDS = ("score", "label", "comment", "source", "observation_id", "outcome", "reason")
KINDS = ("llm", "tool", "retrieval", "feedback")


def odd_events(kind: str) -> list[dict[str, Any]]:
    """One session, ``odd-<kind>``, with an event for each odd value, in every place at once."""
    events = []
    for number, value in enumerate(ODD_VALUES):
        inner = value if isinstance(value, dict) else {"odd": value}
        odd = event(
            f"{kind}-{number}",
            type=kind,
            session_id=f"odd-{kind}",
            context={"odd": value},
            observation__input=value,
            observation__output=value,
            observation__error=value,
            observation__metadata=inner,
            observation__metrics=inner,
            observation__started_at=value if isinstance(value, str) else None,
        )
        if kind == "feedback":  # which has any of it, and no observation
            odd["feedback"] = {**dict.fromkeys(FIELDS, value), **inner}
            del odd["observation"]
        events.append(odd)
    return events


def long_agent_session(observations: int, session_id: str = "long-agent") -> list[dict[str, Any]]:
    """An agent that resends its history: the last input holds every message before it."""
    messages: list[Any] = [
        {"role": "system", "content": "policy " * 400},
        {"role": "user", "content": "migrate it all"},
    ]
    events: list[dict[str, Any]] = []
    while len(events) < observations:
        n = len(events)
        function = {"name": "query", "arguments": f'{{"sql": "select {n}"}}'}
        call = {"role": "assistant", "content": None, "tool_calls": [{"function": function}]}
        result = f'{{"rows": [{n}, "{n}"]}}'
        events += [
            event(
                f"long-{n}",
                session_id=session_id,
                interaction_id="i1",
                observation__input={"messages": list(messages)},
                observation__output=call,
                observation__metadata={"model": "gpt-5.4-mini"},
                observation__metrics={"latency_ms": 820, "input_tokens": 1402, "output_tokens": 36},
            ),
            event(
                f"long-{n + 1}",
                type="tool",
                session_id=session_id,
                interaction_id="i1",
                observation__name="query",
                observation__input=function["arguments"],
                observation__output=result,
                observation__error={"message": "deadlock"} if n % 40 == 20 else None,
                observation__metrics={"latency_ms": 117},
            ),
        ]
        messages += [call, {"role": "tool", "content": result}]
    return events[:observations]
