"""The command that backs a store up."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionbat.cli import run
from sessionbat.server.store.opening import open_store
from sessionbat.server.store.sqlite import backup
from tests.server.store.filled import received, refusal, sessions_in
from tests.server.wire import event


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
