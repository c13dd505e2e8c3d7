"""Images, audio and files, wherever they are in a payload, become type, size and hash."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from sessionbat._langchain.media import summed_up, text_summed_up
from tests.integration.conftest import Recorded
from tests.integration.scripted import Scripted, calls
from tests.integration.test_oracle_chains import Library

PICTURE = b"\x89PNG\r\n\x1a\n" + b"not really a picture, but long enough " * 200
ENCODED = base64.b64encode(PICTURE).decode()
URL_SAFE = base64.urlsafe_b64encode(b"\xfb\xff\xbf" * 999 + PICTURE).decode().rstrip("=")
HASH = hashlib.sha256(PICTURE).hexdigest()
DATA_URL = f"data:image/png;base64,{ENCODED}"

BLOCKS: dict[str, Any] = {
    "image generation": {"type": "image_generation_call", "id": "ig", "result": ENCODED},
    "standard v0": {"type": "image", "source_type": "base64", "data": ENCODED, "mime_type": "x/y"},
    "standard v1 audio": {"type": "audio", "base64": ENCODED, "mime_type": "audio/wav"},
    "standard v1 video": {"type": "video", "base64": ENCODED, "mime_type": "video/mp4"},
    "standard v1 file": {"type": "file", "base64": ENCODED, "mime_type": "application/pdf"},
    "non-standard": {"type": "non_standard", "value": {"type": "image", "anything": ENCODED}},
    "non-standard url": {"type": "non_standard", "value": {"picture": {"href": DATA_URL}}},
    "mcp blob": {"type": "resource", "resource": {"uri": "x", "mimeType": "x/y", "blob": ENCODED}},
    "google inline data": {"inline_data": {"mime_type": "image/png", "data": ENCODED}},
    "google inlineData": {"inlineData": {"mimeType": "image/png", "data": ENCODED}},
    "google media": {"type": "media", "mime_type": "image/png", "data": ENCODED},
    "file bytes": {"type": "file", "file_bytes": ENCODED},
    "openai image url": {"type": "image_url", "image_url": {"url": DATA_URL}},
    "openai image url text": {"type": "image_url", "image_url": DATA_URL},
    "responses image": {"type": "input_image", "image_url": DATA_URL},
    "responses file": {"type": "input_file", "filename": "a.pdf", "file_data": DATA_URL},
    "responses file bare": {"type": "input_file", "file_data": ENCODED},
    "openai audio": {"type": "input_audio", "input_audio": {"data": ENCODED, "format": "wav"}},
    "anthropic": {"type": "document", "source": {"type": "base64", "data": ENCODED}},
    "anthropic in a tool result": {
        "type": "tool_result",
        "content": [{"type": "image", "source": {"type": "base64", "data": ENCODED}}],
    },
    "bedrock text": {"image": {"format": "png", "source": {"bytes": ENCODED}}},
    "bedrock bytes": {"image": {"format": "png", "source": {"bytes": PICTURE}}},
    "markdown": {"type": "text", "text": f"a cat: ![cat]({DATA_URL}) and words"},
    "html": {"type": "text", "text": f'<img alt="cat" src="{DATA_URL}"> and words'},
    "bare in a text": {"type": "text", "text": f"the picture is {ENCODED} and words"},
    "json in a text": {"type": "text", "text": json.dumps({"image": ENCODED, "words": 1})},
    "unknown key": {"type": "something_new", "payload": {"deep": [{"x": ENCODED}]}},
    "with parameters": {"type": "text", "text": f"data:image/png;name=a.png;base64,{ENCODED}"},
    "computer screenshot": {"type": "computer_call_output", "output": {"image_url": DATA_URL}},
}  # fmt: skip


def assert_summed_up(record: Any, of: str = HASH) -> None:
    written = json.dumps(record)
    assert ENCODED[:200] not in written
    assert ENCODED[300:500] not in written
    assert of in written
    assert len(written) < 4000


@pytest.mark.parametrize("name", BLOCKS)
def test_media_are_summed_up_asked_and_answered(name: str, recorded: Recorded) -> None:
    block = BLOCKS[name]
    Scripted(script=[AIMessage([block])]).invoke([HumanMessage([block])], recorded.config())
    observation = recorded.only()
    assert_summed_up(observation["input"])
    assert_summed_up(observation["output"])


@pytest.mark.parametrize(
    "text", [DATA_URL, f"![cat]({DATA_URL})", f"x={ENCODED}", f"a.{ENCODED}", ENCODED]
)
def test_media_in_plain_text_are_summed_up_with_the_words_kept(
    text: str, recorded: Recorded
) -> None:
    Scripted(script=[f"before {text} after"]).invoke(text, recorded.config())
    observation = recorded.only()
    assert_summed_up(observation["input"])
    assert_summed_up(observation["output"])
    assert observation["output"]["text"].startswith("before ")
    assert observation["output"]["text"].endswith(" after")


def test_a_media_type_is_told_or_read_from_the_first_bytes() -> None:
    (given,) = summed_up([{"type": "image", "base64": ENCODED, "mime_type": "image/x-told"}])
    assert given["base64"]["type"] == "image/x-told"
    assert summed_up({"blob": ENCODED})["blob"] == {
        "type": "image/png",
        "size": len(PICTURE),
        "sha256": HASH,
    }
    assert summed_up({"image": {"format": "png", "source": {"bytes": PICTURE}}})["image"]["source"][
        "bytes"
    ] == {"type": "png", "size": len(PICTURE), "sha256": HASH}


def test_url_safe_and_wrapped_base64_are_known_by_their_look() -> None:
    assert "sha256" in text_summed_up(f"x {URL_SAFE} y")
    wrapped = base64.encodebytes(PICTURE).decode()
    assert HASH in text_summed_up(f"attached:\n{wrapped}\nthat was it")


def test_a_prompt_a_document_and_a_tools_payloads_are_summed_up(recorded: Recorded) -> None:
    class Resource(BaseModel):
        uri: str
        blob: str

    @tool(response_format="content_and_artifact")
    def paint(sketch: str) -> tuple[Any, Any]:
        """Paint."""
        return [{"type": "image", "base64": ENCODED}], [Resource(uri="x:1", blob=ENCODED)]

    @tool
    def returns_text(a: int) -> str:
        """Return text."""
        return f"![cat]({DATA_URL})"

    call = {"name": "paint", "args": {"sketch": DATA_URL}, "id": "c", "type": "tool_call"}
    paint.invoke(call, recorded.config())
    returns_text.invoke({"a": 1}, recorded.config())
    FakeListLLM(responses=[DATA_URL]).invoke(DATA_URL, recorded.config())
    Library().invoke(DATA_URL, recorded.config())
    Scripted().invoke(
        [calls(("paint", {"sketch": DATA_URL})), ToolMessage(DATA_URL, tool_call_id="call_1")],
        recorded.config(),
    )
    assert ENCODED[:200] not in json.dumps([o["output"] for o in recorded.observations])
    inputs = [o["input"] for o in recorded.observations if o["kind"] != "retrieval"]
    assert ENCODED[:200] not in json.dumps(inputs)
    assert recorded.observations[0]["output"]["artifact"][0]["blob"]["sha256"] == HASH


ORDINARY = {
    "sha512": hashlib.sha512(b"x").hexdigest() * 20,
    "upper hex": hashlib.sha512(b"x").hexdigest().upper() * 20,
    "jwt": "eyJhbGciOiJIUzI1NiJ9."
    + ENCODED[:2000].replace("+", "-").replace("/", "_")
    + ".c2ln" * 9,
    "bases": "ACGT" * 1000,
    "ruler": "-" * 5000,
    "one letter": "x" * 5000,
    "prose": "The quick brown fox jumps over 13 lazy dogs. " * 200,
    "words by line": "\n".join(["Word1234"] * 2000),
    "no spaces": "漢字かな交じり文" * 500,
    "url": "https://example.com/" + "Path-1/" * 100 + "?q=" + "aB3" * 200,
    "path": "/usr/lib/Python3/" * 50,
    "json": json.dumps([{"Id": n, "name": f"N{n}"} for n in range(500)]),
    "tiny data url": "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
    "csv": "A1,b2,C3\n" * 1000,
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_long_text_is_kept(name: str) -> None:
    assert text_summed_up(ORDINARY[name]) == ORDINARY[name]
    assert summed_up({"anything": ORDINARY[name]}) == {"anything": ORDINARY[name]}


def test_a_text_document_where_media_may_be_is_kept() -> None:
    block = {"type": "document", "source": {"type": "text", "data": "plain words " * 50}}
    assert summed_up(block) == block
    digest = {"data": hashlib.sha512(b"x").hexdigest()}
    assert summed_up(digest) == digest


def test_given_values_are_not_changed(recorded: Recorded) -> None:
    block = {"type": "image", "base64": ENCODED, "mime_type": "image/png"}
    message = HumanMessage([{**block}])
    Scripted().invoke([message], recorded.config())
    assert message.content == [block]
    document = Document("x", metadata={"blob": ENCODED})
    summed_up(document.metadata)
    assert document.metadata == {"blob": ENCODED}


@pytest.mark.slow
def test_a_shared_structure_does_not_unfold() -> None:
    shared: Any = ["x"]
    for _ in range(40):
        shared = [shared, shared]
    assert summed_up(shared) is not None
    shared = [object()]
    for _ in range(40):
        shared = [shared, shared]
    assert summed_up(shared) is not None


@pytest.mark.parametrize("around", ["{}", "![icon]({})", '<img src="{}">', '{{"icon": "{}"}}'])
def test_a_small_picture_in_a_text_is_known_by_its_data_url(around: str) -> None:
    small = PICTURE[:90]
    url = f"data:image/png;base64,{base64.b64encode(small).decode()}"
    summary = {"type": "image/png", "size": 90, "sha256": hashlib.sha256(small).hexdigest()}
    shown = text_summed_up(around.format(url))
    assert shown == around.format(json.dumps(summary, separators=(",", ":")))
