"""The commands on a store: backup, restore, export, delete, retention, rebuild."""

from __future__ import annotations

import gzip
import io
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionbat.cli import run
from sessionbat.errors import StoreError
from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.opening import Store, copies_beside, open_store, restore
from sessionbat.server.store.sqlite import backup
from tests.server.wire import Wire, event

#: Received after anything that a test calls an event's time: 2096.
LATER_US = 4_000_000_000_000_000


STORES = Path(__file__).parent / "sqlite" / "stores"
NOW = datetime(2026, 11, 27, 12, 30, tzinfo=UTC)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory with a store of five sessions, as ``sessionbat.db``."""
    monkeypatch.chdir(tmp_path)
    fill("sessionbat.db", *(conversation(n) for n in range(5)))
    return tmp_path


def conversation(number: int, user: str | None = None, **changes: Any) -> list[dict[str, Any]]:
    """Make a session of three events, on the number-th day of November 2026."""
    return [
        event(
            f"e{number}-{n}",
            session_id=f"s{number}",
            created_at=f"2026-11-{number + 1:02}T10:00:0{n}Z",
            context={"user_id": user or f"user{number}"},
            observation__input=f"question{number}",
            **changes,
        )
        for n in range(3)
    ]


def fill(path: str | Path, *sessions: list[dict[str, Any]]) -> None:
    store = open_store(f"sqlite:///{path}")
    store.append([received(each) for session in sessions for each in session])
    store.rebuild()  # all is searchable then
    store.close()


def received(event: dict[str, Any]) -> ReceivedEvent:
    return ReceivedEvent(json.dumps(event).encode(), event, LATER_US)


def sessions_in(path: str | Path) -> list[str]:
    store = open_store(f"sqlite:///{path}")
    try:
        return sorted(session.session_id for session in store.list_sessions().items)
    finally:
        store.close()


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that cannot work; give its one line."""
    assert run(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


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


# backup


def test_a_backup_is_a_store_with_everything_in_it(here: Path) -> None:
    assert run(["backup", "copy.db"]) == 0
    assert sorted(path.name for path in here.iterdir()) == ["copy.db", "sessionbat.db"]
    assert sessions_in("copy.db") == ["s0", "s1", "s2", "s3", "s4"]


def test_a_backup_holds_what_is_only_in_the_log_yet(here: Path) -> None:
    store = open_store("sqlite:///sessionbat.db")
    store.append([received(event("late", session_id="late"))])
    assert run(["backup", "copy.db"]) == 0
    store.close()
    assert "late" in sessions_in("copy.db")


@pytest.mark.usefixtures("here")
def test_a_file_that_is_there_is_overwritten_only_by_force(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("copy.db").write_text("mine")
    assert "[file-exists]" in refusal(capsys, "backup", "copy.db")
    assert Path("copy.db").read_text() == "mine"
    assert run(["backup", "copy.db", "--force"]) == 0
    assert len(sessions_in("copy.db")) == 5


@pytest.mark.usefixtures("here")
def test_a_store_is_not_backed_up_over_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert "[file-exists]" in refusal(capsys, "backup", "sessionbat.db", "--force")
    assert len(sessions_in("sessionbat.db")) == 5


def test_a_backup_that_cannot_be_written_leaves_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "[cannot-write]" in refusal(capsys, "backup", "nowhere/copy.db")
    assert [path.name for path in here.iterdir()] == ["sessionbat.db"]


def test_a_backup_that_is_interrupted_leaves_nothing(here: Path) -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup.back_up(
            here / "sessionbat.db", here / "copy.db", overwrite=False, on_progress=interrupt
        )
    assert [path.name for path in here.iterdir()] == ["sessionbat.db"]


def test_a_backup_can_be_read_by_those_who_can_read_the_store(here: Path) -> None:
    (here / "sessionbat.db").chmod(0o600)
    run(["backup", "copy.db"])
    assert (here / "copy.db").stat().st_mode & 0o777 == 0o600


def test_a_new_store_can_be_read_by_its_owner_alone(here: Path) -> None:
    store = open_store("sqlite:///new.db")
    store.append([])
    assert {path.stat().st_mode & 0o777 for path in here.glob("new.db*")} == {0o600}
    store.close()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_store_that_is_there_keeps_its_rights_and_so_do_those_that_replace_it(
    here: Path, mode: int
) -> None:
    def modes() -> set[int]:
        return {path.stat().st_mode & 0o777 for path in here.glob("*.db*")}

    (here / "sessionbat.db").chmod(mode)
    assert run(["backup", "copy.db"]) == 0
    assert modes() == {mode}
    (here / "copy.db").chmod(0o600)
    assert run(["restore", "copy.db"]) == 0
    assert (here / "sessionbat.db").stat().st_mode & 0o777 == mode
    open_store("sqlite:///sessionbat.db").close()
    assert (here / "sessionbat.db").stat().st_mode & 0o777 == mode


# restore


def test_a_restored_store_is_what_it_was(here: Path) -> None:
    run(["backup", "copy.db"])
    fill("sessionbat.db", conversation(5))
    assert run(["restore", "copy.db"]) == 0
    assert sessions_in("sessionbat.db") == ["s0", "s1", "s2", "s3", "s4"]
    (kept,) = here.glob("sessionbat.db.replaced-*.backup")
    assert "s5" in sessions_in(kept)


def test_a_log_that_was_left_is_kept_with_its_file_and_not_met_by_the_restored(here: Path) -> None:
    run(["backup", "copy.db"])
    killed = (
        "import os; from sessionbat.server.store.opening import open_store as o;"
        "from sessionbat.server.records import ReceivedEvent as R; import json;"
        "s = o('sqlite:///sessionbat.db'); e = json.loads(input());"
        "s.append([R(json.dumps(e).encode(), e, 0)]); os._exit(0)"
    )
    late = json.dumps(event("late", session_id="late"))
    subprocess.run([sys.executable, "-c", killed], input=late, text=True, check=True)
    assert Path("sessionbat.db-wal").stat().st_size
    kept = restore("sqlite:///sessionbat.db", Path("copy.db"), now=NOW)
    assert kept == Path("sessionbat.db.replaced-20261127T123000Z.backup")
    assert "late" not in sessions_in("sessionbat.db")
    assert "late" in sessions_in(kept)


def test_a_store_that_is_gone_is_restored(here: Path) -> None:
    run(["backup", "copy.db"])
    (here / "sessionbat.db").unlink()
    assert restore("sqlite:///sessionbat.db", here / "copy.db", now=NOW) is None
    assert len(sessions_in("sessionbat.db")) == 5


def test_a_damaged_store_is_replaced(here: Path) -> None:
    run(["backup", "copy.db"])
    whole = (here / "sessionbat.db").read_bytes()
    (here / "sessionbat.db").write_bytes(b"x" * len(whole))
    (here / "sessionbat.db-wal").write_bytes(b"its log")
    assert run(["restore", "copy.db"]) == 0
    assert not (here / "sessionbat.db-wal").exists()
    (log,) = here.glob("sessionbat.db.replaced-*.backup-wal")
    assert log.read_bytes() == b"its log"
    assert len(sessions_in("sessionbat.db")) == 5


def test_a_backup_of_an_earlier_schema_is_restored_and_upgraded_later(here: Path) -> None:
    (here / "old.db").write_bytes(gzip.decompress((STORES / "schema-1.db.gz").read_bytes()))
    assert run(["restore", "old.db"]) == 0
    assert sessions_in("sessionbat.db") == ["s1", "s2"]


@pytest.mark.parametrize(
    ("spoil", "slug"),
    [
        (lambda whole: b"notes", "not-a-store"),
        (lambda whole: b"", "no-store"),
        (lambda whole: whole[: len(whole) // 2], "damaged-copy"),
        (lambda whole: whole[:60] + b"\0\0\0\x63" + whole[64:], "newer-store"),
        (lambda whole: whole[:30_000] + b"\xff" * 9000 + whole[39_000:], "damaged-copy"),
    ],
)
def test_what_is_no_whole_store_is_not_restored(
    spoil: Callable[[bytes], bytes], slug: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["backup", "copy.db"])
    capsys.readouterr()
    (here / "copy.db").write_bytes(spoil((here / "copy.db").read_bytes()))
    assert f"[{slug}]" in refusal(capsys, "restore", "copy.db")
    assert len(sessions_in("sessionbat.db")) == 5
    assert sorted(path.name for path in here.iterdir()) == ["copy.db", "sessionbat.db"]


@pytest.mark.parametrize("command", [["restore", "copy.db"], ["rebuild"]])
def test_what_a_server_uses_is_not_taken_from_it(
    command: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["backup", "copy.db"])
    capsys.readouterr()
    using = (
        "from sessionbat.server.store.opening import open_store;"
        "s = open_store('sqlite:///sessionbat.db'); print('open', flush=True); input(); s.close()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", using], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert "[store-in-use]" in refusal(capsys, *command)
        process.communicate("\n", timeout=20)
    assert run(command) == 0


def test_a_server_that_starts_during_a_restore_has_the_restored_file(here: Path) -> None:
    (here / "copy.db").write_bytes((here / "sessionbat.db").read_bytes())
    starting = (
        "from sessionbat.server.store.opening import open_store; print('started', flush=True);"
        "s = open_store('sqlite:///sessionbat.db'); import os;"
        "print(os.stat('sessionbat.db').st_ino in"
        " {os.stat(f'/proc/self/fd/{f}').st_ino for f in os.listdir('/proc/self/fd')"
        "  if os.path.exists(f'/proc/self/fd/{f}')}); s.close()"
    )
    with backup.alone(here / "sessionbat.db"):
        process = subprocess.Popen(
            [sys.executable, "-c", starting], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(0.5)  # it waits for the lock
        except subprocess.TimeoutExpired:
            (here / "copy.db").replace(here / "sessionbat.db")
    out, _ = process.communicate(timeout=20)
    assert out == "True\n"


# export


def exported(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    capsys.readouterr()
    assert run(["export", *options]) == 0
    return [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]


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


# delete


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


def all_items(store: Store) -> list[Any]:
    items, after = [], None
    while True:
        page = store.list_received(after=after)
        items += page.items
        after = page.next
        if after is None:
            return items


def test_copies_are_told_from_other_files(here: Path) -> None:
    run(["backup", "copy.db"])
    (here / "notes.txt").write_text("notes")
    sqlite3.connect(here / "other.db").execute("CREATE TABLE theirs (x)").connection.close()
    assert copies_beside("sqlite:///sessionbat.db") == [here / "copy.db"]


# retention


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


# rebuild


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


def test_what_cannot_be_locked_is_not_restored(here: Path) -> None:
    (here / "copy.db").write_bytes((here / "sessionbat.db").read_bytes())
    with (
        sqlite3.connect("sessionbat.db") as connection,
        pytest.raises(StoreError, match=r"\[store-in-use\]"),
    ):
        connection.execute("SELECT count(*) FROM events").fetchone()
        restore("sqlite:///sessionbat.db", Path("copy.db"), now=NOW)
    connection.close()
