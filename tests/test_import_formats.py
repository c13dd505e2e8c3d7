"""Files in the forms that people have: packed, encoded, laid out and spelt in many ways."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import pytest
import zstandard

from sessionbat._importing.bad import BadLine
from sessionbat._importing.forms import NAMES, tell_form
from sessionbat._importing.records import read_records, refuse_unread
from sessionbat._importing.transcripts import Step, parse_transcript
from sessionbat._importing.unpacking import unpack
from sessionbat.importing import ImportSummary, import_lines
from sessionbat.server.serving import running
from sessionbat.server.settings import Settings
from sessionbat.transports import IngestionTransport

QUESTION: Final = {"role": "user", "content": "Where is my parcel?"}
ANSWER: Final = {"role": "assistant", "content": "It is lost."}
CHAT: Final = {"session_id": "s", "messages": [QUESTION, ANSWER]}
LINES: Final = b"".join(
    json.dumps({**CHAT, "session_id": f"s{n}"}).encode() + b"\n" for n in range(3)
)

#: One conversation in each spelling: a question, a call of ``track`` that fails, an answer.
SPELLINGS: Final[dict[str, Any]] = {
    "chat": {
        "session_id": "s",
        "messages": [
            QUESTION,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {"name": "track", "arguments": '{"n": 7}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "no such parcel", "error": True},
            ANSWER,
        ],
    },
    "chat, function_call": {
        "session_id": "s",
        "messages": [
            QUESTION,
            {
                "role": "assistant",
                "content": None,
                "function_call": {"name": "track", "arguments": '{"n": 7}'},
            },
            {"role": "function", "name": "track", "content": "no such parcel", "status": "error"},
            ANSWER,
        ],
    },
    "anthropic": {
        "session_id": "s",
        "system": "Be brief.",
        "messages": [
            QUESTION,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                    {"type": "tool_use", "id": "c", "name": "track", "input": {"n": 7}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "c",
                        "content": [{"type": "text", "text": "no such parcel"}],
                        "is_error": True,
                    }
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": "It is lost."}]},
        ],
    },
    "responses": {
        "session_id": "s",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Where is my parcel?"}]},
            {"type": "reasoning", "id": "r", "summary": []},
            {"type": "function_call", "call_id": "c", "name": "track", "arguments": '{"n": 7}'},
            {
                "type": "function_call_output",
                "call_id": "c",
                "output": "no such parcel",
                "status": "failed",
            },
        ],
        "output": [
            {"type": "web_search_call", "status": "completed"},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "It is lost."}],
            },
        ],
    },
    "gemini": {
        "session_id": "s",
        "contents": [
            {"role": "user", "parts": [{"text": "Where is my parcel?"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "track", "args": {"n": 7}}}]},
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "name": "track",
                            "response": "no such parcel",
                            "error": True,
                        }
                    }
                ],
            },
        ],
        "candidates": [{"content": {"role": "model", "parts": [{"text": "It is lost."}]}}],
    },
    "bedrock": {
        "session_id": "s",
        "messages": [
            {"role": "user", "content": [{"text": "Where is my parcel?"}]},
            {
                "role": "assistant",
                "content": [{"toolUse": {"toolUseId": "c", "name": "track", "input": {"n": 7}}}],
            },
            {
                "role": "user",
                "content": [
                    {
                        "toolResult": {
                            "toolUseId": "c",
                            "content": [{"text": "no such parcel"}],
                            "status": "error",
                        }
                    }
                ],
            },
        ],
        "output": {"message": {"role": "assistant", "content": [{"text": "It is lost."}]}},
    },
    "langchain": {
        "session_id": "s",
        "messages": [
            {"type": "human", "data": {"content": "Where is my parcel?"}},
            {
                "type": "ai",
                "data": {
                    "content": "",
                    "tool_calls": [{"id": "c", "name": "track", "args": {"n": 7}}],
                },
            },
            {
                "type": "tool",
                "data": {"content": "no such parcel", "tool_call_id": "c", "status": "error"},
            },
            {"type": "ai", "data": {"content": "It is lost."}},
        ],
    },
    "langchain, dumpd": {
        "session_id": "s",
        "messages": [
            {"lc": 1, "type": "constructor", "id": ["l", name], "kwargs": kwargs}
            for name, kwargs in (
                ("HumanMessage", {"content": "Where is my parcel?"}),
                (
                    "AIMessage",
                    {"content": "", "tool_calls": [{"id": "c", "name": "track", "args": {"n": 7}}]},
                ),
                (
                    "ToolMessage",
                    {"content": "no such parcel", "tool_call_id": "c", "status": "error"},
                ),
                ("AIMessage", {"content": "It is lost."}),
            )
        ],
    },
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with running(Settings(port=0, store_url=f"sqlite:///{tmp_path / 'store.db'}")) as url:
        yield url


# Spellings


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_tells_the_same_story(spelling: str) -> None:
    steps = steps_of(SPELLINGS[spelling])
    assert [(s.kind, s.turn) for s in steps] == [("llm", 1), ("tool", 1), ("llm", 1)]
    tool = steps[1]
    assert (tool.name, tool.input, tool.output) == ("track", {"n": 7}, "no such parcel")
    assert tool.error == {"type": "ToolError", "message": "no such parcel"}
    assert len({step.id for step in steps}) == 3


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_form_is_told_by_the_first_record(spelling: str) -> None:
    assert tell_form(SPELLINGS[spelling]) == spelling.partition(",")[0]


def test_sharegpt_is_read() -> None:
    record = {
        "id": "s",
        "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}],
    }
    assert tell_form(record) == "sharegpt"
    assert [(s.kind, s.turn) for s in steps_of(record)] == [("llm", 1)]


def test_every_spelling_reads_well_on_the_server(server: str) -> None:
    text = "\n".join(
        json.dumps({**record, "session_id": name}) for name, record in SPELLINGS.items()
    )
    assert import_bytes(server, text.encode()).complete
    for name in SPELLINGS:
        (turn,) = get(f"{server}/session.json?{urlencode({'app': 'file', 'id': name})}")["turns"]
        assert (name, turn["asked"], turn["answered"]) == (
            name,
            "Where is my parcel?",
            "It is lost.",
        )


def test_what_a_tool_answers_is_no_turn_but_words_beside_it_are() -> None:
    result = {"type": "tool_result", "tool_use_id": "c", "content": "[]"}
    asks = {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f"}]}
    words = {"type": "text", "text": "And hurry"}

    def turns(*blocks: Any) -> list[int]:
        messages = [QUESTION, asks, {"role": "user", "content": list(blocks)}, ANSWER]
        return [s.turn for s in steps_of({"messages": messages}) if s.kind == "llm"]

    assert turns(result) == [1, 1]
    assert turns(result, {"type": "text", "text": " "}) == [1, 1]
    assert turns(result, words) == [1, 2]
    assert turns(words) == [1, 2]


@pytest.mark.parametrize("flag", [{"error": False}, {"is_error": False}, {"status": "success"}, {}])
def test_a_result_that_says_of_no_error_is_none(flag: dict[str, Any]) -> None:
    record = SPELLINGS["chat"]
    tool = {"role": "tool", "tool_call_id": "c", "content": "error: no such parcel", **flag}
    messages = [*record["messages"][:2], tool, ANSWER]
    assert steps_of({"messages": messages})[1].error is None


def test_usage_of_a_message_is_its_metrics_and_of_a_record_its_context() -> None:
    said = {**ANSWER, "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    record = {"id": "s", "messages": [QUESTION, said], "usage": {"x": 1}, "reward": 0.5}
    transcript = parse_transcript(record)
    assert next(transcript.steps()).metrics == {"input_tokens": 7, "output_tokens": 2}
    assert transcript.context == {"usage": {"x": 1}, "reward": 0.5}


def test_instructions_and_tools_are_the_input_of_the_calls_not_context() -> None:
    transcript = parse_transcript(SPELLINGS["anthropic"])
    assert next(transcript.steps()).input == {"system": "Be brief.", "messages": [QUESTION]}
    assert transcript.context == {}


def test_without_an_id_a_session_is_named_by_what_is_said_in_it() -> None:
    one, again = (parse_transcript({"messages": [QUESTION, ANSWER]}) for _ in range(2))
    other = parse_transcript([QUESTION, {**ANSWER, "content": "Found."}])
    assert one.session_id == again.session_id != other.session_id


# Times


def test_times_that_are_missing_stay_missing(server: str) -> None:
    import_bytes(server, json.dumps(SPELLINGS["chat"]).encode())
    (session,) = get(f"{server}/api/v1/sessions")["items"]
    assert session["times_known"] is False
    for event in get(f"{server}/api/v1/events?app=file&session_id=s")["items"]:
        observation = event["observation"]
        assert observation["metadata"]["times"] == "unknown"
        assert (observation["started_at"], observation["metrics"]) == (None, {})
    listed = open_page(f"{server}/sessions")
    page = open_page(f"{server}/session?app=file&id=s")
    for made_up in ("1 ms", "just now", "ago<", "<dt>started</dt>", "<dt>Started</dt>"):
        assert made_up not in listed and made_up not in page
    assert "no times recorded" in page


def test_times_of_a_transcript_are_the_times_of_its_events(server: str) -> None:
    messages = [
        {**QUESTION, "timestamp": "2026-03-01T10:00:00Z"},
        {**ANSWER, "timestamp": "2026-03-01T10:00:05+00:00"},
        {**QUESTION, "created_at": 1772359260},
        {**ANSWER, "created_at": 1772359263.5},
    ]
    import_bytes(server, json.dumps({"id": "s", "messages": messages}).encode())
    (session,) = get(f"{server}/api/v1/sessions")["items"]
    assert session["times_known"] is True
    assert session["first_at"] == "2026-03-01T10:00:05.000000Z"
    assert session["last_at"] == "2026-03-01T10:01:03.500000Z"
    assert "1 Mar 2026" in open_page(f"{server}/session?app=file&id=s")


def test_a_step_without_a_time_among_others_keeps_its_place_and_says_so() -> None:
    asks = {**SPELLINGS["chat"]["messages"][1], "timestamp": "2026-03-01T10:00:00Z"}
    last = {**ANSWER, "timestamp": "2026-03-01T09:00:00Z"}
    steps = steps_of({"messages": [QUESTION, asks, *SPELLINGS["chat"]["messages"][2:3], last]})
    times = [step.at for step in steps]
    assert None not in times and times == sorted(times, key=str)
    assert ["times" in step.metadata for step in steps] == [False, True, False]


def test_a_recorded_session_has_known_times(server: str) -> None:
    transport = IngestionTransport(endpoint=server)
    from sessionbat.client import SessionBat

    SessionBat(app="a", transport=transport).session(session_id="s").interaction().llm(output="x")
    transport.close(10)
    (session,) = get(f"{server}/api/v1/sessions")["items"]
    assert session["times_known"] is True


# Packing and encoding


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


PACKED: Final = {
    "plain": (LINES, []),
    "gzip": (gzip.compress(LINES), ["gzip"]),
    "gzip members in a row": (gzip.compress(LINES[:100]) + gzip.compress(LINES[100:]), ["gzip"]),
    "gzip, padded": (gzip.compress(LINES) + b"\0" * 512, ["gzip"]),
    "zstd": (zstd(LINES), ["zstd"]),
    "zstd frames in a row": (zstd(LINES[:100]) + zstd(LINES[100:]), ["zstd"]),
    "zstd of gzip": (zstd(gzip.compress(LINES)), ["zstd", "gzip"]),
    "UTF-8 with a mark": (b"\xef\xbb\xbf" + LINES, []),
    "UTF-16": (LINES.decode().encode("utf-16"), ["UTF-16"]),
    "UTF-16 big-endian": (b"\xfe\xff" + LINES.decode().encode("utf-16-be"), ["UTF-16"]),
    "UTF-16 without a mark": (LINES.decode().encode("utf-16-le"), ["UTF-16"]),
    "UTF-16 big-endian without a mark": (LINES.decode().encode("utf-16-be"), ["UTF-16"]),
    "UTF-16 in gzip": (gzip.compress(LINES.decode().encode("utf-16")), ["gzip", "UTF-16"]),
    "CRLF": (LINES.replace(b"\n", b"\r\n"), []),
    "no line break at the end": (LINES.rstrip(), []),
}


@pytest.mark.parametrize("packing", PACKED)
def test_however_it_is_packed_it_reads_the_same(packing: str) -> None:
    data, layers = PACKED[packing]
    read: list[int] = []
    unpacked = unpack(io.BytesIO(data), read.append)
    records = [json.loads(refuse_unread(record)) for record in read_records(unpacked.stream)]
    assert records == [json.loads(line) for line in LINES.splitlines()]
    assert (unpacked.layers, sum(read)) == (layers, len(data))


def test_the_form_and_the_packing_are_shown(server: str) -> None:
    shown: list[str] = []
    data = gzip.compress(json.dumps(SPELLINGS["anthropic"]).encode())
    summary = import_bytes(server, data, name="chats.jsonl.gz", on_form=shown.append)
    assert shown == [summary.reads_as] == ["Anthropic messages, gzip"]
    assert summary.app == "chats"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(LINES * 100)[:-20], "gzip: the file is cut off"),
        (gzip.compress(LINES) + b"rubbish", "gzip: something else follows"),
        (gzip.compress(LINES)[:-8] + b"\0" * 8, "gzip: the packed data is broken"),
        (zstd(LINES * 100)[:-9], "zstd: the file is cut off"),
        (zstd(LINES) + b"rubbish", "zstd: the packed data is broken"),
        (LINES.decode().encode("utf-16")[:-1], "UTF-16: the file ends in the middle"),
        (b"PK\3\4rest", "a zip archive: unpack it first"),
    ],
)
def test_a_damaged_file_says_what_is_wrong_once(server: str, data: bytes, reason: str) -> None:
    bad: list[tuple[int, str]] = []
    summary = import_bytes(server, data, bad=bad)
    (found,) = (words for _, words in bad)
    assert found.startswith(reason)
    assert not summary.complete


def test_what_comes_before_the_damage_is_kept(server: str) -> None:
    text = b"".join(
        json.dumps({"session_id": f"s{n}", "messages": [QUESTION, ANSWER], "x": n**n}).encode()
        + b"\n"
        for n in range(300)
    )
    bad: list[tuple[int, str]] = []
    summary = import_bytes(server, gzip.compress(text)[:-100], bad=bad)
    assert 200 < summary.sessions < 300
    assert bad == [(summary.sessions + 1, "gzip: the file is cut off")]


@pytest.mark.slow
@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_bomb_is_unpacked_in_bounded_memory(pack: Any) -> None:
    data = pack(b" " * 300_000_000)
    tracemalloc.start()
    stream = unpack(io.BytesIO(data)).stream
    assert sum(len(chunk) for chunk in iter(lambda: stream.read(65536), b"")) == 300_000_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 1024 * 1024


@pytest.mark.slow
def test_a_long_array_is_read_in_the_memory_of_a_record() -> None:
    one = json.dumps({**CHAT, "x": "y" * 10_000}).encode()
    data = gzip.compress(b"[" + b",".join([one] * 3000) + b"]")
    tracemalloc.start()
    records = read_records(unpack(io.BytesIO(data)).stream)
    assert sum(len(record.data or b"") for record in records) == 3000 * len(one)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


# Layout


def laid_out(text: str | bytes, **options: Any) -> list[Any]:
    """Read records: each decoded, or the line and reason of what is wrong."""
    found: list[Any] = []
    data = text if isinstance(text, bytes) else text.encode()
    for record in read_records(io.BytesIO(data), **options):
        try:
            found.append(json.loads(refuse_unread(record)))
        except (BadLine, ValueError) as problem:
            found.append((record.number, str(problem).partition(" (")[0]))
    return found


ONE: Final = {"a": {"b": ["}", '"', "\\", "]["]}, "c": []}
TWO: Final = {"d": 1.5}


@pytest.mark.parametrize(
    "text",
    [
        f"{json.dumps(ONE)}\n{json.dumps(TWO)}",
        f"\n\n{json.dumps(ONE)}\n\n{json.dumps(TWO)}\n\n",
        json.dumps([ONE, TWO]),
        json.dumps([ONE, TWO], indent=2),
        json.dumps([ONE, TWO], indent="\t"),
        json.dumps([ONE, TWO], indent=0),
        f"[{json.dumps(ONE)}]\n[{json.dumps(TWO)}]",
        f"{json.dumps(ONE, indent=2)}\n{json.dumps(TWO, indent=2)}\n",
        f"{json.dumps(ONE, indent=2)}\n\n{json.dumps(TWO)}\n",
        f"[\n{json.dumps(ONE)},\n{json.dumps(TWO)}\n]",
        f"[{json.dumps(ONE)}\n,\r\n{json.dumps(TWO)}\n]",
    ],
)
def test_records_are_found_in_every_layout(text: str) -> None:
    assert laid_out(text) == [ONE, TWO]


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_a_backslash_at_the_end_of_a_chunk_is_no_end_of_a_string(offset: int) -> None:
    before = 1024 * 1024 - len('[{"x": "') - 1 + offset
    value = [{"x": "y" * before + '"}{'}, TWO]
    assert json.dumps(value)[1024 * 1024 - 1 + offset] == "\\"
    assert laid_out(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[{"d": 1.5},]', [TWO, (1, "not JSON: a comma before the end of the array")]),
        (
            '[{"d": 1.5}\n{"d": 1.5}]',
            [TWO, (2, "not JSON: a comma is missing before this value"), TWO],
        ),
        ('[{"d": 1.5}', [TWO, (1, "not JSON: the array is not closed")]),
        (
            '[\n{"d": 1.5},\n{"d": }\n,{"d": 1.5}]',
            [TWO, (3, "Expecting value: line 1 column 7"), TWO],
        ),
        ('[1, {"d": 1.5}]', [(1, "not JSON: something stands between two values"), TWO]),
        (
            '{"d": 1.5}\n{"d": 1.5\n{"d": 1.5}',
            [TWO, (2, "Expecting ',' delimiter: line 1 column 10"), TWO],
        ),
    ],
)
def test_damage_costs_no_neighbour_and_has_its_place(text: str, found: list[Any]) -> None:
    assert laid_out(text) == found


def test_a_pretty_record_without_its_last_bracket_costs_no_neighbour() -> None:
    good = json.dumps(ONE, indent=2)
    found = laid_out(f"{good}\n{good[:-2]}\n{good}\n")
    assert found[0] == found[2] == ONE
    assert (len(found), found[1][0]) == (3, good.count("\n") + 2)


def test_a_record_over_the_limit_is_skipped_without_being_held() -> None:
    found = laid_out(json.dumps([TWO, {"x": ["y" * 3000]}, TWO]), max_bytes=1000)
    assert found == [TWO, (1, "longer than 32 MiB"), TWO]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([CHAT, {**CHAT, "session_id": "t"}]),
        json.dumps([[QUESTION, ANSWER], [QUESTION, ANSWER, QUESTION, ANSWER]]),
        json.dumps([QUESTION, ANSWER]) + "\n" + json.dumps([QUESTION, ANSWER, QUESTION, ANSWER]),
        json.dumps({"sessions": [CHAT, {**CHAT, "session_id": "t"}]}),
        json.dumps({"conversations": [CHAT, {**CHAT, "session_id": "t"}]}, indent=1),
        json.dumps({"data": [[QUESTION, ANSWER], [QUESTION, ANSWER, QUESTION, ANSWER]]}),
    ],
)
def test_two_sessions_are_two_however_they_are_wrapped(server: str, text: str) -> None:
    for _ in range(2):
        summary = import_bytes(server, text.encode())
        assert (summary.complete, summary.sessions) == (True, 2)
    assert len(get(f"{server}/api/v1/sessions")["items"]) == 2


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_of_messages_is_one_session(server: str, indent: int | None) -> None:
    summary = import_bytes(server, json.dumps([QUESTION, ANSWER], indent=indent).encode())
    assert (summary.complete, summary.sessions, summary.lines) == (True, 1, 1)


def test_our_own_export_comes_back_in_every_layout(server: str, tmp_path: Path) -> None:
    import_bytes(server, json.dumps(SPELLINGS["chat"]).encode())
    exported = get(f"{server}/api/v1/events?app=file&session_id=s")
    lines = "\n".join(map(json.dumps, exported["items"])).encode()
    for n, data in enumerate(
        [gzip.compress(lines), zstd(lines), json.dumps(exported, indent=1).encode()]
    ):
        url = f"sqlite:///{tmp_path / f'{n}.db'}"
        with running(Settings(port=0, store_url=url)) as other:
            summary = import_bytes(other, data)
            assert summary.form == "events" or summary.reads_as.startswith(NAMES["events"])
            assert get(f"{other}/api/v1/events?app=file&session_id=s") == exported


def test_forms_may_be_mixed_in_one_file(server: str) -> None:
    bad: list[tuple[int, str]] = []
    records = [SPELLINGS["anthropic"], SPELLINGS["gemini"], {"x": 1}, CHAT]
    text = "\n".join(
        json.dumps({**record, "session_id": f"s{n}"}) for n, record in enumerate(records)
    )
    summary = import_bytes(server, text.encode(), bad=bad)
    assert summary.sessions == 3
    assert bad == [(3, "neither an event nor a transcript")]


# Making and asking


def steps_of(record: Any) -> list[Step]:
    return list(parse_transcript(record).steps())


def import_bytes(
    url: str,
    data: bytes,
    *,
    name: str = "file.jsonl",
    bad: list[tuple[int, str]] | None = None,
    **options: Any,
) -> ImportSummary:
    reports = [] if bad is None else bad
    transport = IngestionTransport(endpoint=url)
    try:
        return import_lines(
            io.BytesIO(data),
            name=name,
            transport=transport,
            on_bad_line=lambda number, reason: reports.append((number, reason)),
            **options,
        )
    finally:
        transport.close(0)


def open_page(url: str) -> str:
    with build_opener(ProxyHandler({})).open(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body.decode()


def get(url: str) -> Any:
    return json.loads(open_page(url))
