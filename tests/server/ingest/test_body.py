"""Bodies into events, without a server: what memory it takes, and hostile bytes."""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionbat.server.ingest.body import (
    Body,
    Decoded,
    _is_too_deep,
    decode_body,
    inflate,
    split_array,
    split_lines,
)
from sessionbat.server.web.refusal import Refused
from tests.server.wire import event

MIB = 1024 * 1024

# No deadline: a busy machine is not a defect.
a_few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def decode(data: bytes, *, is_ndjson: bool = False) -> Decoded:
    body = Body(data, "identity", decode_body)
    return decode_body(body, is_ndjson=is_ndjson, max_bytes=MIB, max_events=1_000, received_at_us=0)


def _many_zeros() -> Iterator[bytes]:
    return (bytes(MIB) for _ in range(96))


def _gzip_bomb() -> bytes:
    compressor = zlib.compressobj(9, wbits=31)
    return b"".join(map(compressor.compress, _many_zeros())) + compressor.flush()


def _zstd_bomb() -> bytes:
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    return b"".join(map(compressor.compress, _many_zeros())) + compressor.flush()


@pytest.mark.parametrize(("encoding", "make"), [("gzip", _gzip_bomb), ("zstd", _zstd_bomb)])
def test_a_bomb_is_never_inflated_whole(encoding, make) -> None:
    bomb = make()
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match="body-too-large"):
            inflate(bomb, encoding, 16 * MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * MIB


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_that_inflates_to_exactly_the_limit_is_accepted(encoding) -> None:
    compress = {"gzip": gzip.compress, "zstd": zstandard.compress}[encoding]
    assert len(inflate(compress(bytes(MIB)), encoding, MIB)) == MIB


def test_a_window_that_would_take_too_much_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(Refused, match="bad-encoding"):
        inflate(compressor.compress(b"x") + compressor.flush(), "zstd", MIB)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@a_few
@given(st.lists(JSON, max_size=4), st.sampled_from([None, 1]))
def test_an_array_is_split_where_its_elements_are(values: list[object], indent: int | None) -> None:
    text = json.dumps(values, indent=indent).encode()
    assert [json.loads(raw) for raw in split_array(text, 10_000)] == values


@a_few
@given(st.lists(JSON, max_size=4))
def test_lines_are_split_where_their_ends_are(values: list[object]) -> None:
    text = "\r\n".join(json.dumps(value) for value in values).encode()
    assert [json.loads(raw) for raw in split_lines(text, 10_000)] == values


@pytest.mark.parametrize("max_events", [1, 2, 10])
def test_twice_as_many_line_ends_as_events_are_the_most(max_events: int) -> None:
    most = 2 * max_events
    blanks = b"\n" * (most - 1)
    assert split_lines(b"\n" * most, max_events) == []
    assert split_lines(b"1" + blanks + b"\n2", max_events + 1) == [b"1", b"2"]
    for beyond in (b"\n" * (most + 1), b"1" + blanks + b"\n\n", b"\n" * 1_000_000):
        with pytest.raises(Refused) as refused:
            split_lines(beyond, max_events)
        assert (refused.value.status, refused.value.slug) == (413, "too-many-events")


def test_line_ends_beyond_the_most_take_no_memory() -> None:
    text = b"\n" * 4_000_000
    tracemalloc.start()
    with pytest.raises(Refused):
        split_lines(text, 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(text)  # the rest, undivided; 4 million pieces would take 160 MB


@a_few
@given(st.binary() | st.text(alphabet='[]{}",\\: \n1a').map(str.encode), st.booleans())
def test_whatever_the_bytes_are_they_are_refused_or_listed(data: bytes, is_ndjson: bool) -> None:
    try:
        decoded = decode(data, is_ndjson=is_ndjson)
    except Refused as refused:
        assert refused.status in (400, 413)
    else:
        assert decoded.events == []


@a_few
@given(st.binary(max_size=60), st.integers(min_value=0))
def test_damage_to_one_line_leaves_its_neighbours(damage: bytes, place: int) -> None:
    good = [json.dumps(event(f"e{n}")).encode() for n in range(3)]
    bad = good[1][: place % len(good[1])] + damage.replace(b"\n", b"") + b"\x00"
    decoded = decode(b"\n".join([good[0], bad, good[2]]), is_ndjson=True)
    assert [received.event["id"] for received in decoded.events] == ["e0", "e2"]


@a_few
@given(st.binary(), st.sampled_from(["gzip", "zstd"]))
def test_bytes_that_are_no_stream_are_refused(data: bytes, encoding) -> None:
    with pytest.raises(Refused):
        inflate(data, encoding, MIB)


def test_an_event_as_deep_as_the_limit_is_taken_and_one_level_more_is_not() -> None:
    def nested(levels: int) -> bytes:  # the event and its observation are two of the levels
        text = json.dumps(event(observation__input=0))
        inner = "[" * (levels - 2) + "]" * (levels - 2)
        return text.replace('"input": 0', f'"input": {inner}').encode()

    assert decode(nested(200)).rejected == []
    assert [rejected.slug for rejected in decode(nested(201)).rejected] == ["too-deep"]


@pytest.mark.parametrize(
    "value",
    [
        '{"a":' * 195 + "1" + "}" * 195,
        '[{"a":' * 97 + "[]" + "}]" * 97,
        '"' + "[" * 400 + '"',
        '["\\\\", "' + '\\"[{' * 400 + '"]',
        "[" + ",".join(["[" * 190 + "]" * 190] * 1_000) + "]",
    ],
)
def test_depth_is_that_of_the_values_whatever_stands_in_strings(value: str) -> None:
    text = json.dumps(event(observation__input=0))
    assert decode(text.replace('"input": 0', f'"input": {value}').encode()).rejected == []
    deeper = '{"a":[' * 100 + "0" + "]}" * 100
    both = text.replace('"input": 0', f'"input": [{value}, {deeper}]').encode()
    assert [rejected.slug for rejected in decode(both).rejected] == ["too-deep"]


def test_the_depth_of_a_large_event_is_found_in_little_time() -> None:
    lists = b",".join([b"[" * 190 + b"]" * 190] * 1_200)
    started = time.thread_time()
    assert not _is_too_deep(b'{"observation":{"input":[' + lists + b"]}}")
    assert time.thread_time() - started < 0.25  # 0.05 s; 0.5 s where the values are looked through


def test_many_brackets_side_by_side_are_not_depth() -> None:
    assert decode(json.dumps(event(observation__input=[[]] * 500)).encode()).rejected == []


def test_a_zstd_stream_need_not_say_how_long_it_is() -> None:
    text = b"x" * 100_000
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(text)
    assert inflate(unsized, "zstd", MIB) == text


def test_a_zstd_stream_that_lies_about_its_length_is_damaged() -> None:
    stream = bytearray(zstandard.ZstdCompressor().compress(b"x" * 1000))
    assert zstandard.get_frame_parameters(bytes(stream)).content_size == 1000
    stream[5:7] = (900 - 256).to_bytes(2, "little")
    assert zstandard.get_frame_parameters(bytes(stream)).content_size == 900
    with pytest.raises(Refused, match="not one whole zstd stream"):
        inflate(bytes(stream), "zstd", MIB)


def test_two_zstd_streams_are_not_one() -> None:
    stream = zstandard.ZstdCompressor().compress(b"x" * 1000)
    with pytest.raises(Refused, match="not one whole zstd stream"):
        inflate(stream * 2, "zstd", MIB)


DICTIONARY = zstandard.train_dictionary(
    1024, [b'{"app": "%d", "x": "hello"}' % n for n in range(999)]
)


@pytest.mark.parametrize(
    "dictionary",
    [DICTIONARY, zstandard.ZstdCompressionDict(b"words that both know" * 9)],
    ids=["named", "raw"],
)
def test_a_zstd_stream_that_needs_a_dictionary_is_refused(
    dictionary: zstandard.ZstdCompressionDict,
) -> None:
    """Nothing says which one; RFC 9842 has names for that, which are not offered."""
    text = b"words that both know" * 9 + b'{"app": "77", "x": "hello"}'
    packed = zstandard.ZstdCompressor(dict_data=dictionary, level=19).compress(text)
    assert len(packed) < len(text)
    with pytest.raises(Refused, match="not one whole zstd stream"):
        inflate(packed, "zstd", MIB)
