"""Files become sessions on a real server: transcripts, exported events, and whatever is broken."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import pytest

from sessionbat import importing
from sessionbat._importing.bad import BadLine
from sessionbat._importing.events import parse_event
from sessionbat._importing.json_values import parse_object
from sessionbat._importing.records import read_lines
from sessionbat._importing.transcripts import Transcript, parse_transcript
from sessionbat.errors import ImportFileError
from sessionbat.importing import ImportSummary, import_lines
from sessionbat.server.serving import running
from sessionbat.server.settings import Settings
from sessionbat.testing import Answer, Endpoint, receipt
from sessionbat.transports import IngestionTransport

AIRLINE = Path(__file__).parents[2] / "shared" / "data" / "airline-agent-sessions.jsonl"

HELLO = {"role": "user", "content": "Hello"}
HI = {"role": "assistant", "content": "Hi!"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with running(Settings(port=0, store_url=f"sqlite:///{tmp_path / 'store.db'}")) as url:
        yield url


@pytest.fixture
def airline() -> Path:
    if not AIRLINE.exists():
        if "CI" in os.environ:
            pytest.fail(f"{AIRLINE} is missing, and under CI it must be there")
        pytest.skip(f"{AIRLINE} is not here")
    return AIRLINE


# What a file brings to a server


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


# When the endpoint does not take it


@pytest.mark.slow
def test_reading_stops_at_an_endpoint_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_UNDELIVERED_BYTES", 100_000)
    text = "\n".join(chat_line(f"s{n}", HELLO, {**HI, "content": "x" * 1000}) for n in range(1000))
    with refusing_endpoint(silent=True) as (url, speak):
        transport = IngestionTransport(endpoint=url)
        summary = import_text(text=text, transport=transport, stall_seconds=0.2)
        speak.set()  # so that nothing is left for the end of this process
        transport.close(10)
    assert summary.stopped_at is not None
    assert 10 < summary.stopped_at < 100
    assert summary.pending == summary.observations.total() == summary.stopped_at - 1
    assert not summary.complete


def test_an_endpoint_that_refuses_the_key_is_not_waited_for() -> None:
    with Endpoint(lambda _: Answer(401)) as endpoint:
        transport = IngestionTransport(endpoint=endpoint.url, spool=False)
        begun = time.monotonic()
        summary = import_text(text=chat_line("s", HELLO, HI), transport=transport)
        took = time.monotonic() - begun
        endpoint.behave = receipt  # so that nothing is left for the end of this process
        transport.close(0)
    assert took < importing.STALL_SECONDS / 2
    assert summary.pending == 1 and not summary.complete


def test_no_more_is_on_its_way_than_may_be(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_UNDELIVERED_BYTES", 50_000)
    text = "\n".join(chat_line(f"s{n}", HELLO, HI) for n in range(500))
    pending: list[int] = []
    waits: list[float | None] = []
    with closing_transport(server) as transport:
        flush = transport.flush
        monkeypatch.setattr(transport, "flush", lambda t=None: (waits.append(t), flush(t))[1])
        summary = import_text(
            text=text,
            transport=transport,
            on_progress=lambda size: pending.append(transport.stats().pending),
        )
    assert max(pending) < 50
    assert len(waits) < 50
    assert summary.delivered == 500


def test_an_endpoint_that_never_took_an_event_and_refuses_one_keeps_it_and_is_told() -> None:
    with refusing_endpoint() as (url, _):
        summary = import_text(url, chat_line("s", HELLO, HI))
    assert summary.undelivered == summary.pending == 1  # the address may be wrong, not the event
    assert not summary.complete


def test_recording_turned_off_does_not_look_like_success(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSIONBAT_ENABLED", "0")
    summary = import_text(server, chat_line("s", HELLO, HI))
    assert summary.unrecorded == 1
    assert not summary.complete


# What a transcript says


def test_the_input_of_a_model_call_is_the_conversation_so_far() -> None:
    rules = {"role": "system", "content": "Be brief."}
    steps = list(transcript(rules, HELLO, HI, HELLO, HI).steps())
    assert [step.input["messages"] for step in steps] == [[rules, HELLO], [rules, HELLO, HI, HELLO]]
    assert [step.output for step in steps] == [HI, HI]


def test_each_turn_of_the_user_is_an_interaction() -> None:
    steps = transcript(HI, HELLO, HELLO, HI, HI, HELLO, HI).steps()
    assert [step.turn for step in steps] == [0, 1, 1, 2]


def test_tools_come_after_the_call_that_asked_for_them_with_their_own_results() -> None:
    asks = assistant(call("c1", "find", '{"id": 7}'), call("c2", "count", "{}"))
    steps = list(transcript(HELLO, asks, result("c2", "[2]"), result("c1", "gone"), HI).steps())
    assert [(s.kind, s.name, s.input, s.output) for s in steps[1:3]] == [
        ("tool", "find", {"id": 7}, "gone"),
        ("tool", "count", {}, [2]),
    ]
    assert [step.kind for step in steps] == ["llm", "tool", "tool", "llm"]


def test_a_call_id_used_again_gets_its_own_result() -> None:
    asks = assistant(call("same", "find", "{}"))
    messages = (HELLO, asks, result("same", "first"), asks, result("same", "second"))
    tools = [step for step in transcript(*messages).steps() if step.kind == "tool"]
    assert [step.output for step in tools] == ["first", "second"]


def test_calls_of_one_message_that_share_an_id_get_their_results_in_order() -> None:
    asks = assistant(call("same", "find", "{}"), call("same", "find", "{}"))
    steps = transcript(HELLO, asks, result("same", "first"), result("same", "second")).steps()
    assert [step.output for step in steps if step.kind == "tool"] == ["first", "second"]


def test_a_result_before_the_call_is_not_its_own() -> None:
    asks = assistant(call("c1", "find", "{}"))
    steps = transcript(HELLO, result("c1", "stray"), asks, result("c1", "own")).steps()
    assert [step.output for step in steps if step.kind == "tool"] == ["own"]


def test_a_call_without_a_result_is_unanswered_and_not_an_error() -> None:
    steps = list(transcript(HELLO, assistant(call("c1", "find", "{}"))).steps())
    assert steps[1].output is None
    assert steps[1].metadata["status"] == "unanswered"
    assert steps[1].error is None


@pytest.mark.parametrize("text", ["1700.0", "0042", "{not json", "", '{"a": NaN}'])
def test_a_result_that_is_no_object_stays_the_text_it_is(text: str) -> None:
    asks = assistant(call("c1", "find", "{}"))
    steps = list(transcript(HELLO, asks, result("c1", text)).steps())
    assert steps[1].output == text


def test_arguments_that_are_no_json_stay_text() -> None:
    steps = list(transcript(HELLO, assistant(call("c1", "find", "id=7"))).steps())
    assert steps[1].input == "id=7"


def test_the_model_is_the_messages_or_the_lines_and_never_made_up() -> None:
    line = {"session_id": "s", "messages": [HELLO, {**HI, "model": "m1"}, HI]}
    assert [s.name for s in parse_transcript({**line, "model": "m0"}).steps()] == ["m1", "m0"]
    assert [s.name for s in parse_transcript(line).steps()] == ["m1", None]


def test_no_two_steps_have_one_id() -> None:
    asks = assistant(call("c", "find", "{}"), call("c", "find", "{}"))
    answers = (result("c", "same"), result("c", "same"))
    steps = list(transcript(HELLO, asks, *answers, asks, *answers, HI, HI).steps())
    assert len({step.id for step in steps}) == len(steps) == 8


def test_the_same_words_in_another_session_have_another_id() -> None:
    ids = {
        next(parse_transcript({"session_id": s, "messages": [HELLO, HI]}).steps()).id
        for s in ("a", "b")
    }
    assert len(ids) == 2


# What is wrong with a line


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\xff{}", "not UTF-8: byte 1"),
        (b"{", "not JSON: Expecting property name"),
        (b'{"a": NaN}', "not JSON: holds a number"),
        (b'{"a": %s}' % (b"9" * 5000), "not JSON: holds a number"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "not a JSON object"),
    ],
)
def test_a_line_that_is_no_object_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(BadLine, match=f"^{reason}"):
        parse_object(line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"messages": []}, "session_id is missing"),
        ({"session_id": "", "messages": []}, "session_id is missing"),
        ({"session_id": True, "messages": []}, "session_id is missing"),
        ({"session_id": "s"}, "messages is missing"),
        ({"session_id": "s", "messages": "hi"}, "messages must be an array"),
        ({"session_id": "s", "messages": [HELLO, "hi"]}, r"messages\[1\] is not an object"),
        ({"session_id": "s", "messages": [{"content": ""}]}, r"messages\[0\]\.role is missing"),
        (
            {"session_id": "s", "messages": [{**HI, "tool_calls": {}}]},
            r"messages\[0\]\.tool_calls must be an array",
        ),
        (
            {"session_id": "s", "messages": [{**HI, "tool_calls": [{"function": {}}]}]},
            r"messages\[0\]\.tool_calls\[0\]\.function\.name is missing",
        ),
        ({"session_id": "s", "messages": [{**HI, "n": float("inf")}]}, "holds a number"),
    ],
)
def test_a_transcript_that_cannot_be_recorded_says_why(line: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadLine, match=f"^{reason}"):
        parse_transcript(line)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"session_id": None}, "session_id: missing"),
        ({"id": "é"}, "id: "),
        ({"type": "tool"}, "observation.kind: "),
        ({"tags": [1]}, "tags: "),
        ({"context": {"text": "\ud800"}}, "holds half a character"),
        ({"context": {"n": float("inf")}}, "holds a number"),
    ],
)
def test_an_event_that_no_server_would_store_says_why(change: Any, reason: str) -> None:
    event = {
        "type": "llm",
        "id": "1",
        "app": "a",
        "session_id": "s",
        "observation": {"kind": "llm"},
    }
    with pytest.raises(BadLine, match=f"^{reason}"):
        parse_event(event | change, b"", None)


def test_a_line_over_the_limit_is_skipped_without_being_held() -> None:
    stream = io.BytesIO(b"x" * 3_000_000 + b"\n{}\n" + b"y" * 101)
    assert list(read_lines(stream, max_bytes=100)) == [
        (1, None, 3_000_001),
        (2, b"{}", 3),
        (3, None, 101),
    ]


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_of_just_the_limit_is_read(end: bytes) -> None:
    lines = read_lines(io.BytesIO(b"x" * 100 + end), max_bytes=100)
    assert [line.data for line in lines] == [b"x" * 100]


def test_an_event_is_sent_byte_for_byte_unless_it_moves() -> None:
    data = (
        b'{ "type":"llm","id":"1","app":"a","session_id":"s","observation":{"kind":"llm","x":1.10}}'
    )
    assert parse_event(json.loads(data), data, None) == ("1", data)


def test_a_byte_order_mark_and_windows_line_ends_are_no_content() -> None:
    stream = io.BytesIO(b"\xef\xbb\xbf{}\r\n[]\r\n")
    assert [line.data for line in read_lines(stream)] == [b"{}", b"[]"]


# Making and asking


def transcript(*messages: dict[str, Any]) -> Transcript:
    return parse_transcript({"session_id": "s", "messages": list(messages)})


def chat_line(session_id: str, *messages: dict[str, Any]) -> str:
    return json.dumps({"session_id": session_id, "messages": messages}, ensure_ascii=False)


def assistant(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(call_id: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


@contextmanager
def closing_transport(url: str) -> Iterator[IngestionTransport]:
    transport = IngestionTransport(endpoint=url)
    try:
        yield transport
    finally:
        transport.close(0)


def import_text(
    url: str = "",
    text: str = "",
    *,
    transport: IngestionTransport | None = None,
    bad: list[tuple[int, str]] | None = None,
    **options: Any,
) -> ImportSummary:
    if transport is None:
        with closing_transport(url) as transport:
            return import_text(text=text, transport=transport, bad=bad, **options)
    reports = [] if bad is None else bad
    return import_lines(
        io.BytesIO(text.encode()),
        name="file.jsonl",
        transport=transport,
        on_bad_line=lambda number, reason: reports.append((number, reason)),
        **options,
    )


def import_file(url: str, path: Path) -> ImportSummary:
    with path.open("rb") as stream, closing_transport(url) as transport:
        return import_lines(
            stream,
            name=str(path),
            transport=transport,
            on_bad_line=lambda number, reason: pytest.fail(f"line {number}: {reason}"),
        )


def get(url: str) -> bytes:
    with build_opener(ProxyHandler({})).open(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def ask(url: str, path: str, **query: object) -> Iterator[dict[str, Any]]:
    while True:
        page = json.loads(get(f"{url}/api/v1/{path}?{urlencode(query)}"))
        yield from page["items"]
        if page["next"] is None:
            return
        query["after"] = page["next"]


def export(url: str, app: str, session_id: str) -> list[dict[str, Any]]:
    return list(ask(url, "events", app=app, session_id=session_id))


def figures(url: str) -> dict[str, tuple[int, int]]:
    """Model calls and tool calls of each session, as the session list has them."""
    return {s["session_id"]: (s["llm_calls"], s["tool_calls"]) for s in ask(url, "sessions")}


@contextmanager
def refusing_endpoint(*, silent: bool = False) -> Iterator[tuple[str, threading.Event]]:
    """Answer 422 to everything; a silent one answers only once its event is set."""
    speak = threading.Event()
    if not silent:
        speak.set()

    class Refuse(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            speak.wait(30)
            self.send_response(422)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{endpoint.server_port}", speak
        finally:
            speak.set()
            endpoint.shutdown()
            thread.join()
