"""Records are found however a file is laid out, and damage costs no neighbour."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Final

import pytest

from sessionbat._importing.forms import NAMES
from sessionbat.server.serving import running
from sessionbat.server.settings import Settings
from tests.importing.spellings import (
    ANSWER,
    CHAT,
    QUESTION,
    SPELLINGS,
    get,
    import_bytes,
    laid_out,
    zstd,
)

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
