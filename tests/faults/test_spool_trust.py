"""What lies in the spool is believed only as far as this user's processes can have written it."""

from __future__ import annotations

import json
import logging
import os
import resource
import socket
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionbat import SessionBat
from sessionbat._delivery import record as record_module
from sessionbat._delivery.segment import MAX_FILE_BYTES, Segment
from sessionbat._delivery.spool import MAX_AGE_S, Spool, open_spool
from sessionbat._settings import Destination
from sessionbat.spooled import list_spools, read_events
from sessionbat.testing import Endpoint, single_events_only
from tests.conftest import eventually

NewClient = Callable[..., SessionBat]
NAME = "00000000000000000001-aaaaaaaa.segment"
NOBODY = 65534
PLAIN, DEFLATED = 0, 1

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@pytest.fixture
def directory(endpoint: Endpoint) -> Path:
    """The spool's own directory, made by this user as the SDK makes it."""
    spool = open_spool(Destination(endpoint.url, None), "", os.environ["SESSIONBAT_SPOOL_DIR"])
    assert spool is not None
    spool.directory.mkdir(mode=0o700, parents=True)
    about = {"endpoint": endpoint.url, "app": ""}
    (spool.directory / "about.json").write_text(json.dumps(about))
    return spool.directory


def event(name: str) -> bytes:
    return json.dumps({"id": name, "type": "llm", "observation": {"input": name}}).encode() + b"\n"


def record(
    payload: bytes, coding: int = PLAIN, events: int = 1, length: int | None = None
) -> bytes:
    checksum = zlib.crc32(payload, zlib.crc32(struct.pack("<IB", events, coding)))
    declared = len(payload) if length is None else length
    return struct.pack("<4sIIIB", b"SBt1", declared, checksum, events, coding) + payload


def plant(directory: Path, data: bytes, name: str = NAME, mode: int = 0o600) -> Path:
    path = directory / name
    path.write_bytes(data)
    path.chmod(mode)
    return path


def deliver(new_client: NewClient) -> SessionBat:
    """Deliver one event of one's own, and whatever waits."""
    client = new_client()
    client.session(session_id="s").interaction().llm(model="m", input="mine")
    assert client.flush(10).delivered == 1
    return client


def settled(client: SessionBat) -> bool:
    worker = client._recorder._transport._worker  # type: ignore[union-attr]
    return worker.queue.is_empty and not worker._keeper.may_find_more()  # type: ignore[union-attr]


def notices(caplog: pytest.LogCaptureFixture, slug: str = "spool-set-aside") -> list[str]:
    return [r.getMessage() for r in caplog.records if r.getMessage().endswith(f"[{slug}]")]


BOMB = zlib.compress(b" " * (record_module.MAX_RECORD_BYTES + 1), 9)
DAMAGED = {
    "no zlib": record(b"this is no zlib stream", DEFLATED),
    "zlib torn": record(zlib.compress(event("x") * 50)[:-9], DEFLATED),
    "zlib with something after it": record(zlib.compress(event("x")) + b"more", DEFLATED),
    "a bomb": record(BOMB, DEFLATED),
    "an unknown coding": record(event("x"), 7),
    "no event": record(event("x"), events=0),
    "more events than there are": record(event("x"), events=2),
    "fewer events than there are": record(event("x") * 2, events=1),
    "four billion events": record(event("x"), events=0xFFFFFFFF),
    "a length beyond the file": record(event("x"), length=0xFFFFFFFF),
    "a length beyond any record": record(event("x"), length=record_module.MAX_RECORD_BYTES + 1),
    "no JSON": record(b'{"id": "x"\n'),
    "JSON that is no object": record(b'["x"]\n'),
    "JSON too deep": record(b"[" * 100_000 + b"]" * 100_000 + b"\n"),
    "no UTF-8": record(b'{"id": "\xff"}\n'),
}


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("takes_batches", [True, False])
def test_a_damaged_record_is_set_aside_and_delivery_goes_on(
    endpoint: Endpoint,
    new_client: NewClient,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    takes_batches: bool,
) -> None:
    if not takes_batches:
        endpoint.behave = single_events_only
    data = record(event("before")) + DAMAGED[kind] + record(event("after"))
    plant(directory, data)
    client = deliver(new_client)
    eventually(lambda: settled(client) and client.stats().set_aside)
    stats = client.stats()
    assert {"before", "after"} <= set(endpoint.acknowledged)
    assert (stats.adopted, stats.set_aside) == (2, 1)
    assert [path.name for path in directory.glob("0*")] == [NAME.replace("segment", "damaged")]
    eventually(lambda: notices(caplog))
    assert len(notices(caplog)) == len(notices(caplog, "spool-corrupt")) == 1
    assert notices(caplog, "worker-died") == []
    assert list_spools() == []


