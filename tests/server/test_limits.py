"""The limits of `docs/limits.md` that no other test tries at the limit itself and one beyond it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sessionbat.errors import ConfigurationError
from sessionbat.event import MAX_NAME_CHARACTERS
from sessionbat.server import serving
from sessionbat.server.access import access_check, login
from sessionbat.server.access.keys import new_key
from sessionbat.server.ingest.body import Body, Decoded, decode_body
from sessionbat.server.ingest.value_limits import MAX_VALUES
from sessionbat.server.pages import session_page, sessions_page
from sessionbat.server.pages.view.budget import ON_A_PAGE
from sessionbat.server.read_api import endpoints
from sessionbat.server.read_api.read_operations import MAX_LIMIT, MAX_SPANS
from sessionbat.server.reading import figures
from sessionbat.server.reading.json_values import MAX_EVENT_VALUES, MAX_SHOWN_VALUES
from sessionbat.server.reading.values import Values
from sessionbat.server.records import EventFilter, ReceivedEvent, StoredEvent
from sessionbat.server.settings import MAX_ROOT_PATH_CHARACTERS, Settings
from sessionbat.server.store.query_terms import MAX_TERMS, parse_query
from sessionbat.server.store.questions import EventsQuery, Question, SearchQuery, SessionsQuery
from sessionbat.server.store.sqlite import export, rollups
from sessionbat.server.store.sqlite.event_rows import EventRow
from sessionbat.server.store.sqlite.store import SqliteStore
from sessionbat.server.web.connection_limits import BYTES_A_PIECE, MAX_HEADERS, MAX_PIECES
from sessionbat.server.web.parameters import MAX_NUMBER
from sessionbat.server.web.refusal import Refused
from tests.conftest import eventually
from tests.server.web.test_robustness import (
    GET,
    POST,
    answered,
    connect,
    ended,
    is_closed,
    read_answer,
)
from tests.server.wire import Wire, event

API = "/api/v1"
DEFAULTS = Settings()


def decode(data: bytes, *, is_ndjson: bool) -> Decoded:
    return decode_body(
        Body(data, "identity", decode_body),
        is_ndjson=is_ndjson,
        max_bytes=DEFAULTS.max_body_bytes,
        max_events=DEFAULTS.max_body_events,
        received_at_us=0,
    )


# One body

FORMS: dict[str, tuple[Callable[[int], bytes], bool]] = {
    "lines": (lambda events: b"1\n" * events, True),
    "lines without a last end": (lambda events: b"\n".join([b"1"] * events), True),
    "lines between blank ones": (lambda events: b"1\r\n\r\n" * events, True),
    "an array": (lambda events: b"[" + b",".join([b"1"] * events) + b"]", False),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_body_of_as_many_events_as_may_be_is_read_and_of_one_more_is_not(form: str) -> None:
    make, is_ndjson = FORMS[form]
    most = DEFAULTS.max_body_events
    assert len(decode(make(most), is_ndjson=is_ndjson).rejected) == most
    with pytest.raises(Refused) as refused:
        decode(make(most + 1), is_ndjson=is_ndjson)
    assert (refused.value.status, refused.value.slug) == (413, "too-many-events")


def test_a_body_of_blank_lines_is_not_split() -> None:
    with pytest.raises(Refused, match="holds more than"):
        decode(b"\n" * DEFAULTS.max_body_bytes, is_ndjson=True)


def with_values(count: int, id: str = "e1") -> bytes:
    """Make an event in which there are so many values, as they are counted."""
    text = json.dumps(event(id, observation__input=[0])).encode()
    missing = count - sum(text.count(sign) for sign in b",[{")
    return text.replace(b"[0]", b"[0" + b",0" * missing + b"]")


def test_an_event_of_as_many_values_as_may_be_is_taken_and_of_one_more_is_not() -> None:
    body = with_values(MAX_EVENT_VALUES) + b"\n" + with_values(MAX_EVENT_VALUES + 1, "e2")
    decoded = decode(body, is_ndjson=True)
    assert [json.loads(received.raw)["id"] for received in decoded.events] == ["e1"]
    assert [(each.slug, each.at) for each in decoded.rejected] == [("too-many-values", "events[1]")]


def test_a_body_of_as_many_values_as_may_be_is_taken_and_of_one_more_is_not() -> None:
    parts = [with_values(MAX_VALUES // 8, f"e{n}") for n in range(7)]
    whole = [*parts, with_values(MAX_VALUES // 8, "last")]
    assert len(decode(b"\n".join(whole), is_ndjson=True).events) == 8
    # The commas between the events of an array count; of lines they are counted beside them.
    more = [*parts, with_values(MAX_VALUES // 8 + 1, "last")]
    with pytest.raises(Refused) as refused:
        decode(b"\n".join(more), is_ndjson=True)
    assert (refused.value.status, refused.value.slug) == (413, "too-many-values")


def in_single_bytes(pieces: int) -> bytes:
    """Make a request that stores an event, whose body comes in so many chunks of a byte."""
    data = json.dumps(event("e1")).encode()
    data += b" " * (pieces - len(data))
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in data)
    return POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def test_a_body_in_as_many_pieces_as_may_be_is_read_and_in_one_more_is_not(server: Wire) -> None:
    most = MAX_PIECES
    while most < MAX_PIECES + most // BYTES_A_PIECE:
        most += 1
    assert answered(server, in_single_bytes(most))[0] == 202
    with connect(server) as connection:
        connection.sendall(in_single_bytes(most + 1))
        assert is_closed(connection)
    assert ended(server, "tiny-chunks") == 1


# One request


def test_a_request_of_as_many_headers_as_may_be_is_answered_and_of_one_more_is_not(
    standing_server: Wire,
) -> None:
    own = GET.count(b"\r\n") - 2
    flood = b"".join(b"X-%d: 1\r\n" % n for n in range(MAX_HEADERS - own))
    assert answered(standing_server, GET[:-2] + flood + b"\r\n")[0] == 200
    more = GET[:-2] + flood + b"X-More: 1\r\n\r\n"
    assert answered(standing_server, more) == (431, "head-too-large")


def test_a_head_as_long_as_may_be_is_answered_and_one_byte_more_is_not(
    standing_server: Wire,
) -> None:
    # Counted are the address and the headers, neither the method nor the version.
    rest = len(GET) - len(b"GET  HTTP/1.1\r\n") - len(b"\r\n")
    longest = b"x" * (DEFAULTS.max_head_bytes - rest - len(b"X-A: \r\n"))
    assert answered(standing_server, GET[:-2] + b"X-A: " + longest + b"\r\n\r\n")[0] == 200
    more = GET[:-2] + b"X-A: x" + longest + b"\r\n\r\n"
    assert answered(standing_server, more) == (431, "head-too-large")


# One login


@pytest.mark.parametrize(("more", "status"), [(0, 403), (1, 413)])
def test_a_form_as_long_as_may_be_is_read_and_one_byte_more_is_not(
    server: Wire, make_key: Callable[..., str], more: int, status: int
) -> None:
    make_key("read")
    body = "key=" + "x" * (login._MAX_FORM_BYTES - len("key=") + more)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert server.request("POST", "/login", body, form).status == status


@pytest.mark.parametrize(("more", "is_kept"), [(0, True), (1, False)])
def test_an_address_as_long_as_may_be_outlives_the_login_and_a_longer_one_does_not(
    server: Wire, make_key: Callable[..., str], more: int, is_kept: bool
) -> None:
    make_key("read")
    address = "/sessions?after="
    address += "a" * (access_check._MAX_NEXT_CHARACTERS - len(address) + more)
    connection = http.client.HTTPConnection(*server.address, timeout=20)
    connection.request("GET", address, headers={"Accept": "text/html"})
    location = connection.getresponse().headers["Location"]
    connection.close()
    following = parse_qs(urlsplit(location).query).get("next")
    assert following == ([address] if is_kept else None)


# One question


@pytest.mark.parametrize(
    ("what", "asked"),
    [
        ("sessions", {}),
        ("events", {"app": "support-bot", "session_id": "thread_1"}),
        ("search", {"q": "word"}),
    ],
)
def test_a_page_of_as_many_items_as_may_be_is_given_and_of_one_more_is_not(
    server: Wire, what: str, asked: dict[str, str]
) -> None:
    server.send(event("e1"))
    assert server.get(f"{API}/{what}", limit=MAX_LIMIT, **asked).status == 200
    answer = server.get(f"{API}/{what}", limit=MAX_LIMIT + 1, **asked)
    assert (answer.status, answer.slug) == (400, "bad-limit")


@pytest.mark.parametrize("by", ["hour", "day"])
def test_statistics_of_as_many_spans_as_may_be_are_given_and_of_one_more_are_not(
    standing_server: Wire, by: str
) -> None:
    def ask(spans: int) -> Any:
        start = datetime(2020, 1, 1, tzinfo=UTC)
        end = start + spans * timedelta(**{f"{by}s": 1})
        times = {"from": start.isoformat(), "to": end.isoformat()}
        return standing_server.get(f"{API}/statistics", by=by, **times)

    assert ask(MAX_SPANS).status == 200
    answer = ask(MAX_SPANS + 1)
    assert (answer.status, answer.slug) == (400, "too-many-spans")


@pytest.mark.parametrize("parameter", ["min_tokens", "max_cost_usd", "min_latency_ms"])
def test_a_number_as_large_as_may_be_is_asked_for_and_a_larger_one_is_not(
    standing_server: Wire, parameter: str
) -> None:
    assert standing_server.get(f"{API}/sessions", **{parameter: MAX_NUMBER}).status == 200
    answer = standing_server.get(f"{API}/sessions", **{parameter: MAX_NUMBER + 1})
    assert (answer.status, answer.slug) == (400, "bad-parameter")


def test_as_many_words_as_may_be_are_searched_for_and_the_next_is_not() -> None:
    words = [f"w{n}" for n in range(MAX_TERMS + 1)]
    assert [term.words for term in parse_query(" ".join(words[:-1]))] == words[:-1]
    assert [term.words for term in parse_query(" ".join(words))] == words[:-1]


# What is stored of one event


def labels_of(**changes: Any) -> list[tuple[str, str]]:
    read = figures.read(event(**changes), 0, ("user_id",))
    return sorted(read.own_labels | read.shared_labels)


def test_an_event_is_filed_by_as_many_tags_as_may_be_and_not_by_the_next() -> None:
    def tags(count: int) -> int:
        labels = labels_of(tags=[f"tag-{n:03}" for n in range(count)])
        return sum(name == "tag" for name, _ in labels)

    assert tags(figures._MAX_LABELS) == figures._MAX_LABELS
    assert tags(figures._MAX_LABELS + 1) == figures._MAX_LABELS


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("tag", lambda text: {"tags": [text]}),
        ("user_id", lambda text: {"context": {"user_id": text}}),
        ("model", lambda text: {"observation__metadata": {"model": text}}),
        ("tool", lambda text: {"type": "tool", "observation__name": text}),
        ("error_type", lambda text: {"observation__error": {"type": text}}),
    ],
)
def test_a_label_as_long_as_may_be_is_kept_and_a_longer_one_cut(
    name: str, make: Callable[[str], dict[str, Any]]
) -> None:
    longest = "x" * figures.MAX_LABEL_CHARACTERS
    for text in (longest, longest + "y"):
        labels = {kind.removeprefix("context."): value for kind, value in labels_of(**make(text))}
        assert labels[name] == longest


def test_a_name_as_long_as_may_be_is_stored_and_a_longer_one_is_rejected(server: Wire) -> None:
    longest = "s" * MAX_NAME_CHARACTERS
    assert server.send(event("e1", session_id=longest)).status == 202
    answer = server.send([event("e2", session_id=longest + "s"), event("e3")])
    assert [each["at"] for each in answer.json["rejected"]] == ["events[0].session_id"]
    assert [each["session_id"] for each in server.get(f"{API}/sessions").json["items"]] == [
        "thread_1",
        longest,
    ]


def test_a_list_of_sessions_with_the_longest_names_is_small(server: Wire) -> None:
    longest = "é" * (MAX_NAME_CHARACTERS - 4)
    server.send_lines(*(event("e1", session_id=f"{n:04}{longest}") for n in range(1000)))
    body = server.get(f"{API}/sessions", limit=MAX_LIMIT).body
    assert len(json.loads(body)["items"]) == MAX_LIMIT
    assert len(body) < 5_000_000


# One server


def test_a_root_path_as_long_as_may_be_is_taken_and_a_longer_one_is_not() -> None:
    longest = "/" + "b" * (MAX_ROOT_PATH_CHARACTERS - 1)
    assert Settings(root_path=longest).root_path == longest
    with pytest.raises(ConfigurationError, match=r"\[bad-root-path\]"):
        Settings(root_path=longest + "b")


def test_a_key_is_made_for_an_app_of_the_longest_name_and_for_no_longer_one() -> None:
    assert new_key("read", "a" * MAX_NAME_CHARACTERS, "")[1].app is not None
    with pytest.raises(ConfigurationError, match=r"\[key-app\]"):
        new_key("read", "a" * (MAX_NAME_CHARACTERS + 1), "")


# At once


@pytest.mark.parametrize(
    ("address", "asked", "most"),
    [
        (f"{API}/sessions", SessionsQuery, endpoints._AT_ONCE),
        (f"{API}/search?q=word", SearchQuery, endpoints._SEARCHES_AT_ONCE),
        ("/sessions", SessionsQuery, sessions_page._LISTS_AT_ONCE),
        ("/session?app=support-bot&id=thread_1", EventsQuery, session_page._SESSIONS_AT_ONCE),
    ],
)
def test_so_many_answers_of_a_kind_are_made_at_once(
    server: Wire, monkeypatch: pytest.MonkeyPatch, address: str, asked: type, most: int
) -> None:
    server.send(event("e1"))
    lock, released, seen = threading.Lock(), threading.Event(), [0, 0]  # now, at most
    ask = SqliteStore.ask

    def wait(store: SqliteStore, question: Question[Any]) -> Any:
        if not isinstance(question, asked):
            return ask(store, question)
        with lock:
            seen[0] += 1
            seen[1] = max(seen)
        assert released.wait(60)
        with lock:
            seen[0] -= 1
        return ask(store, question)

    monkeypatch.setattr(SqliteStore, "ask", wait)
    with ThreadPoolExecutor(most + 3) as pool:
        answers = [pool.submit(server.request, "GET", address) for _ in range(most + 3)]
        try:
            eventually(lambda: seen[0] == most)
            for _ in range(5):  # the others have reached the server as well
                assert server.get("/healthz").status == 200
            assert seen == [most, most]
        finally:
            released.set()
        assert {answer.result().status for answer in answers} == {200}
    assert seen == [0, most]


def test_a_connection_between_requests_is_kept_so_long_and_no_longer(
    start_server: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_KEEP_ALIVE", 1)
    with connect(start_server()) as connection:
        file = connection.makefile("rb")
        for _ in range(3):
            connection.sendall(GET)
            assert read_answer(file)[0] == 200
        answered_at = time.monotonic()
        assert is_closed(connection)
        assert time.monotonic() - answered_at > 0.9


# One page


@pytest.mark.parametrize(("more", "is_whole"), [(0, True), (1, False)])
def test_a_page_shows_as_many_values_of_an_event_as_may_be_and_counts_one_more(
    more: int, is_whole: bool
) -> None:
    stored = StoredEvent("e1", with_values(MAX_SHOWN_VALUES + more))
    shown = Values(ON_A_PAGE.page_values, ON_A_PAGE.event_values).read(stored)
    assert (shown == stored.event) == is_whole
    assert is_whole or str(shown["observation"]["input"][-1]).endswith(" more")


def test_a_page_of_an_export_looks_at_so_many_events_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "WINDOW", 5)
    store = SqliteStore(str(tmp_path / "store.db"))
    names = ["wanted", *["other"] * 9, "wanted"]
    events = [event(f"e{n}", session_id=name) for n, name in enumerate(names)]
    store.append([ReceivedEvent(json.dumps(each).encode(), each, 0) for each in events])
    listed, after = [], None
    while True:
        page = store.list_received(EventFilter(session_id="wanted"), after=after)
        listed.append([stored.id for stored in page.items])
        after = page.next
        if after is None:
            break
    store.close()
    assert listed == [["e0"], [], ["e10"]]


def test_a_step_of_statistics_changes_so_many_rollups_and_leaves_the_next_event() -> None:
    most = rollups._MAX_DIFFERENT
    alike = [_figures(0, "model") for _ in range(1000)]
    different = [_figures(n, f"model-{n}") for n in range(1, most)]
    assert rollups._gather([*alike, *different], most).taken == 1000 + most - 1
    one_more = [*alike, *different, _figures(most, "one more"), *alike]
    assert rollups._gather(one_more, most).taken == 1000 + most - 1


def _figures(number: int, model: str) -> EventRow:
    return EventRow(
        id=number, app=1, event_id=f"e{number}", session=1, interaction=None, at_us=0,
        received_at_us=0, kind="llm", name=None, model=model, failed=False, latency_ms=1,
        input_tokens=1, output_tokens=1, cost_usd=None, error_type=None, estimated_usd=None,
    )  # fmt: skip
