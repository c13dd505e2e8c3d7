"""The command that exports events, byte for byte and filtered."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionbat.cli import run
from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.opening import open_store
from tests.server.store.filled import LATER_US, conversation, exported, fill, refusal
from tests.server.wire import Wire, event


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ([], ["e1-0", "e1-1", "e1-2", "f-0", "f-1", "f-2", "t"]),
        (["--app", "other"], ["f-0", "f-1", "f-2"]),
        (["--session", "s1"], ["e1-0", "e1-1", "e1-2"]),
        (["--user", "ann"], ["e1-0", "e1-1", "e1-2"]),
        (["--kind", "tool"], ["t"]),
        (["--error"], ["t"]),
        (["--no-error", "--app", "other"], ["f-0", "f-1", "f-2"]),
        (["--from", "2026-11-02T10:00:01Z", "--to", "2026-11-02T10:00:02Z"], ["e1-1"]),
        (["--app", "nobody"], []),
    ],
)
def test_an_export_holds_what_is_asked_for(
    options: list[str], ids: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    first = conversation(1, user="ann")
    first[1]["context"] = {}  # its session has the user all the same
    others = [
        {**each, "id": f"f-{n}", "app": "other", "session_id": "s9"}
        for n, each in enumerate(conversation(8))
    ]
    tool = event("t", type="tool", session_id="s7", observation__error={"type": "Timeout"})
    fill("sessionbat.db", first, others, [tool])
    assert exported(capfd, *options) == ids


@pytest.mark.usefixtures("here")
def test_an_exported_event_is_one_line_with_the_bytes_that_were_received(capfd: Any) -> None:
    given = event("spaced", session_id="spaced")
    raw = json.dumps(given, indent=1).replace("\n", "\r\n").encode()
    store = open_store("sqlite:///sessionbat.db")
    store.append([ReceivedEvent(raw, given, LATER_US)])
    store.close()
    assert run(["export", "--session", "spaced"]) == 0
    assert capfd.readouterr().out.encode() == raw.replace(b"\r\n", b"  ") + b"\n"


def test_what_is_exported_and_imported_is_exported_the_same(
    here: Path, start_server: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["export", "--output", "first.jsonl.gz"]) == 0
    events = gzip.decompress(Path("first.jsonl.gz").read_bytes())
    Path("first.jsonl").write_bytes(events)
    wire = start_server(store_url=f"sqlite:///{here / 'second.db'}")
    assert run(["import", "first.jsonl", "--format", "events", "--endpoint", wire.url]) == 0
    assert run(["export", "--store", "sqlite:///second.db", "--output", "second.jsonl"]) == 0
    again = Path("second.jsonl").read_bytes()
    assert sorted(again.splitlines()) == sorted(events.splitlines())
    assert len(events.splitlines()) == 15


@pytest.mark.usefixtures("here")
def test_an_export_overwrites_only_by_force(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out.jsonl").write_text("mine")
    assert "[file-exists]" in refusal(capsys, "export", "--output", "out.jsonl")
    assert Path("out.jsonl").read_text() == "mine"
    assert run(["export", "--output", "out.jsonl", "--force"]) == 0
    assert len(Path("out.jsonl").read_text().splitlines()) == 15
