"""Renders pages and error pages from templates.

Pages are rendered on the server and work without JavaScript; the modules in ``static/`` only add
keyboard shortcuts, a filter and copying. Payloads are hostile: templates escape everything, and the
Content-Security-Policy forbids inline code.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from sessionbat.errors import StoreError
from sessionbat.server.access.permissions import logout_token_of
from sessionbat.server.ops.store_watch import is_told_already
from sessionbat.server.pages.view import units
from sessionbat.server.reading.times import parse_time
from sessionbat.server.records import SessionSummary
from sessionbat.server.web.addresses import addresses_of, fragment
from sessionbat.server.web.refusal import Refused, refusal_response
from sessionbat.server.web.store_refusal import refusal_of_question

if TYPE_CHECKING:
    from jinja2 import Environment

_log = logging.getLogger("sessionbat.server")

_TEMPLATES: Final = Path(__file__).parent / "templates"


def render(template: str, request: Request, **values: Any) -> str:
    """Fill a template."""
    now = datetime.now(UTC)
    text: str = (
        _environment()
        .get_template(template)
        .render(
            now=now,
            addresses=addresses_of(request.scope),
            trouble=request.app.state.trouble(),
            logout_token=logout_token_of(request.scope),
            ago=lambda moment: units.ago(moment, now),
            **values,
        )
    )
    return text


def html(text: str, status: int = 200) -> Response:
    """Answer with a page."""
    # A lone surrogate cannot be sent; it is shown as a question mark rather than as an error.
    return Response(text.encode("utf-8", "replace"), status, media_type="text/html")


def as_json(data: Mapping[str, Any]) -> bytes:
    """Answer with the JSON of a twin."""
    return json.dumps(data, ensure_ascii=False, indent=1).encode("utf-8", "replace")


def page(show: Callable[[Request], str]) -> Callable[[Request], Response]:
    """Wrap a function that renders a page as an endpoint; refusals become pages too."""

    def endpoint(request: Request) -> Response:
        try:
            return html(show(request))
        except Refused as refused:
            return refusal_page(request, refused)
        except StoreError as exc:
            if not is_told_already(exc):
                _log.error("a page could not be shown: %s", exc)
            return refusal_page(request, refusal_of_question(exc))

    return endpoint


def twin(answer: Callable[[Request], bytes]) -> Callable[[Request], Response]:
    """Wrap a function that returns a page's data as the endpoint of its JSON twin."""

    def endpoint(request: Request) -> Response:
        try:
            return Response(answer(request), media_type="application/json")
        except Refused as refused:
            return refusal_response(refused)

    return endpoint


def refusal_page(request: Request, refused: Refused) -> Response:
    """Render a refusal as a page, for requests from a browser."""
    title = _TITLES.get(refused.slug, "This cannot be shown")
    response = html(render("refusal.html", request, refused=refused, title=title), refused.status)
    response.headers.update(refused.headers)
    return response


def show_trouble(app: Starlette, trouble: Callable[[], str]) -> None:
    """Show a banner on every page of an application while its store is unwell."""
    app.state.trouble = trouble


_TITLES: Final = {
    "bad-form": "That did not work",
    "bad-after": "This link continues nothing",
    "bad-limit": "Not that many",
    "missing-parameter": "Which session?",
    "no-such-event": "No such event",
    "no-such-session": "No such session",
    "not-found": "There is nothing here",
    "query-too-slow": "That took too long",
    "stopping": "The server is stopping",
}


def _lasted(summary: SessionSummary) -> str:
    if not summary.times_known:
        return ""
    first, last = parse_time(summary.first_at), parse_time(summary.last_at)
    if first is None or last is None or last <= first:
        return ""
    return units.latency((last - first).total_seconds() * 1000)


def _number_of(n: float, word: str) -> str:
    return f"{units.count(n)} {word}{'' if n == 1 else 's'}"


@functools.cache
def _environment() -> Environment:
    # For the first page, not for the start of the server: it takes a tenth of a second to load.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        count=units.count,
        number_of=_number_of,
        latency=units.latency,
        money=units.money,
        estimated=units.estimated,
        exact=units.exact,
        clock=units.clock,
        moment=parse_time,
        lasted=_lasted,
        fragment=fragment,
    )
    return environment
