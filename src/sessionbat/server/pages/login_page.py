"""/login as a person sees it: the form that takes a key. ``access/login`` reads what it sends."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from sessionbat.server.access.login_cookie import LOGIN_DAYS
from sessionbat.server.pages.rendering import html, render
from sessionbat.server.web.refusal import Refused


def login_page(
    request: Request, following: str, token: str, refused: Refused | None = None
) -> Response:
    """Show the form that takes a key.

    Args:
        request: Who asks.
        following: Where the form goes on to.
        token: What the form has to send back.
        refused: Why the last try was not granted.
    """
    text = render(
        "login.html", request, following=following, token=token, refused=refused, days=LOGIN_DAYS
    )
    response = html(text, 200 if refused is None else refused.status)
    response.headers.update({} if refused is None else refused.headers)
    return response
