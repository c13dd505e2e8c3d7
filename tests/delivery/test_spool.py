"""A directory of segments: what is made when, who adopts what, and where it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sessionbat._delivery import spool as spool_module
from sessionbat._delivery.spool import Spool, SpoolFullError, open_spool, spool_root
from sessionbat._settings import Destination

ABOUT = {"endpoint": "http://127.0.0.1:1/", "app": "test-app"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool"


@pytest.fixture
def spool(directory: Path) -> Spool:
    return Spool(directory, ABOUT)


def body(number: int) -> bytes:
    return b'{"id":"%d"}\n' % number


def leave_behind(directory: Path, numbers: range) -> None:
    """Write segments of one event each, as processes that have ended."""
    for number in numbers:
        spool = Spool(directory, ABOUT)
        spool.append(body(number), 1)
        spool.close()


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.segment"))


def test_nothing_is_made_before_something_is_written(spool: Spool, tmp_path: Path) -> None:
    assert spool.adopt() is None
    assert not spool.has_orphans()
    assert list(tmp_path.iterdir()) == []


def test_two_processes_that_write_first_at_the_same_moment_both_can(
    spool: Spool, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chmod = Path.chmod
    other = Spool(directory, ABOUT)

    def interrupted(path: Path, mode: int) -> None:
        if "about" in path.name and not segments(directory):
            monkeypatch.setattr(Path, "chmod", chmod)
            other.append(body(2), 1)
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", interrupted)
    spool.append(body(1), 1)
    assert len(segments(directory)) == 2
    assert json.loads((directory / "about.json").read_text()) == ABOUT
    assert list(directory.glob(".*")) == []


def test_the_directory_and_its_files_are_this_users_only(spool: Spool, directory: Path) -> None:
    before = os.umask(0)
    try:
        spool.append(body(1), 1)
    finally:
        os.umask(before)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


def test_a_directory_that_others_could_read_is_closed_to_them(
    spool: Spool, directory: Path
) -> None:
    directory.mkdir(parents=True, mode=0o755)
    spool.append(body(1), 1)
    assert directory.stat().st_mode & 0o777 == 0o700


def test_the_directory_says_what_it_is_for_and_never_the_key(tmp_path: Path) -> None:
    destination = Destination("https://example.com/events", "sbat_ingest_secret")
    spool = open_spool(destination, "test-app", str(tmp_path))
    assert spool is not None
    spool.append(body(1), 1)
    about = json.loads((spool.directory / "about.json").read_text())
    assert about == {"endpoint": "https://example.com/events", "app": "test-app"}
    assert all(b"secret" not in path.read_bytes() for path in spool.directory.iterdir())
    assert "secret" not in str(spool.directory)


def test_a_note_that_the_disk_did_not_take_is_written_when_it_does(
    spool: Spool, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *args: object, **named: object) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OSError):
            spool.append(body(1), 1)
    spool.append(body(1), 1)
    assert json.loads((directory / "about.json").read_text()) == ABOUT


@pytest.mark.parametrize("obstacle", ["spool", "state"])
def test_a_file_where_the_directory_should_be_is_an_error(
    spool: Spool, tmp_path: Path, obstacle: str
) -> None:
    place = tmp_path / "state" / "spool" if obstacle == "spool" else tmp_path / "state"
    place.parent.mkdir(exist_ok=True)
    place.write_text("in the way")
    with pytest.raises(OSError):
        spool.append(body(1), 1)
    assert spool.adopt() is None
    assert not spool.has_orphans()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_not_written_to(spool: Spool, directory: Path) -> None:
    directory.mkdir(parents=True)
    os.chown(directory, 12345, 12345)
    with pytest.raises(PermissionError):
        spool.append(body(1), 1)


def test_a_directory_removed_meanwhile_is_made_again(spool: Spool, directory: Path) -> None:
    spool.append(body(1), 1)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    extent = spool.append(body(2), 1)
    assert extent.segment.path.exists()
    spool.close()
    orphan = Spool(directory, ABOUT).adopt()
    assert orphan is not None
    assert [record.body for record in orphan.records()] == [body(2)]


def test_a_segment_that_is_long_enough_is_followed_by_another(
    spool: Spool, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "MAX_SEGMENT_BYTES", 200)
    for number in range(20):
        spool.append(body(number), 1)
    assert 3 <= len(segments(directory)) <= 7


def test_no_more_than_the_cap_is_kept(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "MAX_SEGMENT_BYTES", 200)
    spool = Spool(directory, ABOUT, max_bytes=1000)
    with pytest.raises(SpoolFullError):
        for number in range(1000):
            spool.append(body(number), 1)
    assert sum(path.stat().st_size for path in segments(directory)) < 1300
    oldest = spool.oldest()
    assert oldest is not None
    assert oldest.path == segments(directory)[0]
    spool.discard(oldest)
    spool.append(body(1), 1)


def test_the_cap_counts_what_other_processes_keep(directory: Path) -> None:
    leave_behind(directory, range(5))
    with pytest.raises(SpoolFullError):
        Spool(directory, ABOUT, max_bytes=100).append(body(9), 1)


def test_a_segment_goes_with_the_last_record_that_is_needed(spool: Spool, directory: Path) -> None:
    extents = [spool.append(body(number), 1) for number in range(3)]
    spool.release(extents[1:])
    assert len(segments(directory)) == 1
    spool.release(extents[:1])
    assert segments(directory) == []
    spool.append(body(4), 1)
    assert len(segments(directory)) == 1


def test_a_release_that_the_disk_refuses_raises_nothing(spool: Spool, directory: Path) -> None:
    extent = spool.append(body(1), 1)
    directory.rename(directory.with_name("moved"))
    directory.write_text("in the way")
    spool.release([extent])


def test_orphans_are_adopted_oldest_first_and_never_ones_own(directory: Path) -> None:
    leave_behind(directory, range(3))
    spool = Spool(directory, ABOUT)
    spool.append(body(99), 1)
    assert spool.has_orphans()
    found = []
    while (segment := spool.adopt()) is not None:
        found += [record.body for record in segment.records()]
    assert found == [body(0), body(1), body(2)]
    assert not spool.has_orphans()


def test_foreign_files_beside_the_segments_are_left_alone(spool: Spool, directory: Path) -> None:
    spool.append(body(1), 1)
    for name in ("notes.txt", ".hidden.segment", "segment"):
        (directory / name).write_text("mine")
    assert spool.adopt() is None
    assert not spool.has_orphans()
    assert (directory / "notes.txt").read_text() == "mine"


def test_segments_are_adopted_from_dead_processes_only(
    directory: Path,
) -> None:
    code = (
        "import sys; from pathlib import Path; from sessionbat._delivery.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]), {}); spool.append(b'{}\\n', 1)\n"
        "print('written', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"written\n"
    spool = Spool(directory, ABOUT)
    assert spool.adopt() is None
    holder.kill()
    holder.communicate()
    assert spool.adopt() is not None


def test_two_processes_that_adopt_at_once_get_each_segment_once(directory: Path) -> None:
    leave_behind(directory, range(150))
    code = (
        "import sys; from pathlib import Path; from sessionbat._delivery.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]), {}); print('ready', flush=True); sys.stdin.readline()\n"
        "while (segment := spool.adopt()) is not None:\n"
        "    print(*[record.body.decode() for record in segment.records()], end='')\n"
        "    spool.discard(segment)\n"
    )
    adopters = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for adopter in adopters:
        assert adopter.stdout is not None
        adopter.stdout.readline()
    for adopter in adopters:
        assert adopter.stdin is not None
        adopter.stdin.write(b"\n")
        adopter.stdin.flush()
    found = [line for a in adopters for line in a.communicate()[0].splitlines(keepends=True)]
    assert sorted(found) == sorted(body(number) for number in range(150))
    assert segments(directory) == []


def test_a_segment_expires_after_seven_days_without_a_write(directory: Path) -> None:
    leave_behind(directory, range(1))
    day = 24 * 3600
    early = Spool(directory, ABOUT, clock=lambda: time.time() + 6.9 * day)
    segment = early.adopt()
    assert segment is not None
    assert not early.expired(segment)
    assert Spool(directory, ABOUT, clock=lambda: time.time() + 7.1 * day).expired(segment)


def test_closing_leaves_everything_for_the_next(spool: Spool, directory: Path) -> None:
    spool.append(body(1), 1)
    spool.close()
    orphan = Spool(directory, ABOUT).adopt()
    assert orphan is not None
    assert [record.body for record in orphan.records()] == [body(1)]


def test_a_child_begins_with_segments_of_its_own(spool: Spool, directory: Path) -> None:
    spool.append(body(1), 1)
    child = os.fork()
    if not child:
        spool._lock.acquire()  # as a thread of the parent might hold it at the fork
        spool.abandon_in_child()
        spool.append(body(2), 1)
        os._exit(len(segments(directory)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    spool.append(body(3), 1)
    assert Spool(directory, ABOUT).adopt() is not None, "what the child left"
    assert Spool(directory, ABOUT).adopt() is None, "the parent's own"


def test_the_place_is_as_given_else_the_users_state_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/user")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert spool_root() == Path("/home/user/.local/state/sessionbat/spool")
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert spool_root() == Path("/home/user/.local/state/sessionbat/spool")
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert spool_root() == Path("/var/state/sessionbat/spool")
    assert spool_root("/given") == Path("/given")


def test_processes_share_a_spool_by_endpoint_and_with_a_key_by_app(tmp_path: Path) -> None:
    def place(endpoint: str, key: str | None, app: str) -> Path:
        spool = open_spool(Destination(endpoint, key), app, str(tmp_path))
        assert spool is not None
        return spool.directory

    assert place("http://a/", None, "one") == place("http://a/", None, "two")
    assert place("http://a/", "key", "one") != place("http://a/", "key", "two")
    assert place("http://a/", "key", "one") == place("http://a/", "another key", "one")
    assert place("http://a/", None, "one") != place("http://b/", None, "one")
