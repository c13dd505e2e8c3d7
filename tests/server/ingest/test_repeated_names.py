"""A name that an event has twice is refused: what is checked is what is handed out."""

from __future__ import annotations

import json
import time

import orjson
import pytest

from sessionbat.server.ingest import repeated_names
from sessionbat.server.ingest.body import Body, decode_body
from sessionbat.server.ingest.repeated_names import find_repeated_name
from tests.server.wire import Wire, event


def find(text: str) -> str:
    return find_repeated_name(text.encode(), orjson.loads(text))


@pytest.mark.parametrize(
    "text, place",
    [
        ('{"app":"A","id":"e","app":"B"}', "app"),
        ('{"app":"A","\\u0061pp":"B"}', "app"),
        ('{"app":"A" , "app" : "A"}', "app"),
        ('{"x":[{"app":1}],"id":"a","unknown":1,"unknown":{},"id":"b"}', "id"),
        ('{"observation":{"kind":"llm","kind":"tool"}}', "observation.kind"),
        ('{"observation":{"kind":"llm"},"observation":{}}', "observation"),
        ('{"context":{"user_id":"a","user_id":"b"}}', "context.user_id"),
        ('{"observation":{"metrics":{"cost_usd":1,"cost_usd":2}}}', "observation.metrics.cost_usd"),
        ('{"observation":{"error":{"type":"a","type":"b"}}}', "observation.error.type"),
        (
            '{"observation":{"metadata":{"a":1.0e2,"a":' + "9" * 300 + "}}}",
            "observation.metadata.a",
        ),
    ],
)
def test_the_path_of_a_repeated_name_is_found(text: str, place: str) -> None:
    assert find(text.replace("1e400", "1e300")) == place


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"unknown":1,"unknown":2,"observation":{"unknown":1,"unknown":2}}',
        ' { "app" : "A" , "x" : "\\u00e9" } ',
        '{"app":"app","x":{"app":1},"y":"{\\"app\\":1,\\"app\\":2}"}',
        '{"a":1e5,"b":1.50,"c":-0,"d":[1.0E+2],"e":"\\/"}',
        '{"observation":{"input":[{"a":1,"a":2}],"kind":"llm","metrics":{"a":1.0e1}}}',
        '{"":1," ":2,"\\t":"\\u0000"}',
    ],
)
def test_an_event_without_one_is_taken_however_it_is_written(text: str) -> None:
    assert find(text) == ""


def test_an_event_with_its_app_twice_is_rejected_and_its_neighbour_is_not(server: Wire) -> None:
    twice = json.dumps(event("e1")).replace('"app":', '"app": "other", "app":').encode()
    answer = server.send(twice)
    assert (answer.status, answer.slug) == (422, "bad-event")
    assert answer.json["error"]["at"] == "events[0].app"
    answer = server.send(b"[%b, %b]" % (twice, json.dumps(event("e2")).encode()))
    assert (answer.json["accepted"], len(answer.json["rejected"])) == (1, 1)


def test_it_takes_little_time_whatever_is_in_an_event() -> None:
    blanks, objects = " " * 2_000_000, ",".join(["{}"] * 240_000)
    text = f'{{"x":"\\u00e9",{blanks}"observation":{{"input":[{objects}]}}{blanks}}}'
    raw = text.encode()
    decoded = orjson.loads(raw)
    started = time.thread_time()
    assert find_repeated_name(raw, decoded) == ""
    assert time.thread_time() - started < 1


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\t", " :")])
@pytest.mark.parametrize("app", [None, "support-bot"])
def test_an_event_in_the_usual_form_is_not_looked_through_with_or_without_its_app(
    separators: tuple[str, str], app: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: object) -> str:
        raise AssertionError("looked through")

    monkeypatch.setattr(repeated_names, "_look_into", look)
    given = event("e1")
    if app:
        del given["app"]
    text = json.dumps(given, separators=separators).encode()
    decoded = decode_body(
        Body(text, "identity", decode_body, app),
        is_ndjson=False,
        max_bytes=10_000,
        max_events=10,
        received_at_us=1,
    )
    assert [orjson.loads(each.raw)["app"] for each in decoded.events] == ["support-bot"]
    assert [each.event["app"] for each in decoded.events] == ["support-bot"]


@pytest.mark.parametrize(
    "text",
    [
        '{"app":"A","x":"\\u00e9: \\"y\\":"}',
        '{"x":[1.50000000,-0.10,1e5]}',
        '{"x":{"app":1.0},"app":"A"}',
        '{"x":"\\\\","y":1.0}',
        '{"x":"' + ":" * 600_000 + '\\/","y":[0.50]}',
    ],
)
def test_an_event_written_otherwise_is_not_looked_through_in_python(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: object) -> str:
        raise AssertionError("looked through")

    monkeypatch.setattr(repeated_names, "_look_into", look)
    assert find(text) == ""


@pytest.mark.parametrize("lost", ["1.0", '{"b":1.0}', '"a:b"', '[{"a":1.0}]'])
def test_a_name_lost_with_its_value_is_found_wherever_colons_stand(lost: str) -> None:
    assert find(f'{{"x":":::1.0","app":{lost},"app":{{"c":"::"}}}}') == "app"


@pytest.mark.parametrize("string", [r"\u003a", r"a\u003A", r"\\\u003a", r"\"\u003a\""])
def test_a_colon_that_is_written_as_an_escape_hides_no_repeated_name(string: str) -> None:
    assert find(f'{{"x":"{string}","app":"A","app":"B"}}') == "app"
