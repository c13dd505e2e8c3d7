"""Notes of what is done with: what survives damage, and that nothing is ever left out by them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionbat._delivery.progress import Progress
from sessionbat._delivery.segment import Part, Segment
from sessionbat._delivery.spool import Spool

OFFSET, CHECKSUM, EVENTS = 17, 0xBEEF, 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "1-a.segment"


def body(*numbers: int) -> bytes:
    return b"".join(b'{"id":"%d"}\n' % number for number in numbers)


def noted(path: Path, rows: list[tuple[int, int]]) -> Path:
    progress = Progress(path)
    for first, count in rows:
        progress.note(OFFSET, CHECKSUM, first, count)
    progress.close()
    return progress.path


def done(path: Path) -> set[int]:
    return Progress(path).done(OFFSET, CHECKSUM, EVENTS)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 300)), max_size=20))
def test_the_next_owner_reads_the_notes_of_the_one_before(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("spool") / "1-a.segment"
    noted(path, rows)
    expected = {n for first, count in rows for n in range(first, first + count) if n < EVENTS}
    assert done(path) == expected


def test_nothing_is_written_before_something_is_noted(path: Path) -> None:
    assert done(path) == set()
    Progress(path).close()
    assert not path.with_suffix(".done").exists()


def test_notes_torn_at_any_byte_are_those_before_the_tear_and_go_on(path: Path) -> None:
    file = noted(path, [(0, 1), (1, 1), (2, 1)])
    data = file.read_bytes()
    for length in range(len(data) + 1):
        file.write_bytes(data[:length])
        whole = set(range(length * 3 // len(data)))
        assert done(path) == whole
        noted(path, [(9, 1)])
        assert done(path) == whole | {9}


def test_a_flipped_bit_in_a_note_leaves_out_no_event(path: Path) -> None:
    file = noted(path, [(0, 2), (5, 2)])
    data = file.read_bytes()
    for bit in range(len(data) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        file.write_bytes(broken)
        assert done(path) in ({0, 1}, {5, 6})


@pytest.mark.parametrize("content", [bytes(4096), b"\xff" * 160, b"not ours", os.urandom(999)])
def test_a_foreign_file_in_place_of_notes_leaves_out_no_event(path: Path, content: bytes) -> None:
    path.with_suffix(".done").write_bytes(content)
    assert done(path) == set()


def test_notes_of_another_record_at_the_same_place_are_none(path: Path) -> None:
    noted(path, [(0, 1000)])
    assert Progress(path).done(OFFSET, CHECKSUM + 1, EVENTS) == set()
    assert Progress(path).done(OFFSET + 1, CHECKSUM, EVENTS) == set()


@pytest.mark.parametrize("obstacle", ["directory", "symlink", "pipe"])
def test_what_is_no_file_holds_no_notes_and_takes_none(path: Path, obstacle: str) -> None:
    place = path.with_suffix(".done")
    precious = path.with_name("precious")
    precious.write_bytes(b"mine")
    if obstacle == "directory":
        place.mkdir()
    elif obstacle == "symlink":
        place.symlink_to(precious)
    else:
        os.mkfifo(place)
    noted(path, [(0, 1)])
    assert done(path) == set()
    assert precious.read_bytes() == b"mine"


def test_notes_that_others_may_write_are_not_believed(path: Path) -> None:
    noted(path, [(0, 1000)]).chmod(0o622)
    assert done(path) == set()


def test_notes_are_this_users_only(path: Path) -> None:
    before = os.umask(0)
    try:
        file = noted(path, [(0, 1)])
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_costs_a_note_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Progress(path)
    progress.note(OFFSET, CHECKSUM, 0, 1)

    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        progress.note(OFFSET, CHECKSUM, 1, 1)
    progress.note(OFFSET, CHECKSUM, 2, 1)
    assert done(path) == {0, 2}


def left(directory: Path) -> int:
    segment = Spool(directory, {}).adopt()
    assert segment is not None
    waiting = segment.waiting()
    segment.close()
    return waiting


def test_records_that_are_released_are_not_waiting_for_the_next(tmp_path: Path) -> None:
    spool = Spool(tmp_path, {})
    extents = [spool.append(body(n, n + 1), 2) for n in range(10)]
    spool.release(extents[:4])
    spool.note_done([Part(extents[5], 1, 1)])
    spool.close()
    assert left(tmp_path) == 11


def test_notes_go_with_their_segment(tmp_path: Path) -> None:
    spool = Spool(tmp_path, {})
    extents = [spool.append(body(n), 1) for n in range(3)]
    spool.release(extents[:2])
    assert list(tmp_path.glob("*.done"))
    spool.release(extents[2:])
    assert [path.name for path in tmp_path.iterdir()] == ["about.json"]


def test_notes_whose_segment_an_older_version_deleted_are_tidied_away(tmp_path: Path) -> None:
    spool = Spool(tmp_path, {})
    extents = [spool.append(body(n), 1) for n in range(2)]
    spool.release(extents[:1])
    spool.close()
    extents[0].segment.path.unlink()
    assert Spool(tmp_path, {}).adopt() is None
    assert not list(tmp_path.glob("*.done"))


def test_a_segment_of_an_earlier_version_has_no_notes_and_waits_whole(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path)
    segment.append(body(*range(50)), 50)
    segment.close()
    assert left(tmp_path) == 50