@pytest.mark.slow
def test_a_record_that_inflates_without_end_takes_no_memory(
    endpoint: Endpoint, new_client: NewClient, directory: Path
) -> None:
    more = zlib.compressobj(9)
    parts = [more.compress(bytes(1024 * 1024)) for _ in range(1024)] + [more.flush()]
    plant(directory, record(b"".join(parts), DEFLATED))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    client = deliver(new_client)
    eventually(lambda: client.stats().set_aside == 1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_a_file_longer_than_any_segment_is_not_read(
    endpoint: Endpoint, new_client: NewClient, directory: Path
) -> None:
    path = plant(directory, record(event("x")))
    os.truncate(path, MAX_FILE_BYTES + 1)
    client = deliver(new_client)
    eventually(lambda: client.stats().set_aside == 1)
    assert "x" not in endpoint.acknowledged
    assert not path.exists()


def test_many_damaged_records_are_found_in_time(tmp_path: Path) -> None:
    """Each of these markers could begin a record of half a megabyte, and none does."""
    header = struct.pack("<4sIIIB", b"SBt1", 500_000, 0, 1, PLAIN)
    path = plant(tmp_path, header * 100_000)
    segment = Segment.adopt(path)
    assert segment is not None
    started = time.process_time()
    assert sum(found.events for found in segment.records()) == 0
    assert time.process_time() - started < 5


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_link(path: Path) -> None:
    target = path.with_name("precious")
    target.write_bytes(record(event("linked")))
    path.symlink_to(target)


def make_socket(path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(path.parent)  # the whole path may be longer than a socket's may
    listener.bind(path.name)
    os.chdir(here)
    listener.close()


def make_writable(path: Path) -> None:
    plant(path.parent, record(event("x")), path.name, 0o666)


def make_writable_by_the_group(path: Path) -> None:
    plant(path.parent, record(event("x")), path.name, 0o620)


KINDS = [make_pipe, make_link, make_socket, Path.mkdir, make_writable, make_writable_by_the_group]


@pytest.mark.parametrize("make", KINDS)
def test_special_or_shared_files_are_renamed_and_never_opened(
    endpoint: Endpoint,
    new_client: NewClient,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[Path], None],
) -> None:
    make(directory / NAME)
    assert not [line for one in list_spools() for line in read_events(one)]
    client = deliver(new_client)
    eventually(lambda: settled(client))
    assert (client.stats().set_aside, client.stats().adopted) == (1, 0)
    assert endpoint.acknowledged and not {"x", "linked"} & set(endpoint.acknowledged)
    assert [path.name for path in directory.glob("0*")] == [NAME.replace("segment", "damaged")]
    eventually(lambda: notices(caplog))
    assert len(notices(caplog)) == 1


@as_root
@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_a_file_of_another_user_is_left_alone(
    endpoint: Endpoint, new_client: NewClient, directory: Path, mode: int
) -> None:
    path = plant(directory, record(event("planted")), mode=mode)
    os.chown(path, NOBODY, NOBODY)
    directory.chmod(0o777)
    client = deliver(new_client)
    eventually(lambda: settled(client))
    assert path.stat().st_mode & 0o777 == mode
    assert "planted" not in endpoint.acknowledged
    assert client.stats().set_aside == 1


@as_root
def test_a_directory_of_another_user_is_neither_read_nor_changed(
    endpoint: Endpoint, new_client: NewClient, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = plant(directory, record(event("planted")))
    os.chown(directory, NOBODY, NOBODY)
    directory.chmod(0o777)
    client = deliver(new_client)
    eventually(lambda: client.stats().set_aside == 1)
    assert path.exists()
    assert directory.stat().st_mode & 0o777 == 0o777
    assert "planted" not in endpoint.acknowledged
    eventually(lambda: notices(caplog))
    assert len(notices(caplog)) == 1
    assert list_spools() == []


@as_root
def test_where_the_directory_is_another_users_there_is_no_spool(directory: Path) -> None:
    os.chown(directory, NOBODY, NOBODY)
    with pytest.raises(PermissionError, match="another user"):
        Spool(directory, {}).append(event("mine"), 1)
    assert not list(directory.glob("*.segment"))


def test_a_link_in_place_of_the_directory_is_not_followed(
    endpoint: Endpoint, new_client: NewClient, directory: Path, tmp_path: Path
) -> None:
    elsewhere = directory.rename(tmp_path / "elsewhere")
    elsewhere.chmod(0o755)
    plant(elsewhere, record(event("planted")))
    directory.symlink_to(elsewhere)
    client = deliver(new_client)
    eventually(lambda: client.stats().set_aside == 1)
    assert "planted" not in endpoint.acknowledged
    with pytest.raises(PermissionError, match="no directory"):
        Spool(directory, {}).append(event("mine"), 1)
    assert elsewhere.stat().st_mode & 0o777 == 0o755
    assert list_spools() == []


def test_an_own_directory_that_others_could_write_to_is_closed_and_used(
    endpoint: Endpoint, directory: Path
) -> None:
    directory.chmod(0o777)
    Spool(directory, {}).append(event("mine"), 1)
    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["pipe", "link", "another endpoint"])
def test_a_spool_that_does_not_say_truly_what_it_is_for_is_not_listed(
    endpoint: Endpoint, directory: Path, kind: str
) -> None:
    """``sessionbat spool send`` takes the key where that file says."""
    plant(directory, record(event("x")))
    assert len(list_spools()) == 1
    about = directory / "about.json"
    text = about.read_text()
    about.unlink()
    if kind == "pipe":
        os.mkfifo(about)
    elif kind == "link":
        about.with_name("other.json").write_text(text)
        about.symlink_to(about.with_name("other.json"))
    else:
        about.write_text(text.replace("127.0.0.1", "example.com"))
    assert list_spools() == []


def test_files_that_a_process_holds_are_not_renamed(directory: Path) -> None:
    spool = Spool(directory, {})
    held = spool.append(event("mine"), 1).segment.path
    held.chmod(0o666)
    other = Spool(directory, {})
    assert other.adopt() is None
    assert held.exists()
    assert other.set_aside == 0


def test_files_set_aside_are_deleted_after_seven_days(directory: Path) -> None:
    old, new = directory / "1.damaged", directory / "2.damaged"
    for path, age in ((old, MAX_AGE_S + 60), (new, MAX_AGE_S - 60)):
        path.write_bytes(b"?")
        os.utime(path, (time.time() - age,) * 2)
    assert Spool(directory, {}).adopt() is None
    assert (old.exists(), new.exists()) == (False, True)


def test_a_segment_of_one_s_own_is_believed(
    endpoint: Endpoint,
    new_client: NewClient,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    plant(directory, record(zlib.compress(event("old") + event("older")), DEFLATED, events=2))
    client = deliver(new_client)
    eventually(lambda: settled(client))
    assert (client.stats().adopted, client.stats().set_aside) == (2, 0)
    assert {"old", "older"} <= set(endpoint.acknowledged)
    assert caplog.records == []
    assert not list(directory.glob("0*"))
