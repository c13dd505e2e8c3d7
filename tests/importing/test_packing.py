"""However a file is packed and encoded it reads the same, in bounded memory."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from typing import Any, Final

import pytest

from sessionbat._importing.records import read_records, refuse_unread
from sessionbat._importing.unpacking import unpack
from tests.importing.spellings import ANSWER, CHAT, LINES, QUESTION, SPELLINGS, import_bytes, zstd

PACKED: Final = {
    "plain": (LINES, []),
    "gzip": (gzip.compress(LINES), ["gzip"]),
    "gzip members in a row": (gzip.compress(LINES[:100]) + gzip.compress(LINES[100:]), ["gzip"]),
    "gzip, padded": (gzip.compress(LINES) + b"\0" * 512, ["gzip"]),
    "zstd": (zstd(LINES), ["zstd"]),
    "zstd frames in a row": (zstd(LINES[:100]) + zstd(LINES[100:]), ["zstd"]),
    "zstd of gzip": (zstd(gzip.compress(LINES)), ["zstd", "gzip"]),
    "UTF-8 with a mark": (b"\xef\xbb\xbf" + LINES, []),
    "UTF-16": (LINES.decode().encode("utf-16"), ["UTF-16"]),
    "UTF-16 big-endian": (b"\xfe\xff" + LINES.decode().encode("utf-16-be"), ["UTF-16"]),
    "UTF-16 without a mark": (LINES.decode().encode("utf-16-le"), ["UTF-16"]),
    "UTF-16 big-endian without a mark": (LINES.decode().encode("utf-16-be"), ["UTF-16"]),
    "UTF-16 in gzip": (gzip.compress(LINES.decode().encode("utf-16")), ["gzip", "UTF-16"]),
    "CRLF": (LINES.replace(b"\n", b"\r\n"), []),
    "no line break at the end": (LINES.rstrip(), []),
}


@pytest.mark.parametrize("packing", PACKED)
def test_however_it_is_packed_it_reads_the_same(packing: str) -> None:
    data, layers = PACKED[packing]
    read: list[int] = []
    unpacked = unpack(io.BytesIO(data), read.append)
    records = [json.loads(refuse_unread(record)) for record in read_records(unpacked.stream)]
    assert records == [json.loads(line) for line in LINES.splitlines()]
    assert (unpacked.layers, sum(read)) == (layers, len(data))


def test_the_form_and_the_packing_are_shown(server: str) -> None:
    shown: list[str] = []
    data = gzip.compress(json.dumps(SPELLINGS["anthropic"]).encode())
    summary = import_bytes(server, data, name="chats.jsonl.gz", on_form=shown.append)
    assert shown == [summary.reads_as] == ["Anthropic messages, gzip"]
    assert summary.app == "chats"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(LINES * 100)[:-20], "gzip: the file is cut off"),
        (gzip.compress(LINES) + b"rubbish", "gzip: something else follows"),
        (gzip.compress(LINES)[:-8] + b"\0" * 8, "gzip: the packed data is broken"),
        (zstd(LINES * 100)[:-9], "zstd: the file is cut off"),
        (zstd(LINES) + b"rubbish", "zstd: the packed data is broken"),
        (LINES.decode().encode("utf-16")[:-1], "UTF-16: the file ends in the middle"),
        (b"PK\3\4rest", "a zip archive: unpack it first"),
    ],
)
def test_a_damaged_file_says_what_is_wrong_once(server: str, data: bytes, reason: str) -> None:
    bad: list[tuple[int, str]] = []
    summary = import_bytes(server, data, bad=bad)
    (found,) = (words for _, words in bad)
    assert found.startswith(reason)
    assert not summary.complete


def test_records_before_the_damage_are_kept(server: str) -> None:
    text = b"".join(
        json.dumps({"session_id": f"s{n}", "messages": [QUESTION, ANSWER], "x": n**n}).encode()
        + b"\n"
        for n in range(300)
    )
    bad: list[tuple[int, str]] = []
    summary = import_bytes(server, gzip.compress(text)[:-100], bad=bad)
    assert 200 < summary.sessions < 300
    assert bad == [(summary.sessions + 1, "gzip: the file is cut off")]


@pytest.mark.slow
@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_bomb_is_unpacked_in_bounded_memory(pack: Any) -> None:
    data = pack(b" " * 300_000_000)
    tracemalloc.start()
    stream = unpack(io.BytesIO(data)).stream
    assert sum(len(chunk) for chunk in iter(lambda: stream.read(65536), b"")) == 300_000_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 1024 * 1024


@pytest.mark.slow
def test_a_long_array_is_read_in_the_memory_of_a_record() -> None:
    one = json.dumps({**CHAT, "x": "y" * 10_000}).encode()
    data = gzip.compress(b"[" + b",".join([one] * 3000) + b"]")
    tracemalloc.start()
    records = read_records(unpack(io.BytesIO(data)).stream)
    assert sum(len(record.data or b"") for record in records) == 3000 * len(one)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024
