"""The captured requests of LangSmith's SDK, as runs and feedback in the order they were sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "langsmith"

Run = dict[str, Any]


def runs_of(name: str) -> list[Run]:
    """Read the beginnings and ends of runs in a capture's requests, each as one run."""
    return [each for named, each in _said_in(name) if not named.startswith("feedback.")]


def feedback_of(name: str) -> list[Run]:
    """Read the feedback in a capture's requests."""
    return [each for named, each in _said_in(name) if named.startswith("feedback.")]


def _said_in(name: str) -> list[tuple[str, Run]]:
    return [each for body, kind in _requests(name) for each in _parts(body, kind)]


def _requests(name: str) -> Iterator[tuple[bytes, str]]:
    for head_file in sorted((FOLDER / name).glob("*.head.json")):
        head = json.loads(head_file.read_text())
        body = head_file.with_name(head_file.name.replace(".head.json", ".body")).read_bytes()
        if head["headers"].get("content-encoding") == "zstd":
            body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
        if head["path"] == "/runs/multipart":
            yield body, head["headers"]["content-type"]


def _parts(body: bytes, content_type: str) -> list[tuple[str, Run]]:
    boundary = content_type.partition("boundary=")[2].encode()
    runs: dict[str, Run] = {}
    for piece in body.split(b"--" + boundary)[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        found = re.search(rb'name="((?:post|patch|feedback)\.[^."]+)(?:\.([^"]+))?"', head)
        assert found is not None
        value = json.loads(content.removesuffix(b"\r\n"))
        run = runs.setdefault(found[1].decode(), {})
        run.update({found[2].decode(): value} if found[2] else value)
    return [*runs.items()]
