"""A disk that is full, forbidden, damaged, shared or watched."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionbat import SessionBat
from sessionbat._delivery import keeper as keeper_module
from sessionbat._delivery import spool as spool_module
from sessionbat._delivery.segment import Segment
from sessionbat._delivery.spool import open_spool, spool_root
from sessionbat._settings import Destination
from sessionbat.spooled import list_spools
from sessionbat.testing import Answer, Endpoint, receipt
from sessionbat.transports import MemoryTransport
from tests.conftest import assert_adds_up, eventually
from tests.faults.conftest import Record
from tests.faults.host import Host, deliver_the_rest, on_disk, run, script, stored

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]  # processes of their own

NewClient = Callable[..., SessionBat]


@pytest.fixture
def root() -> Path:
    """The directory of all spools of this test."""
    return Path(os.environ["SESSIONBAT_SPOOL_DIR"])


def spool_files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def down(endpoint: Endpoint) -> None:
    endpoint.behave = lambda request: Answer(503, {"Retry-After": "0"})


def logged(caplog: pytest.LogCaptureFixture, slug: str) -> list[int]:
    return [r.levelno for r in caplog.records if r.getMessage().endswith(f"[{slug}]")]


def test_a_full_disk(
    endpoint: Endpoint,
    client: SessionBat,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 34: in memory only, said once; on disk again when there is room, said once."""
    caplog.set_level(logging.INFO, "sessionbat")
    monkeypatch.setattr(keeper_module, "DISK_RETRY_S", 0.2)
    down(endpoint)
    record(client, 10)
    eventually(lambda: client.stats().spooled == 10)
    tries: list[object] = []
    with monkeypatch.context() as patch:

        def full(*args: object) -> int:
            tries.append(args)
            raise OSError(28, "No space left on device")

        patch.setattr(os, "pwrite", full)
        record(client, 20)
        eventually(lambda: logged(caplog, "spool-off"))
        first = len(tries)
        eventually(lambda: len(tries) >= first + 3)
        assert (client.stats().spooled, client.stats().pending) == (10, 20)
    eventually(lambda: client.stats().spooled == 30)
    eventually(lambda: logged(caplog, "spool-on"))
    assert logged(caplog, "spool-off") == [logging.WARNING]
    assert logged(caplog, "spool-on") == [logging.INFO]
    endpoint.behave = receipt
    assert client.flush()


FILLED = """
from sessionbat._delivery import keeper
keeper.DISK_RETRY_S = 0.2
for _ in range(20):
    [record(1, os.urandom(300).hex()) for _ in range(100)]
    time.sleep(0.06)  # the keeper writes meanwhile
full = counts()
say(full.spooled > 0, full.pending > 0, full.dropped)
ROOM()
until(lambda: not client.stats().pending)
s = counts()
say(s.spooled, s.pending)
"""


def test_a_limit_on_the_size_of_files(endpoint: Endpoint) -> None:
    """Row 34, with the kernel saying no in the middle of a write (``RLIMIT_FSIZE``)."""
    down(endpoint)
    before = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (200_000, -1))"
    room = "resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))"
    with Host(FILLED.replace("ROOM()", room), endpoint.url, before=before) as host:
        assert (host.hear(), host.hear()) == ("True True {}", "2000 0")
        assert host.end().stderr.count("[spool-off]") == 1
    assert len(on_disk()) == 2000
    endpoint.behave = receipt
    assert deliver_the_rest(endpoint.url) == 2000


