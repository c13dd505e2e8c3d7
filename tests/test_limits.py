"""The SDK's limits of `docs/limits.md` that no other test tries at the limit and one beyond it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from sessionbat import SessionBat
from sessionbat._delivery import record
from sessionbat._delivery.event_queue import (
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    MAX_QUEUE_BYTES,
    EventQueue,
)
from sessionbat._delivery.posting import MAX_ANSWER_BYTES, MAX_REDIRECTS
from sessionbat._delivery.retry import LONGEST_RETRY_AFTER_S, retry_after_s
from sessionbat._encoding import encode_value
from sessionbat._encoding.exception_messages import MAX_MESSAGE_CHARACTERS
from sessionbat._encoding.known_types import MAX_BASE64_BYTES, MAX_HASHED_BYTES
from sessionbat._encoding.plain_values import (
    MAX_DEPTH,
    MAX_KEY_CHARACTERS,
    MAX_KEYS_CHARACTERS,
    MAX_NODES,
)
from sessionbat._encoding.well_formed import MAX_ID_CHARACTERS, usable_id
from sessionbat._masking import rules
from sessionbat._scope import MAX_CONTEXT_BYTES, MAX_TAG_CHARACTERS, MAX_TAGS, Scope
from sessionbat.accounting import Ledger
from sessionbat.errors import ConfigurationError
from sessionbat.event import MAX_NAME_CHARACTERS
from sessionbat.testing import Answer, Endpoint, Request
from sessionbat.transports import MemoryTransport


def plain(fragment: Any) -> Any:
    return orjson.loads(orjson.dumps(fragment))


def encoded(value: Any, max_bytes: int = 8 * 1024 * 1024) -> Any:
    return json.loads(encode_value(value, max_bytes))


# One name


def test_an_app_of_the_longest_name_is_recorded_and_a_longer_one_refused() -> None:
    SessionBat(app="a" * MAX_NAME_CHARACTERS, transport=MemoryTransport())
    with pytest.raises(ConfigurationError, match=r"\[bad-app\]"):
        SessionBat(app="a" * (MAX_NAME_CHARACTERS + 1), transport=MemoryTransport())


def test_an_id_as_long_as_may_be_is_kept_and_of_a_longer_one_its_beginning() -> None:
    longest = "é" * MAX_ID_CHARACTERS
    assert usable_id(longest) == longest
    longer = usable_id(longest + "é")
    assert longer is not None
    assert re.fullmatch("é+#[0-9a-f]{64}", longer)
    assert len(longer) == MAX_ID_CHARACTERS < MAX_NAME_CHARACTERS


def test_a_tag_as_long_as_may_be_is_kept_and_a_longer_one_cut() -> None:
    longest = "t" * MAX_TAG_CHARACTERS
    assert plain(Scope("app", tags=[longest]).tags_json) == [longest]
    (cut,) = plain(Scope("app", tags=[longest + "t"]).tags_json)
    assert len(cut) <= MAX_TAG_CHARACTERS and "…[+" in cut


def test_as_many_tags_as_may_be_are_kept_and_one_more_is_counted() -> None:
    tags = [str(n) for n in range(MAX_TAGS + 1)]
    assert plain(Scope("app", tags=tags[:-1]).tags_json) == tags[:-1]
    assert plain(Scope("app", tags=tags).tags_json) == [*tags[: MAX_TAGS - 1], "<2 more>"]


def test_a_context_as_long_as_may_be_is_kept_and_a_longer_one_cut() -> None:
    longest = {"k": "v" * (MAX_CONTEXT_BYTES - len('{"k":""}'))}
    assert plain(Scope("app", context=longest).context_json) == longest
    longest["k"] += "v"
    (cut,) = plain(Scope("app", context=longest).context_json).values()
    assert "…[+" in cut


# One value


def nested(levels: int) -> Any:
    value: Any = 1j  # has to be converted, as plain JSON does not
    for _ in range(levels):
        value = [value]
    return value


def test_lists_as_deep_as_may_be_are_kept_and_one_more_is_named() -> None:
    assert encoded(nested(MAX_DEPTH)) == json.loads("[" * MAX_DEPTH + '"1j"' + "]" * MAX_DEPTH)
    assert encoded(nested(MAX_DEPTH + 1)) == json.loads(
        "[" * MAX_DEPTH + '"<depth>"' + "]" * MAX_DEPTH
    )


def test_as_many_nodes_as_may_be_are_kept_and_one_more_is_counted() -> None:
    assert encoded([*range(MAX_NODES)]) == [*range(MAX_NODES)]
    assert encoded([*range(MAX_NODES + 1)]) == [*range(MAX_NODES), "<1 more>"]


def test_a_key_as_long_as_may_be_is_kept_and_a_longer_one_cut() -> None:
    longest = "k" * MAX_KEY_CHARACTERS
    assert list(encoded({longest: 1j})) == [longest]
    (cut,) = encoded({longest + "k": 1j})
    assert "…[+" in cut


def test_keys_as_long_together_as_may_be_are_kept_and_the_next_is_counted() -> None:
    count = MAX_KEYS_CHARACTERS // MAX_KEY_CHARACTERS
    keys = [f"{n:04}" + "k" * (MAX_KEY_CHARACTERS - 4) for n in range(count)]
    assert list(encoded(dict.fromkeys(keys, 1j))) == keys
    more = list(encoded(dict.fromkeys([*keys, "more"], 1j)))
    assert len(more) <= count + 1 and more[-1].endswith(" more>")


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        (MAX_BASE64_BYTES, "base64"),
        (MAX_BASE64_BYTES + 1, "sha256"),
        (MAX_HASHED_BYTES, "sha256"),
        (MAX_HASHED_BYTES + 1, "sha256_of_first_mib"),
    ],
)
def test_bytes_are_kept_hashed_or_hashed_in_part_by_their_length(size: int, kept: str) -> None:
    assert set(encoded(bytes(size))) == {"type", "size", kept}


def test_a_message_of_an_exception_as_long_as_may_be_is_kept_and_a_longer_one_cut() -> None:
    longest = "m" * MAX_MESSAGE_CHARACTERS
    assert encoded(ValueError(longest))["message"] == longest
    assert "…[+" in encoded(ValueError(longest + "m"))["message"]


def test_a_text_as_long_as_a_mask_searches_is_kept_and_of_a_longer_one_the_end_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "_MAX_SEARCHED_CHARACTERS", 200_000)  # else seconds

    def sent(text: str) -> str:
        memory = MemoryTransport()
        client = SessionBat(transport=memory, mask=[re.compile("secret")])
        client.session().interaction().llm(input=text)
        return str(memory.events[0]["observation"]["input"])

    longest = "word " * 40_000
    assert sent(longest) == longest
    assert re.fullmatch(r"(word )+(w|wo|wor|word)?…\[\+\d+ characters\]", sent(longest + "s"))


# One queue, one batch


def test_a_queue_takes_as_many_bytes_as_may_be_and_not_one_more() -> None:
    def takes(size: int) -> bool:
        queue = EventQueue()
        return queue.put(Ledger(queue.lock), bytes(size))

    assert takes(MAX_QUEUE_BYTES - 1)  # and its line break
    assert not takes(MAX_QUEUE_BYTES)


@pytest.mark.parametrize(
    ("size", "most"),
    [(10, MAX_BATCH_EVENTS), (MAX_BATCH_BYTES // 4 - 1, 4)],
    ids=["events", "bytes"],
)
def test_a_batch_is_as_large_as_may_be_and_the_next_event_begins_another(
    size: int, most: int
) -> None:
    queue = EventQueue()
    ledger = Ledger(queue.lock)
    for _ in range(most + 1):
        assert queue.put(ledger, b"x" * size)
    queue.stop()
    batches = [queue.take(), queue.take()]
    assert [batch and batch.count for batch in batches] == [most, 1]


# One answer of an endpoint


def test_as_many_redirects_as_may_be_are_followed_and_not_one_more(
    endpoint: Endpoint, new_client: Callable[..., SessionBat]
) -> None:
    redirects = MAX_REDIRECTS

    def moved(request: Request) -> Answer:
        step = int(request.path.removeprefix("/")) if request.path[1:].isdigit() else 0
        if step < redirects:
            return Answer(307, {"Location": f"/{step + 1}"})
        return Answer(202)

    endpoint.behave = moved
    client = new_client()
    client.session().interaction().llm()
    assert client.flush()
    redirects += 1
    client.session().interaction().llm()
    assert not client.flush(timeout=0.3)
    assert endpoint.requests[-1].path == f"/{MAX_REDIRECTS}"


def test_an_answer_as_long_as_may_be_is_read_and_a_longer_one_is_no_success(
    endpoint: Endpoint, new_client: Callable[..., SessionBat]
) -> None:
    longest = b"{}" + b" " * (MAX_ANSWER_BYTES - 2)
    endpoint.behave = lambda _: Answer(200, {"Content-Type": "application/json"}, longest)
    client = new_client()
    client.session().interaction().llm()
    assert client.flush()
    endpoint.behave = lambda _: Answer(200, {"Content-Type": "application/json"}, longest + b" ")
    client.session().interaction().llm()
    assert not client.flush(timeout=0.3)


@pytest.mark.parametrize("more", [0, 1, 3600])
def test_retry_after_is_believed_up_to_its_longest(more: int) -> None:
    asked = int(LONGEST_RETRY_AFTER_S) + more
    assert retry_after_s(str(asked), now=0.0) == LONGEST_RETRY_AFTER_S
    assert retry_after_s(str(asked - more - 1), now=0.0) == LONGEST_RETRY_AFTER_S - 1


# One record on disk


def test_a_record_of_as_many_events_as_may_be_is_believed_and_of_one_more_is_not() -> None:
    assert record.decode(record.encode(b"{}\n", record.MAX_RECORD_EVENTS)[0], 0) is not None
    assert record.decode(record.encode(b"{}\n", record.MAX_RECORD_EVENTS + 1)[0], 0) is None


def test_a_record_that_inflates_to_as_much_as_may_be_is_read_and_one_byte_more_is_not() -> None:
    def read(size: int) -> int:
        found = record.decode(record.encode(bytes(size), 1)[0], 0)
        assert found is not None
        return len(found.body)

    assert read(record.MAX_RECORD_BYTES) == record.MAX_RECORD_BYTES
    with pytest.raises(OSError, match="longer than any record"):
        read(record.MAX_RECORD_BYTES + 1)


def test_whatever_a_queue_takes_fits_into_a_record() -> None:
    assert record.MAX_RECORD_BYTES >= MAX_QUEUE_BYTES
    assert record.MAX_RECORD_EVENTS >= MAX_BATCH_EVENTS
