"""The commands that change a store: delete, retention, rebuild."""

from __future__ import annotations

import io
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionbat.cli import run
from sessionbat.server.store.opening import copies_beside, open_store
from tests.server.store.filled import all_items, conversation, exported, fill, refusal, sessions_in
from tests.server.wire import event


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "command",
    [
        ["backup", "copy.db"],
        ["export"],
        ["delete", "--session", "s1", "--yes"],
        ["retention", "--max-age", "30d"],
        ["rebuild"],
    ],
)
def test_where_there_is_no_store_none_is_made(
    command: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, *command, "--store", "sqlite:///absent.db")
    assert re.search(r"no store at 'absent.db'.*\[no-store\]", line)
    assert [path.name for path in here.iterdir()] == ["sessionbat.db"]


def test_a_users_sessions_are_deleted_and_the_copies_named(here: Path, capfd: Any) -> None:
    run(["backup", "copy.db"])
    assert run(["delete", "--user", "user2", "--yes"]) == 0
    said = capfd.readouterr().out
    assert "Deleted 1 sessions with 3 events" in said
    assert str(here / "copy.db") in said
    assert sessions_in("sessionbat.db") == ["s0", "s1", "s3", "s4"]


@pytest.mark.usefixtures("here")
def test_a_session_is_deleted_in_the_app_that_is_named(capfd: Any) -> None:
    fill("sessionbat.db", conversation(1, app="other"))
    assert run(["delete", "--session", "s1", "--app", "other", "--yes"]) == 0
    assert "s1" in sessions_in("sessionbat.db")
    assert exported(capfd, "--app", "other") == []


@pytest.mark.usefixtures("here")
def test_delete_asks_first(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(["delete", "--session", "s1"]) == 130
    assert "1 sessions with 3 events for good?" in capfd.readouterr().err
    assert "s1" in sessions_in("sessionbat.db")


@pytest.mark.usefixtures("here")
def test_deleting_what_is_not_there_is_said() -> None:
    assert run(["delete", "--user", "nobody", "--yes"]) == 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("options", "slug"),
    [
        ([], "no-choice"),
        (["--user", "a", "--session", "b"], "no-choice"),
        (["--user", "u" * 201], "long-user"),
    ],
)
def test_delete_has_to_know_what(
    options: list[str], slug: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"[{slug}]" in refusal(capsys, "delete", "--yes", *options)


def test_no_word_of_a_deleted_session_is_left_in_any_file(here: Path) -> None:
    words = plant("sessionbat.db")
    serving = open_store("sqlite:///sessionbat.db")  # keeps the log
    assert all(word in raw_bytes(here) for word in words)
    assert run(["delete", "--user", "quokkauser", "--yes"]) == 0
    left = raw_bytes(here)
    assert [word for word in words if word in left] == []
    assert not any(b"zanzibarword" in item.raw for item in all_items(serving))
    serving.close()


def plant(path: str) -> list[str]:
    """Store sessions of many users, and among them one of unique words; give these."""
    words = [
        *("zanzibarword", "quokkasession", "quokkauser", "quokkaturn", "quokkaname", "quokkaid"),
        *("quokkatag", "quokkaerror", "quokkamodel"),
    ]
    planted = [
        event(
            f"quokkaid{n}",
            type="tool" if n % 2 else "llm",
            session_id="quokkasession",
            interaction_id=f"quokkaturn{n}",
            tags=["quokkatag"],
            context={"user_id": "quokkauser"},
            observation__input=[{"role": "user", "content": f"zanzibarword {m}"} for m in range(6)],
            observation__name=f"quokkaname{n}",
            observation__error={"type": f"quokkaerror{n}"},
            observation__metadata={"model": f"quokkamodel{n}"},
        )
        for n in range(40)
    ]
    many = [
        [
            {**each, "id": f"m{number}-{n}", "session_id": f"many{number}"}
            for n, each in enumerate(conversation(number % 28))
        ]
        for number in range(300)
    ]
    fill(path, *many[:150], planted[:20], *many[150:], planted[20:])
    return words


def raw_bytes(directory: Path) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in directory.iterdir())


def test_copies_are_told_from_other_files(here: Path) -> None:
    run(["backup", "copy.db"])
    (here / "notes.txt").write_text("notes")
    sqlite3.connect(here / "other.db").execute("CREATE TABLE theirs (x)").connection.close()
    assert copies_beside("sqlite:///sessionbat.db") == [here / "copy.db"]


@pytest.mark.usefixtures("here")
def test_retention_deletes_what_is_too_old_or_says_what_it_would(capfd: Any) -> None:
    age = (datetime.now(UTC) - datetime(2026, 11, 3, 12, tzinfo=UTC)) // timedelta(hours=1)
    said = lambda: capfd.readouterr().out  # noqa: E731
    assert run(["retention", "--max-age", f"{age}h", "--dry-run"]) == 0
    assert "Would delete about 3 sessions with 9 events" in said()
    assert len(sessions_in("sessionbat.db")) == 5
    assert run(["retention", "--max-age", f"{age}h"]) == 0
    assert "Deleted 3 sessions with 9 events" in said()
    assert sessions_in("sessionbat.db") == ["s3", "s4"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("options", "slug"),
    [([], "no-retention"), (["--max-size", "1KB"], "bad-max-size")],
)
def test_retention_has_to_know_what(
    options: list[str], slug: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"[{slug}]" in refusal(capsys, "retention", *options)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "options",
    [["--max-age", "30"], ["--max-age", "0d"], ["--max-size", "20"], ["--max-size", "1ib"]],
)
def test_a_quantity_that_cannot_be_read_is_refused(options: list[str], capfd: Any) -> None:
    assert run(["retention", *options]) == 2
    assert "write for example" in capfd.readouterr().err


@pytest.mark.usefixtures("here")
def test_rebuild_makes_anew_what_was_lost() -> None:
    with sqlite3.connect("sessionbat.db") as connection:
        connection.execute("UPDATE sessions SET observations = 7")
    connection.close()
    assert run(["rebuild"]) == 0
    store = open_store("sqlite:///sessionbat.db")
    assert {session.observations for session in store.list_sessions().items} == {3}
    assert store.search("question3").items
    store.close()
