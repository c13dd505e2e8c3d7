"""Turns a request's key into permissions: what it may do, and for which app.

A store without keys is open to everyone, which ``app`` allows on loopback only. Once a key was ever
created, each request needs one: as ``Authorization: Bearer`` or, for reading, as a login cookie.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import cookie_parser
from starlette.types import Scope

from sessionbat.server.access.key_headers import header_values, keys_of
from sessionbat.server.access.keys import id_of, is_same
from sessionbat.server.access.login_cookie import LoginCookie
from sessionbat.server.access.throttle import Throttle
from sessionbat.server.background import Seldom
from sessionbat.server.records import StoredKey
from sessionbat.server.settings import is_loopback
from sessionbat.server.store.protocol import Store
from sessionbat.server.store.scoped import Visible
from sessionbat.server.web.addresses import FEEDBACK_PATH
from sessionbat.server.web.refusal import Refused

_log = logging.getLogger("sessionbat.server")

_SCOPE_NAME: Final = "sessionbat.access"


@dataclass(frozen=True, slots=True)
class Access:
    """What a request may do."""

    may_read: bool
    may_write: bool
    #: The only app it may do it to; None: every app.
    app: str | None = None
    #: There is no key yet, so that nobody needs one.
    is_open: bool = False
    #: The token that the logout form has to send; empty for a request with a key.
    logout_token: str = ""
    #: Whether it may say what a user thinks of a session; whoever may write may do that, too.
    may_send_feedback: bool = False
    #: The web pages from which a browser may do so; empty: that is not asked.
    origins: tuple[str, ...] = ()

    @property
    def may_read_every_app(self) -> bool:
        """Whether it may read the events of every app."""
        return self.may_read and self.app is None

    @property
    def is_for_feedback_only(self) -> bool:
        """Whether it may do nothing else."""
        return self.may_send_feedback and not (self.may_read or self.may_write)

    @property
    def may_do_all(self) -> bool:
        """Whether it has every permission, for every app."""
        return self.may_read_every_app and self.may_write


EVERYTHING: Final = Access(may_read=True, may_write=True, is_open=True, may_send_feedback=True)


def access_of(scope: Scope) -> Access:
    """Return the permissions that were attached to a request.

    Raises:
        KeyError: The request did not pass the guarding middleware.
    """
    access: Access = scope[_SCOPE_NAME]
    return access


def visible_to(scope: Scope, store: Store) -> Visible:
    """Return the store, limited to what a request may see; used by the pages and the read API.

    Raises:
        KeyError: As ``access_of``.
    """
    return Visible(store, access_of(scope).app)


def logout_token_of(scope: Scope) -> str:
    """Return the token for the logout form; empty when nobody is logged in."""
    access: Access | None = scope.get(_SCOPE_NAME)
    return "" if access is None else access.logout_token


def grant(scope: Scope, access: Access) -> None:
    """Attach permissions to a request."""
    scope[_SCOPE_NAME] = access


class Guard:
    """Looks up each request's key in the store; used by the event loop's thread only.

    Keys are not cached, so a revoked key is refused from the next request on.

    Args:
        store: Holds the keys.
        cookie: Reads login cookies.
        may_be_open: Whether a store without keys is open to everyone.
        clock: Seconds.
    """

    def __init__(
        self,
        store: Store,
        cookie: LoginCookie,
        *,
        may_be_open: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._cookie = cookie
        self._may_be_open = may_be_open
        self._throttle = Throttle(clock)
        self._bad_keys = Seldom(
            _log,
            "bad-key",
            "refused %d requests with a key that is unknown or revoked, the last from %s",
            level=logging.WARNING,
            clock=clock,
        )

    def is_open(self) -> bool:
        """Whether requests need no key; once False, always False.

        Raises:
            StoreError: The store cannot be asked; access is then denied.
        """
        if self._may_be_open and self._store.has_keys():
            self._may_be_open = False
        return self._may_be_open

    def access(self, scope: Scope, *, by_any_header: bool = False) -> Access:
        """Determine what a request may do.

        Args:
            scope: The request.
            by_any_header: As for ``keys_of``.

        Raises:
            Refused: The key is missing or wrong (401); its address has sent too many wrong keys
                (429); or it comes from another machine through a trusted proxy while the store
                has no keys (403).
            StoreError: The store cannot be asked.
        """
        if self.is_open():
            if not _is_here(scope):
                raise Refused(
                    403,
                    "no-keys",
                    "this server has no key yet and serves its own machine only; make one with:"
                    " sessionbat keys create",
                )
            return EVERYTHING
        keys = keys_of(scope, by_any_header=by_any_header)
        if keys:
            return access_with(self.check_key(keys[0] if len(keys) == 1 else "", scope))
        access = self.access_by_login(scope)
        if access is None:
            raise Refused(
                401,
                "no-key",
                "this needs a key; send it as Authorization: Bearer sbat_...",
                headers={"WWW-Authenticate": 'Bearer realm="SessionBat"'},
            )
        return access

    def check_key(self, key: str, scope: Scope) -> StoredKey:
        """Look up the key that a request brings.

        Raises:
            Refused: The key is unknown or revoked (401), or too many wrong keys came from this
                address (429).
            StoreError: The store cannot be asked.
        """
        key_id = id_of(key)
        stored = None if key_id is None else self._store.find_key(key_id)
        if stored is None or not is_same(key, stored) or stored.revoked_at is not None:
            raise self._refuse_key(scope)
        return stored

    def access_by_login(self, scope: Scope) -> Access | None:
        """Determine what a logged-in browser may do: read only; None when it is not logged in.

        Another site can make a browser send its cookie, so a cookie permits no change of anything.
        """
        value = login_cookie_of(scope, self._cookie.name)
        key_id = self._cookie.read(value)
        stored = None if key_id is None else self._store.find_key(key_id)
        if stored is None or stored.revoked_at is not None or not access_with(stored).may_read:
            return None
        return Access(
            may_read=True,
            may_write=False,
            app=stored.app,
            logout_token=self._cookie.sign("logout", value),
        )

    def _refuse_key(self, scope: Scope) -> Refused:
        address = (scope.get("client") or ("",))[0]
        wait_s = self._throttle.fail(address)
        self._bad_keys.note(address or "a local socket", about="")
        if wait_s is not None:
            return Refused(
                429,
                "too-many-bad-keys",
                f"too many wrong keys came from this address; try again in {wait_s} s",
                headers={"Retry-After": str(wait_s)},
            )
        return Refused(
            401,
            "bad-key",
            "this key is unknown or revoked; make another with: sessionbat keys create",
            headers={"WWW-Authenticate": 'Bearer realm="SessionBat", error="invalid_token"'},
        )


def access_with(stored: StoredKey) -> Access:
    """Return the permissions of a key."""
    return Access(
        may_read=stored.kind in ("read", "admin"),
        may_write=stored.kind in ("ingest", "admin"),
        app=stored.app,
        may_send_feedback=stored.kind in ("ingest", "admin", "feedback"),
        origins=stored.origins,
    )


def not_allowed(message: str) -> Refused:
    """Make the 403 for a valid key that lacks the permission."""
    return Refused(
        403,
        "not-allowed",
        message,
        headers={"WWW-Authenticate": 'Bearer realm="SessionBat", error="insufficient_scope"'},
    )


def feedback_only() -> Refused:
    """Make the refusal of anything else to a key that web pages send feedback with."""
    refused = not_allowed(
        f"this key sends feedback to {FEEDBACK_PATH} and does nothing else; use a read or an ingest"
        " key"
    )
    return Refused(403, "feedback-only", refused.message, headers=refused.headers)


def login_cookie_of(scope: Scope, name: str) -> str:
    """Read the login cookie; empty when there is none."""
    for header in header_values(scope, b"cookie"):
        value = cookie_parser(header).get(name)
        if value:
            return value
    return ""


def _is_here(scope: Scope) -> bool:
    client = scope.get("client")
    return client is None or is_loopback(client[0])
