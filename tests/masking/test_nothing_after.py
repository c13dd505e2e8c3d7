"""Nothing moves or makes text behind the mask: what it has seen is what is sent."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest

from sessionbat import SessionBat
from sessionbat.transports import MemoryTransport
from tests.masking.recorded import EMAIL, SECRET, masked, masked_input, raises


@pytest.mark.parametrize(
    "value", ["hunter2", ["hunter2"], {"a": "hunter2"}, b"hunter2", ("hunter2",), {"hunter2"}]
)
def test_what_is_no_number_in_metrics_is_masked_as_metadata(value: Any) -> None:
    event = masked(["password"], metrics={"latency_ms": 3, "password": value})
    assert event["observation"]["metrics"] == {"latency_ms": 3}
    assert event["observation"]["metadata"] == {"password": "[masked]"}


def test_text_in_metrics_is_searched() -> None:
    observation = masked([EMAIL], metrics={"note": f"mail {SECRET}"})["observation"]
    assert observation["metadata"] == {"note": "mail [masked]"}


def test_names_of_metrics_are_searched_and_the_numbers_stay() -> None:
    observation = masked([EMAIL], metrics={f"by {SECRET}": 1, f"by {SECRET}!": 2})["observation"]
    assert observation["metrics"] == {"by [masked]": 1, "by [masked]!": 2}


def test_a_number_too_wide_for_json_is_text_when_the_mask_sees_it() -> None:
    event = masked([re.compile(r"\d{16,}")], metrics={"card": 10**40, "cost_usd": Decimal("0.5")})
    assert event["observation"]["metadata"] == {"card": "[masked]"}
    assert event["observation"]["metrics"] == {"cost_usd": 0.5}


def test_metrics_that_are_no_object_are_masked() -> None:
    assert SECRET not in json.dumps(masked([EMAIL], metrics=f"mail {SECRET}"))


def test_a_function_sees_metrics_as_they_are_sent() -> None:
    seen: list[Any] = []

    def mask(event: dict[str, Any]) -> dict[str, Any]:
        seen.append(json.loads(json.dumps(event["observation"])))
        return event

    masked(mask, metrics={"latency_ms": 1, "note": "text"}, metadata={"note": "kept"})
    assert seen[0]["metrics"] == {"latency_ms": 1}
    assert seen[0]["metadata"] == {"note": "kept", "metrics.note": "text"}


def test_a_mask_that_fails_lets_no_text_through_as_metrics() -> None:
    metrics = {"latency_ms": 1, "note": SECRET, f"by {SECRET}": 2}
    observation = masked(raises, metrics=metrics)["observation"]
    assert observation["metrics"] == {"latency_ms": 1}
    assert observation["metadata"] == {"mask": "failed"}


def test_a_cut_tag_or_context_leaves_no_half_of_a_find() -> None:
    memory = MemoryTransport()
    client = SessionBat(transport=memory, mask=[EMAIL])
    tag = "x" * 220 + " ada@example.com, who was cut" + "x" * 100
    session = client.session(tags=[tag], context={"note": "y" * 65_400 + " " + SECRET * 20})
    session.interaction().llm()
    assert not re.search("(?<!met)ada", json.dumps(memory.events))


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037"])
def test_bytes_that_cannot_be_read_as_text_are_removed(coding: str) -> None:
    value = masked_input([EMAIL], {"body": f"From {SECRET}".encode(coding)})
    assert value["body"]["base64"] == "[masked]"
    assert value["body"]["size"] > 0


def test_base64_with_odd_characters_between_hides_nothing() -> None:
    value = {"type": "bytes", "size": 15, "base64": "YWRhQGV4\nYW1wbGUu Y29t"}
    assert masked_input([EMAIL], value)["base64"] == "[masked]"
