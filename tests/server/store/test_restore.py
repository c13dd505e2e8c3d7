"""The command that restores a store: from a whole backup only, and never under a server."""

from __future__ import annotations

import gzip
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionbat.cli import run
from sessionbat.errors import StoreError
from sessionbat.server.store.opening import restore
from sessionbat.server.store.sqlite import backup
from tests.server.store.filled import NOW, STORES, conversation, fill, refusal, sessions_in
from tests.server.wire import event


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
def test_commands_that_need_the_store_alone_refuse_one_in_use(
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


def test_a_store_that_cannot_be_locked_is_not_restored(here: Path) -> None:
    (here / "copy.db").write_bytes((here / "sessionbat.db").read_bytes())
    with (
        sqlite3.connect("sessionbat.db") as connection,
        pytest.raises(StoreError, match=r"\[store-in-use\]"),
    ):
        connection.execute("SELECT count(*) FROM events").fetchone()
        restore("sqlite:///sessionbat.db", Path("copy.db"), now=NOW)
    connection.close()