def test_a_filesystem_without_room(endpoint: Endpoint, tmp_path: Path) -> None:
    """Row 34, with a real ENOSPC: a tmpfs of 256 KiB, made larger later."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"]).returncode:
        pytest.skip("no mount namespaces here")
    down(endpoint)
    mount = tmp_path / "small"
    mount.mkdir()
    room = f"os.system('mount -o remount,size=64m {mount}')"
    host = tmp_path / "host.py"
    host.write_text(
        script(FILLED.replace("ROOM()", room))
        + "from sessionbat.spooled import list_spools\n"
        + "say(sum(spooled.events for spooled in list_spools()))\n"
    )
    shell = f"mount -t tmpfs -o size=256k none {mount} && exec {sys.executable} {host} $0"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", shell, endpoint.url],
        env={**os.environ, "SESSIONBAT_SPOOL_DIR": str(mount)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split("\n")[:3] == ["True True {}", "2000 0", "2000"], done.stderr


@pytest.mark.parametrize("place", ["read-only", "missing", "is-a-file", "of-another-user"])
def test_a_spool_directory_that_cannot_be_used(
    endpoint: Endpoint,
    new_client: NewClient,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    place: str,
) -> None:
    """Row 35: in memory only, said once, nothing raised; a missing directory is made."""
    path = {"read-only": Path("/proc/sessionbat")}.get(place, tmp_path / "a" / "b")
    if place == "is-a-file":
        (tmp_path / "a").write_text("in the way")
    if place == "of-another-user":
        if os.geteuid() != 0:
            pytest.skip("only root can give a directory away")
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setenv("SESSIONBAT_SPOOL_DIR", str(path))
    down(endpoint)
    client = new_client()
    ids = record(client, 50)
    if place == "missing":
        eventually(lambda: client.stats().spooled == 50)
    else:
        eventually(lambda: logged(caplog, "spool-off") == [logging.WARNING])
        assert (client.stats().spooled, client.stats().pending) == (0, 50)
    endpoint.behave = receipt
    assert client.flush()
    assert sorted(endpoint.acknowledged) == sorted(ids)


def test_a_user_without_a_home(
    endpoint: Endpoint,
    new_client: NewClient,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 35: no spool, which is said once, and everything else as ever."""

    def no_home(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SESSIONBAT_SPOOL_DIR")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", no_home)
    monkeypatch.setattr("sessionbat._delivery.worker._said_no_home", False)
    client = new_client()
    record(client, 10)
    assert client.flush()
    assert new_client(app="other", api_key="another-worker") is not None
    assert logged(caplog, "spool-off") == [logging.WARNING]


