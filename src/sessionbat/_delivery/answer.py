"""An endpoint's answer, read as the hostile text that it may be.

``sender`` turns it into an outcome. Nothing here is put into a log that could echo what was sent:
of an answer only its status, its slugs, its server's name and the path that it points to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sessionbat._delivery.parcel import Rejection

#: How a SessionBat says where its ingestion is: the relation of a ``Link`` header (RFC 8288).
INGESTION_REL: Final = "https://sessionbat.com/rel/ingestion"

#: The reason of a refusal that gives none, or none that can be shown.
_NO_SLUG: Final = "refused"
#: Where a receipt says that a rejected event stands in its body.
_PLACE: Final = re.compile(r"events\[([0-9]{1,9})\]")
_PAGES: Final = frozenset({"text/html", "application/xhtml+xml"})
_LINK = re.compile(r'<([^<>]{1,300})>\s*;\s*rel="?([^",;]{1,200})"?')
# A path of the same host: one slash, and nothing that a terminal or a reader could take for more.
_PATH = re.compile(r"/(?:[A-Za-z0-9._~%-][A-Za-z0-9._~%/-]*)?")
_SERVER = re.compile(r"[A-Za-z][A-Za-z0-9._/+() -]{0,39}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request."""

    status: int
    headers: Any
    text: bytes
    #: The connection broke at the first try, which may have arrived all the same.
    sent_twice: bool = False

    @property
    def ok(self) -> bool:
        """Whether its status is a success."""
        return 200 <= self.status < 300

    @property
    def is_web_page(self) -> bool:
        """Whether it is meant for a person: a portal's, a block page, a single-page application."""
        text = self.text[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
        if not text:
            return False
        if text.startswith(b"<"):
            return True
        media_type = (self.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        return media_type in _PAGES and self._value() is None

    def json(self) -> dict[str, Any]:
        """Read it as a JSON object; empty when it is none."""
        value = self._value()
        return value if isinstance(value, dict) else {}

    def _value(self) -> Any:
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None

    def error_slug(self) -> str:
        """Give the endpoint's own word for why it refused; empty when it has none."""
        error = self.json().get("error")
        slug = _reason_slug(error.get("slug")) if isinstance(error, dict) else _NO_SLUG
        return "" if slug == _NO_SLUG else slug

    def rejected(self, receipt: dict[str, Any]) -> tuple[Rejection, ...]:
        """Name the events that were not taken, by the answer's own JSON."""
        items = receipt.get("rejected")
        return tuple(_rejections(items if isinstance(items, list) else ()))

    def ingestion_path(self) -> str:
        """Give the path at which a SessionBat says that it takes events; empty when it does not."""
        header = (self.headers.get("Link") or "")[:2000]
        for target, relation in _LINK.findall(header):
            if relation == INGESTION_REL and _PATH.fullmatch(target) and len(target) <= 200:
                return str(target)
        return ""

    def server(self) -> str:
        """Give the ``Server`` header; empty unless it is short and plain."""
        name = (self.headers.get("Server") or "").strip()
        return name if _SERVER.fullmatch(name) else ""


def _rejections(items: Iterable[Any]) -> Iterable[Rejection]:
    for item in items:
        if isinstance(item, dict):
            place = _PLACE.match(str(item.get("at") or ""))
            yield Rejection(
                str(item.get("id") or ""),
                _reason_slug(item.get("slug")),
                None if place is None else int(place[1]),
            )


def _reason_slug(slug: object) -> str:
    text = str(slug or _NO_SLUG)[:40]
    return text if text.replace("-", "").isalnum() and text.isascii() else _NO_SLUG
