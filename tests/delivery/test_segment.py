"""A file of the spool: what it gives back after damage, and who may have it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionbat._delivery import segment as segment_module
from sessionbat._delivery.record import MARKER, Record
from sessionbat._delivery.segment import Segment
from sessionbat._delivery.trust import UntrustedError


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    return Segment.create(tmp_path)


def body(*names: str) -> bytes:
    return b"".join(b'{"id":"%s"}\n' % name.encode() for name in names)


def whole(records: list[Record]) -> list[bytes]:
    return [record.body for record in records if record.events]


def damaged(records: list[Record]) -> int:
    return sum(not record.events for record in records)


def read_again(path: Path) -> list[Record]:
    """Read a file as another process would after its owner is gone."""
    adopted = Segment.adopt(path)
    assert adopted is not None
    records = list(adopted.records())
    adopted.close()
    return records


@given(st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=6))
def test_what_was_appended_is_read_back_in_order(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]
) -> None:
    segment = Segment.create(tmp_path_factory.mktemp("spool"))
    extents = [segment.append(one, 1) for one in bodies]
    assert [extent.read() for extent in extents] == bodies
    segment.close()
    records = read_again(segment.path)
    assert (whole(records), damaged(records)) == (bodies, 0)


def test_a_large_record_takes_less_on_disk_than_its_events(segment: Segment) -> None:
    segment.append(body("a") * 10_000, 10_000)
    assert segment.path.stat().st_size < 20_000


def test_a_file_torn_at_any_byte_gives_every_record_before_the_tear(segment: Segment) -> None:
    bodies = [body("a"), body("b", "c"), body("d") * 60]
    ends = [extent.offset + extent.length for extent in (segment.append(b, 1) for b in bodies)]
    segment.close()
    data = segment.path.read_bytes()
    for length in range(len(data)):
        segment.path.write_bytes(data[:length])
        records = read_again(segment.path)
        assert whole(records) == bodies[: sum(end <= length for end in ends)]
        assert damaged(records) == (length not in (0, *ends))


def test_a_flipped_bit_costs_the_record_that_holds_it_and_no_other(segment: Segment) -> None:
    first, second, third = body("a"), body("b"), body("c")
    segment.append(first, 1)
    extent = segment.append(second, 1)
    segment.append(third, 1)
    segment.close()
    data = segment.path.read_bytes()
    for bit in range(extent.offset * 8, (extent.offset + extent.length) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        segment.path.write_bytes(broken)
        records = read_again(segment.path)
        assert (whole(records), damaged(records)) == ([first, third], 1)


def test_a_zeroed_page_is_one_damaged_stretch(segment: Segment) -> None:
    bodies = [os.urandom(300).hex().encode() for _ in range(40)]
    extents = [segment.append(one, 1) for one in bodies]
    segment.close()
    data = bytearray(segment.path.read_bytes())
    data[4096:8192] = bytes(4096)
    segment.path.write_bytes(data)
    hit = [e.offset < 8192 and e.offset + e.length > 4096 for e in extents]
    records = read_again(segment.path)
    assert whole(records) == [b for b, was_hit in zip(bodies, hit, strict=True) if not was_hit]
    assert damaged(records) == 1


@pytest.mark.parametrize("content", [b"not ours", b"SBt1" * 500, os.urandom(5000), bytes(9000)])
def test_a_foreign_file_gives_no_event(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "1-foreign.segment"
    path.write_bytes(content)
    records = read_again(path)
    assert (whole(records), damaged(records)) == ([], 1)


def test_events_that_hold_the_marker_do_not_confuse_the_reader(segment: Segment) -> None:
    tricky = MARKER * 3 + b'{"id":"a"}\n'
    segment.append(tricky, 1)
    segment.append(body("b"), 1)
    segment.close()
    data = bytearray(segment.path.read_bytes())
    data[0] ^= 1
    segment.path.write_bytes(data)
    assert whole(read_again(segment.path)) == [body("b")]


def test_reading_a_damaged_place_says_so(segment: Segment) -> None:
    extent = segment.append(body("a"), 1)
    os.pwrite(segment._descriptor, b"!", extent.length - 1)
    with pytest.raises(OSError, match="damaged"):
        extent.read()


def test_nobody_else_gets_a_segment_before_its_owner_lets_go(segment: Segment) -> None:
    segment.append(body("a"), 1)
    assert Segment.adopt(segment.path) is None
    segment.close()
    adopted = Segment.adopt(segment.path)
    assert adopted is not None
    assert Segment.adopt(segment.path) is None


def test_a_new_segment_is_locked_before_anybody_can_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    lock = fcntl.flock

    def look_then_lock(descriptor: int, how: int) -> None:
        seen.append([path.name for path in tmp_path.glob("[!.]*")])
        lock(descriptor, how)

    monkeypatch.setattr(segment_module.fcntl, "flock", look_then_lock)
    Segment.create(tmp_path)
    assert seen == [[]]


def test_a_file_that_its_owner_removed_while_we_opened_it_is_not_adopted(
    segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment.append(body("a"), 1)
    lock = fcntl.flock

    def remove_then_lock(descriptor: int, how: int) -> None:
        segment.remove()
        lock(descriptor, how)

    monkeypatch.setattr(segment_module.fcntl, "flock", remove_then_lock)
    assert Segment.adopt(segment.path) is None


def test_a_child_that_lets_go_leaves_the_lock_with_its_parent(segment: Segment) -> None:
    segment.append(body("a"), 1)
    child = os.fork()
    if not child:
        segment.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert Segment.adopt(segment.path) is None


@pytest.mark.parametrize("kind", ["symlink", "directory"])
def test_only_regular_files_are_adopted(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "1-odd.segment"
    if kind == "symlink":
        (tmp_path / "elsewhere").write_bytes(b"precious")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.mkdir()
    with pytest.raises(UntrustedError):
        Segment.adopt(path)
    assert Segment.read_only(path) is None


def test_a_file_that_has_just_gone_is_not_adopted(tmp_path: Path) -> None:
    assert Segment.adopt(tmp_path / "1-gone.segment") is None


def test_only_this_user_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        segment = Segment.create(tmp_path)
    finally:
        os.umask(before)
    assert segment.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("written", [0, 7, "error"])
def test_a_write_that_fails_halfway_is_taken_back(
    segment: Segment, monkeypatch: pytest.MonkeyPatch, written: int | str
) -> None:
    segment.append(body("a"), 1)
    size = segment.path.stat().st_size
    pwrite = os.pwrite

    def half(descriptor: int, data: bytes, offset: int) -> int:
        if written == "error":
            pwrite(descriptor, data[:9], offset)
            raise OSError(28, "No space left on device")
        return pwrite(descriptor, data[: int(written)], offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", half)
        with pytest.raises(OSError):
            segment.append(body("b"), 1)
    assert segment.path.stat().st_size == size
    segment.append(body("c"), 1)
    assert whole(list(segment.records())) == [body("a"), body("c")]


def test_removing_deletes_the_file_and_lets_go(segment: Segment) -> None:
    segment.append(body("a"), 1)
    segment.remove()
    assert not segment.path.exists()
    segment.remove()