@pytest.mark.parametrize("home", ["", "relative/home"])
def test_a_home_that_is_no_directory_of_ones_own(
    home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is ever written below the working directory."""
    monkeypatch.setenv("HOME", home)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    try:
        assert spool_root().is_absolute()
    except RuntimeError:
        assert home
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_without_a_passwd_entry_it_is_said_once_a_process(endpoint: Endpoint) -> None:
    """A container that runs under a number: no HOME, no name; two clients and a forked child."""
    code = (
        "import os, pwd\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        "for name in ('HOME', 'XDG_STATE_HOME', 'SESSIONBAT_SPOOL_DIR'):\n"
        "    os.environ.pop(name, None)\n"
        "from sessionbat import SessionBat\n"
        f"a, b = (SessionBat(app=app, endpoint={endpoint.url!r}, api_key=app) for app in 'ab')\n"
        "a.session().interaction().llm()\n"
        "child = os.fork()\n"
        "if child: os.waitpid(child, 0)\n"
        "b.session().interaction().llm()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("[spool-off]")) == (0, 1), done.stderr
    assert len(endpoint.acknowledged) == 3


def test_a_spool_directory_removed_in_the_middle_of_an_outage(
    endpoint: Endpoint, client: SessionBat, record: Record, root: Path
) -> None:
    """Row 35: what comes then is kept in a new one, and the old is still in memory."""
    down(endpoint)
    ids = record(client, 20)
    eventually(lambda: client.stats().spooled == 20)
    shutil.rmtree(root)
    ids += record(client, 20)
    eventually(lambda: client.stats().spooled == 40)
    assert sorted(on_disk()) == sorted(ids[20:])
    endpoint.behave = receipt
    assert client.flush()
    assert sorted(endpoint.acknowledged) == sorted(ids)


@pytest.mark.parametrize(
    ("damage", "parts_left"),
    [("bit-flip", 7), ("zero-page", 5), ("torn", 7), ("foreign-file", 8)],
)
def test_a_damaged_spool(
    endpoint: Endpoint, new_client: NewClient, root: Path, damage: str, parts_left: int
) -> None:
    """Row 36: what is damaged is skipped, counted and said; everything else is delivered."""
    segment = left_behind(endpoint, root, parts=8)
    data = bytearray(segment.read_bytes())
    eighth = len(data) // 8
    if damage == "bit-flip":
        data[len(data) // 2] ^= 4
    elif damage == "zero-page":
        data[eighth * 2 + 50 : eighth * 4 + 50] = bytes(eighth * 2)
    elif damage == "torn":
        del data[-20:]
    else:
        segment.with_name("0-foreign.segment").write_bytes(b"something else " * 100)
    segment.write_bytes(data)
    client = new_client()
    client.flush(5)
    eventually(lambda: not list(root.rglob("*.segment")))
    counts = stored(endpoint)
    assert set(counts.values()) == {10}
    assert len(counts) == parts_left
    keeper = client._recorder._transport._worker._keeper  # type: ignore[union-attr]
    assert keeper.adopted.stats().dropped == {"spool-corrupt": 1}
    assert client.stats().adopted == 10 * parts_left


def left_behind(endpoint: Endpoint, root: Path, parts: int) -> Path:
    """Write a segment of records of ten events each, as a process that has ended."""
    spool = open_spool(Destination(endpoint.url, None), "", str(root))
    assert spool is not None
    for part in range(parts):
        memory = MemoryTransport()
        interaction = SessionBat(app="test-app", transport=memory).session().interaction()
        for _ in range(10):
            interaction.llm(model="m", input=f"part {part}")
        lines = [json.dumps(event).encode() + b"\n" for event in memory.events]
        segment = spool.append(b"".join(lines), 10).segment
    spool.close()
    return segment.path


def test_events_that_cannot_be_read_back_from_disk(
    endpoint: Endpoint,
    client: SessionBat,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 36, of a running process: given up and counted; what follows is delivered."""
    monkeypatch.setattr("sessionbat._delivery.event_queue.RELEASE_ABOVE_BYTES", 0)
    down(endpoint)
    record(client, 1)
    eventually(lambda: endpoint.requests)
    record(client, 1500)
    eventually(lambda: client.stats().spooled == 1501)
    for path in spool_files(Path(os.environ["SESSIONBAT_SPOOL_DIR"])):
        if path.suffix == ".segment":
            path.write_bytes(bytes(path.stat().st_size))
    record(client, 10, "later")
    endpoint.behave = receipt
    client.flush(10)
    stats = client.stats()
    assert_adds_up(client)
    assert (stats.pending, stats.spooled) == (0, 0)
    assert 0 < stats.dropped["spool-corrupt"] <= 1501
    assert stored(endpoint)["later"] >= 1
    assert logged(caplog, "worker-died") == []


def test_two_processes_with_the_same_spool(endpoint: Endpoint, root: Path) -> None:
    """Row 37: each file is sent by one of them; an owner is known by its lock, not by its pid."""
    for _ in range(20):
        left_behind(endpoint, root, parts=3)
    adopt = """
        sys.stdin.readline()
        client.flush(5)
        record(1, "own")
        client.flush(5)
        from sessionbat.spooled import list_spools
        until(lambda: not list_spools())
    """
    hosts = [Host(adopt, endpoint.url) for _ in range(2)]
    for host in hosts:
        host.tell()
    for host in hosts:
        with host:
            assert host.end().returncode == 0
    assert stored(endpoint) == {**{f"part {n}": 200 for n in range(3)}, "own": 2}
    assert set(Counter(endpoint.acknowledged).values()) == {1}


def test_a_living_process_keeps_its_own(endpoint: Endpoint) -> None:
    """Row 37: nobody adopts what a process holds that is merely stopped."""
    down(endpoint)
    code = (
        "record(30)\nuntil(lambda: client.stats().spooled == 30)\nsay('kept')\nsys.stdin.readline()"
    )
    with Host(code, endpoint.url) as holder:
        assert holder.hear() == "kept"
        endpoint.behave = lambda request: (
            receipt(request) if b"other" in request.body else Answer(503)
        )
        run("record(5, 'other')\nclient.flush(5)", endpoint.url)
        assert stored(endpoint) == {"other": 5}
        assert len(on_disk()) == 30


def test_a_file_that_goes_while_it_is_listed(
    endpoint: Endpoint, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 37: whoever looks at a spool gets in nobody's way, and nobody in theirs."""
    left_behind(endpoint, root, parts=1)
    read_only = Segment.read_only

    def vanish(path: Path) -> Segment | None:
        segment = read_only(path)
        path.unlink()
        return segment

    monkeypatch.setattr(Segment, "read_only", vanish)
    [spooled] = list_spools()
    assert spooled.events == 10
    assert list_spools() == []


def test_a_spool_at_its_cap(
    endpoint: Endpoint,
    client: SessionBat,
    record: Record,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 38: the oldest goes first, is counted by reason and said; the newest is kept."""
    monkeypatch.setattr(spool_module, "MAX_SEGMENT_BYTES", 50_000)
    worker = client._recorder._transport._worker  # type: ignore[union-attr]
    worker._keeper.spool.max_bytes = 300_000
    down(endpoint)
    ids = []
    for _ in range(40):
        for _ in range(10):
            ids += record(client, 1, os.urandom(1000).hex())
        eventually(lambda: client.stats().pending == 0)
        assert_adds_up(client)
    stats = client.stats()
    lost = stats.dropped["spool-full"]
    assert 100 < lost < 350
    assert stats.spooled == 400 - lost
    assert sum(path.stat().st_size for path in spool_files(root)) < 400_000
    assert logged(caplog, "spool-full") == [logging.WARNING]
    assert sorted(on_disk()) == sorted(ids[lost:])
    endpoint.behave = receipt
    client.flush()
    assert set(ids[lost:]) <= set(endpoint.acknowledged)


def test_a_spool_that_others_have_filled(
    endpoint: Endpoint, client: SessionBat, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 38: orphans make room; what a living process keeps does not, and memory serves."""
    down(endpoint)
    worker = client._recorder._transport._worker  # type: ignore[union-attr]
    code = (
        "record(200)\nuntil(lambda: client.stats().spooled == 200)\nsay('x')\nsys.stdin.readline()"
    )
    with Host(code, endpoint.url) as host:
        host.hear()
        worker._keeper.spool.max_bytes = 1000
        record(client, 10)
        eventually(lambda: worker._keeper._disk_off_until)
        assert client.stats().pending == 10
        assert len(on_disk()) == 200
    worker._keeper._disk_off_until = 0.0
    eventually(lambda: client.stats().spooled == 10)
    assert len(on_disk()) == 10
    assert worker._keeper.adopted.stats().dropped == {"spool-full": 200}


def test_what_waited_for_more_than_seven_days(endpoint: Endpoint, root: Path) -> None:
    """Row 38: given up by the process that finds it, and said."""
    down(endpoint)
    run("record(20)", endpoint.url)
    [segment] = root.rglob("*.segment")
    eight_days_ago = time.time() - 8 * 24 * 3600
    os.utime(segment, (eight_days_ago, eight_days_ago))
    endpoint.behave = receipt
    done = run("record(1, 'new')\nclient.flush(5)", endpoint.url)
    assert "dropped 20 events" in done.stderr
    assert stored(endpoint) == {"new": 1}
    assert on_disk() == []


def test_an_endpoint_that_answers_at_once_costs_no_disk_write(
    endpoint: Endpoint,
    new_client: NewClient,
    record: Record,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even the note of what the directory is for: there is no directory.

    A machine under load may hold up the delivery thread for 150 ms now and then, and then a write
    is right; so one of five rounds of a second has to pass without.
    """

    def a_round_without_a_write(number: int) -> bool:
        root = tmp_path / str(number)
        monkeypatch.setenv("SESSIONBAT_SPOOL_DIR", str(root))
        client = new_client()
        ever = False
        for _ in range(100):
            record(client, 5)
            time.sleep(0.01)  # the pace of the load
            ever = ever or root.exists()
        assert client.flush()
        client.close()
        return not (ever or root.exists())

    assert any(a_round_without_a_write(number) for number in range(5))
