"""What a file brings to a server: its sessions, once, and nothing of its bad lines."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode

import pytest

from sessionbat.errors import ImportFileError
from sessionbat.importing import ImportSummary
from sessionbat.server.serving import running
from sessionbat.server.settings import Settings
from tests.importing.transcripts import (
    HELLO,
    HI,
    chat_line,
    export,
    figures,
    get,
    import_file,
    import_text,
)


@pytest.mark.slow
def test_every_assistant_message_is_a_model_call_and_every_tool_call_a_tool_observation(
    server: str, airline: Path
) -> None:
    summary = import_file(server, airline)
    assert summary.complete
    assert figures(server) == {
        session["session_id"]: (
            sum(m["role"] == "assistant" for m in session["messages"]),
            sum(len(m.get("tool_calls") or ()) for m in session["messages"]),
        )
        for session in map(json.loads, airline.read_text().splitlines())
    }
    assert summary.observations == Counter(
        llm=sum(llm for llm, _ in figures(server).values()),
        tool=sum(tool for _, tool in figures(server).values()),
    )


@pytest.mark.slow
def test_the_page_of_each_session_shows_each_of_its_observations(
    server: str, airline: Path
) -> None:
    import_file(server, airline)
    for place, (session_id, (model_calls, tool_calls)) in enumerate(figures(server).items()):
        query = urlencode({"app": "airline-agent-sessions", "id": session_id})
        items = json.loads(get(f"{server}/session.json?{query}"))["items"]
        assert Counter(item["type"] for item in items) == Counter(llm=model_calls, tool=tool_calls)
        if place % 10 == 0:  # the page asks what its twin asks; some of them tell enough
            page = get(f"{server}/session?{query}").decode()
            assert [item["id"] for item in items if item["id"] not in page] == []


@pytest.mark.slow
def test_importing_twice_stores_nothing_twice(server: str, airline: Path) -> None:
    import_file(server, airline)
    before = figures(server)
    assert import_file(server, airline).complete
    assert figures(server) == before


@pytest.mark.slow
def test_a_session_reads_on_the_server_as_it_stands_in_the_file(server: str, airline: Path) -> None:
    import_file(server, airline)
    session = json.loads(airline.read_text().splitlines()[0])
    events = export(server, "airline-agent-sessions", session["session_id"])
    last = [e["observation"] for e in events if e["type"] == "llm"][-1]
    said = [*last["input"]["messages"], last["output"]]
    assert said == session["messages"][: len(said)]
    assert events[0]["context"] == {k: session[k] for k in ("task_id", "trial", "solved")}


def test_a_grown_transcript_adds_only_what_is_new(server: str) -> None:
    question = {"role": "user", "content": "And now?"}
    import_text(server, chat_line("s", HELLO, HI))
    import_text(server, chat_line("s", HELLO, HI, question, HI))
    assert figures(server) == {"s": (2, 0)}


def test_other_content_under_the_same_session_is_new(server: str) -> None:
    import_text(server, chat_line("s", HELLO, HI))
    import_text(server, chat_line("s", HELLO, {**HI, "content": "Good evening!"}))
    assert figures(server) == {"s": (2, 0)}


def test_exported_events_arrive_as_they_were(server: str, tmp_path: Path) -> None:
    import_text(server, chat_line("s", HELLO, {**HI, "content": "Grüße 😀"}))
    exported = export(server, "file", "s")
    lines = "\n".join(json.dumps(event) for event in exported)
    with running(Settings(port=0, store_url=f"sqlite:///{tmp_path / 'other.db'}")) as other:
        summary = import_text(other, lines)
        assert export(other, "file", "s") == exported
    assert (summary.form, summary.app) == ("events", None)


def test_events_can_be_moved_to_another_app(server: str) -> None:
    import_text(server, chat_line("s", HELLO, HI))
    (event,) = export(server, "file", "s")
    import_text(server, json.dumps(event), app="moved")
    assert export(server, "moved", "s") == [event | {"app": "moved"}]


def test_transcripts_go_to_the_app_of_the_environment(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSIONBAT_APP", "from-environment")
    assert import_text(server, chat_line("s", HELLO, HI)).app == "from-environment"
    assert export(server, "from-environment", "s")


def test_a_bad_line_is_reported_by_its_number_and_costs_no_other(server: str) -> None:
    bad: list[tuple[int, str]] = []
    text = f"{chat_line('a', HELLO, HI)}\n\n{{broken\n{chat_line('b', HELLO, HI)}\n"
    summary = import_text(server, text, bad=bad)
    assert [number for number, _ in bad] == [3]
    assert (summary.lines, summary.bad_lines, summary.sessions) == (3, 1, 2)
    assert figures(server) == {"a": (1, 0), "b": (1, 0)}
    assert not summary.complete


def test_a_session_with_one_bad_message_is_not_half_recorded(server: str) -> None:
    text = f"{chat_line('a', HELLO, HI, {'content': 'no role'})}\n{chat_line('b', HELLO, HI)}"
    import_text(server, text)
    assert figures(server) == {"b": (1, 0)}


def test_a_file_of_neither_form_is_refused_before_anything_is_sent(server: str) -> None:
    with pytest.raises(ImportFileError, match=r"line 2 of file\.jsonl is neither.*--format") as it:
        import_text(server, '\n{"id": 1}\n' + chat_line("s", HELLO, HI))
    assert it.value.slug == "unknown-format"
    assert figures(server) == {}


def test_the_form_can_be_given(server: str) -> None:
    bad: list[tuple[int, str]] = []
    import_text(server, '{"id": 1}\n' + chat_line("s", HELLO, HI), form="chat", bad=bad)
    assert bad == [(1, "messages is missing")]
    assert figures(server) == {"s": (1, 0)}


def test_an_empty_file_brings_nothing_and_is_complete(server: str) -> None:
    assert import_text(server, "\n\n") == ImportSummary()
