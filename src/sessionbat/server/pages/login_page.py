"""The /login page: a form for a key. ``access/login`` handles its submission."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from sessionbat.server.access.login_cookie import LOGIN_DAYS
from sessionbat.server.pages.rendering import html, render
from sessionbat.server.web.refusal import Refused


def login_page(
    request: Request, following: str, token: str, refused: Refused | None = None
) -> Response:
    """Show the form for a key.

    Args:
        request: The request to answer.
        following: The address to continue to after the login.
        token: The form's token, which it has to send back.
        refused: Why the last attempt was refused.
    """
    text = render(
        "login.html", request, following=following, token=token, refused=refused, days=LOGIN_DAYS
    )
    response = html(text, 200 if refused is None else refused.status)
    response.headers.update({} if refused is None else refused.headers)
    return response
