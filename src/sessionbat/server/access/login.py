"""Logging in and out: a form that takes a read or an admin key and leaves a cookie.

Works without JavaScript. Forms are protected against requests from other sites: each carries a
signature of a cookie in the same browser, which no other site can read or set.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from sessionbat.server.access.login_cookie import LOGIN_SECONDS, LoginCookie
from sessionbat.server.access.permissions import (
    Guard,
    access_with,
    feedback_only,
    login_cookie_of,
    not_allowed,
)
from sessionbat.server.access.routes import Face, GuardedRoute, Need
from sessionbat.server.web.addresses import LOGIN, LOGOUT, addresses_of
from sessionbat.server.web.host_header import came_over_https
from sessionbat.server.web.refusal import Refused

_FORM_SECONDS: Final = 3600
_MAX_FORM_BYTES: Final = 8192
_FORM_TIMEOUT_S: Final = 10.0
_FORM = re.compile("[0-9a-f]{32}")


class Login:
    """The login form and what it sends.

    Args:
        guard: Checks keys.
        cookie: Makes and reads login cookies.
        show: Renders the form from the address to continue to, the form's token and an error.
        refuse: Renders a refusal.
    """

    def __init__(
        self,
        guard: Guard,
        cookie: LoginCookie,
        *,
        show: Callable[[Request, str, str, Refused | None], Response],
        refuse: Callable[[Request, Refused], Response],
    ) -> None:
        self._guard = guard
        self._cookie = cookie
        self._show = show
        self._refuse = refuse

    def routes(self) -> list[GuardedRoute]:
        """List the routes of login and logout."""
        return [
            GuardedRoute(path, handler, need=Need.NOTHING, face=Face.PAGE, methods=[method])
            for path, handler, method in (
                (LOGIN, self._form, "GET"),
                (LOGIN, self._log_in, "POST"),
                (LOGOUT, self._log_out, "POST"),
            )
        ]

    async def _form(self, request: Request) -> Response:
        following = _following(request, request.query_params.get("next", ""))
        if self._guard.is_open() or self._guard.access_by_login(request.scope) is not None:
            return RedirectResponse(following, 303)
        return self._fresh_form(request, following)

    async def _log_in(self, request: Request) -> Response:
        following = _following(request, "")
        try:
            fields = await _fields(request)
            following = _following(request, fields.get("next", ""))
            form = request.cookies.get(self._form_name, "")
            if not form or not self._cookie.is_signed("form", form, fields.get("token", "")):
                raise Refused(
                    403,
                    "bad-form",
                    "this form is too old, or the browser keeps no cookies; try again",
                )
            value = self._cookie.make(self._key_id(request, fields.get("key", "").strip()))
        except Refused as refused:
            return self._fresh_form(request, following, refused)
        response = RedirectResponse(following, 303)
        self._set_cookie(request, response, self._cookie.name, value, LOGIN_SECONDS)
        response.delete_cookie(self._form_name, path=addresses_of(request.scope).cookie_path)
        return response

    async def _log_out(self, request: Request) -> Response:
        value = login_cookie_of(request.scope, self._cookie.name)
        try:
            fields = await _fields(request)
            if value and not self._cookie.is_signed("logout", value, fields.get("token", "")):
                raise Refused(403, "bad-form", "this form is too old; go back and try again")
        except Refused as refused:
            return self._refuse(request, refused)
        response = RedirectResponse(addresses_of(request.scope).login(), 303)
        response.delete_cookie(self._cookie.name, path=addresses_of(request.scope).cookie_path)
        return response

    def _key_id(self, request: Request, key: str) -> str:
        stored = self._guard.check_key(key, request.scope)
        if access_with(stored).is_for_feedback_only:
            raise feedback_only()
        if not access_with(stored).may_read:
            raise not_allowed("this key writes; to look at sessions, use a read or an admin key")
        return stored.id

    def _fresh_form(
        self, request: Request, following: str, refused: Refused | None = None
    ) -> Response:
        form = request.cookies.get(self._form_name, "")
        if not _FORM.fullmatch(form):
            form = secrets.token_hex(16)  # else the same, so that forms in two tabs both count
        response = self._show(request, following, self._cookie.sign("form", form), refused)
        self._set_cookie(request, response, self._form_name, form, _FORM_SECONDS)
        return response

    @property
    def _form_name(self) -> str:
        return f"{self._cookie.name}_form"

    def _set_cookie(
        self, request: Request, response: Response, name: str, value: str, seconds: int
    ) -> None:
        # The login is sent along when somebody follows a link from elsewhere; the form's is not.
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path=addresses_of(request.scope).cookie_path,
            secure=came_over_https(request.scope),
            httponly=True,
            samesite="lax" if name == self._cookie.name else "strict",
        )


async def _fields(request: Request) -> dict[str, str]:
    data = b""
    try:
        async with asyncio.timeout(_FORM_TIMEOUT_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > _MAX_FORM_BYTES:
                    raise Refused(413, "bad-form", "the form is too long")
    except (TimeoutError, ClientDisconnect) as exc:
        raise Refused(408, "bad-form", "the form did not arrive; try again") from exc
    try:
        return dict(parse_qsl(data.decode("ascii"), max_num_fields=10))
    except ValueError as exc:
        raise Refused(400, "bad-form", "this form is not from this server; try again") from exc


def _following(request: Request, wanted: str) -> str:
    """Return the path to continue to after the login; never one outside this server."""
    addresses = addresses_of(request.scope)
    return wanted if addresses.is_own(wanted) else addresses.sessions()
