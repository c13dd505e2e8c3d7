"""The parts of a multipart/form-data body: names and contents, bounded in number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from sessionbat.server.web.refusal import Refused

#: Of a part's headers, and of the boundary (RFC 2046 allows 70).
MAX_HEAD_BYTES: Final = 8 * 1024
MAX_BOUNDARY_CHARACTERS: Final = 200

_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"]+)"|([^\s;]+))', re.IGNORECASE)
_NAME: Final = re.compile(rb'[;\s]name="?([^";\r\n]*)', re.IGNORECASE)
_TYPE: Final = re.compile(rb"^content-type:\s*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


class FormPart(NamedTuple):
    """One part."""

    name: str
    media_type: str
    content: bytes


def boundary_of(content_type: str) -> bytes:
    """Read the boundary out of a content type.

    Raises:
        Refused: There is none (400).
    """
    found = _BOUNDARY.search(content_type)
    boundary = (found[1] or found[2]) if found else ""
    if not 0 < len(boundary) <= MAX_BOUNDARY_CHARACTERS or "multipart/" not in content_type.lower():
        raise Refused(
            400, "not-multipart", "send multipart/form-data with a boundary", at="Content-Type"
        )
    return boundary.encode("latin-1", "replace")


def form_parts(body: bytes, boundary: bytes, most: int) -> Iterator[FormPart]:
    """Give each part; one that is cut short at the end as far as it goes.

    Raises:
        Refused: There is no part (400), or there are more than ``most`` (413).
    """
    mark = b"--" + boundary
    at = body.find(mark)
    if at < 0:
        raise Refused(400, "not-multipart", "no part begins with the boundary of the content type")
    count = 0
    while at >= 0 and not body.startswith(b"--", at + len(mark)):
        start = at + len(mark)
        at = body.find(b"\r\n" + mark, start)
        end = len(body) if at < 0 else at
        at = at if at < 0 else at + 2
        count += 1
        if count > most:
            raise Refused(413, "too-many-events", f"more than {most} parts; send fewer at once")
        yield _part(body, start, end)


def _part(body: bytes, start: int, end: int) -> FormPart:
    split = body.find(b"\r\n\r\n", start, min(end, start + MAX_HEAD_BYTES))
    if split < 0:
        return FormPart("", "", b"")
    head = body[start:split]
    name, type_ = _NAME.search(head), _TYPE.search(head)
    return FormPart(
        name[1].decode("utf-8", "replace") if name else "",
        type_[1].decode("latin-1").strip() if type_ else "",
        body[split + 4 : end],
    )
