"""Key names are found in JSON inside a text, also where one parser or the other gives up."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from sessionbat._masking import json_text
from tests.masking.recorded import EMAIL, masked_input, record

SECRET: dict[str, Any] = {"password": "hunter2"}
PLAIN = json.dumps(SECRET)

HIDDEN = {
    "NaN": json.dumps({**SECRET, "score": float("nan")}),
    "infinity": json.dumps({**SECRET, "score": float("-inf")}),
    "an integer of 400 digits": json.dumps({**SECRET, "n": 10**400}),
    "an integer of 5,000 digits": f'{{"n": {"9" * 5000}, "password": "hunter2"}}',
    "a float of many digits": f'{{"n": 1e{"9" * 400}, "password": "hunter2"}}',
    "an escaped lone surrogate": json.dumps({**SECRET, "x": "\ud800"}),
    "a lone surrogate": json.dumps({**SECRET, "x": "\ud800"}, ensure_ascii=False),
    "1,100 levels": '{"password": "hunter2", "x": ' + "[" * 1100 + "]" * 1100 + "}",
    "100,000 levels": '{"password": "hunter2", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "a byte order mark": "\ufeff" + PLAIN,
    "a space that JSON does not know": "\u00a0" + PLAIN + "\u2028",
    "dumped twice": json.dumps(PLAIN),
    "dumped three times": json.dumps(json.dumps(PLAIN)),
    "dumped twice inside an object": json.dumps({"body": json.dumps(PLAIN)}),
    "a key that stands there twice": '{"password": "hunter2", "password": null}',
    "an owner that stands there twice": '{"a": {"password": "hunter2"}, "a": 1}',
    "an owner twice, oddly spaced": '{"a"\t: {"password": "hunter2"}, "a"\n: 1}',
    "an escaped key": '{"pass\\u0077ord": "hunter2"}',
    "an escaped key in what is no JSON": '{"pass\\u0077ord": "hunter2"',
    "cut short behind the value": '{"password": "hunter2"',
    "cut short within the value": '{"city": "Oslo", "password": "hunter2',
    "two documents": PLAIN + "\n" + PLAIN,
    "an array without its end": "[" + PLAIN,
    "a trailing comma": '{"password": "hunter2",}',
    "a comment": '{"password": "hunter2" // the old one\n}',
    "single quotes": str(SECRET),
    "a repr of a list": str([1, SECRET]),
    "keys without quotes": "{password: 'hunter2'}",
    "a control character": '{"password": "hunter2", "x": "a\x01"}',
    "a fence of Markdown": f"```json\n{PLAIN}\n```",
    "an event stream": f"event: message\ndata: {PLAIN}\n\n",
    "words in front": f"The account is {PLAIN}.",
    "words in front, escaped once more": f"The account is {json.dumps(PLAIN)}.",
    "words in front of a nested value": 'Found {"password": {"old": "hunter2"}} there',
    "words in front, no end": 'Found {"password": "hunter2',
    "an escaped quote in the value": 'Found {"password": "a\\"hunter2"}',
}


@pytest.mark.parametrize("way", HIDDEN)
def test_a_named_value_is_removed_however_it_is_written(way: str) -> None:
    client, [event] = record(["password"], input=HIDDEN[way])
    assert "hunter2" not in json.dumps(event, ensure_ascii=False)
    assert client.stats().mended == {}


@pytest.mark.parametrize("way", HIDDEN)
def test_a_name_that_is_not_there_changes_nothing(way: str) -> None:
    text = HIDDEN[way]
    left = masked_input(["passport"], text)
    if way.startswith(
        ("a key that", "an owner")
    ):  # what is shadowed goes all the same: nobody reads it
        assert json.loads(left) == json.loads(text)
    else:
        assert left == text.replace("\ud800", "�")


def test_what_is_around_a_named_value_in_a_sentence_stays() -> None:
    text = 'Found {"id": 7, "password": "x", "plan": "free"} and {"password":1, "n": 2}.'
    assert masked_input(["password"], text) == (
        'Found {"id": 7, "password":[masked], "plan": "free"} and {"password":[masked], "n": 2}.'
    )


@pytest.mark.parametrize(
    "text",
    ['"Reset the password: click here", she said', "[INFO] all is well", "a: b", '"', "''", ":"],
)
def test_speech_and_logs_are_left_alone(text: str) -> None:
    assert masked_input(["password"], text) == text


def test_what_a_repeated_key_shadows_is_not_sent_for_a_pattern_either() -> None:
    text = '{"to": "ada\\u0040example.com", "to": "nobody"}'
    assert "ada" not in masked_input([EMAIL], text)


def test_what_only_the_tolerant_parser_reads_is_still_json_for_it() -> None:
    text = json.dumps({**SECRET, "n": 10**400, "s": "\ud800"})
    masked = masked_input(["password"], text)
    assert json.loads(masked) == {"password": "[masked]", "n": 10**400, "s": "\ud800"}


@pytest.mark.parametrize(
    "unit",
    ['"password":', "\\\"'", '"', "'password' :", "{", "[1,", "password ", "a" * 50, '{"a":{"b":'],
)
def test_no_text_makes_the_scan_slow(unit: str) -> None:
    for begin in ("", "{"):
        text = begin + unit * (200_000 // len(unit))
        started = time.thread_time()
        masked_input(["password", "secret"], text)
        assert time.thread_time() - started < 3


@pytest.mark.parametrize(
    ("text", "shown"),
    [('{"a": 1, "b": {"c": 2}}', True), ('{"a": "\\": "}', True), ('{"a": 1, "a": 1}', False),
     ('[{"a" :1}, {"a":1}]', True), ('{"a": {"b": 1}, "a": 2}', False)],
)  # fmt: skip
def test_repeated_keys_are_noticed(text: str, shown: bool) -> None:
    assert json_text.shows_all(text, json.loads(text)) is shown
