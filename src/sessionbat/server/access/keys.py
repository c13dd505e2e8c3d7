"""API keys: random bits with an id to look them up by, stored as a hash.

A key is ``sbat_ingest_`` and 40 characters: 8 are the key's id, which lists show, and 32 are its
secret. The server stores only the SHA-256. That needs neither salt nor stretching, because nobody
can try 2¹⁶⁰ secrets.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from sessionbat.errors import ConfigurationError
from sessionbat.event import MAX_NAME_CHARACTERS
from sessionbat.server.records import KeyKind, StoredKey

_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 characters, none like another
_ID_CHARACTERS: Final = 8
_SECRET_CHARACTERS: Final = 32
_KEY = re.compile(
    rf"sbat_(?:ingest|read|admin|feedback)_([{_ALPHABET}]{{{_ID_CHARACTERS}}})"
    rf"[{_ALPHABET}]{{{_SECRET_CHARACTERS}}}"
)


def new_key(
    kind: KeyKind, app: str | None, name: str, origins: Sequence[str] = ()
) -> tuple[str, StoredKey]:
    """Make a key; returns the text for its owner and the record to store.

    Args:
        kind: Whether it ingests, reads or administers.
        app: The only app that it writes to or reads; None for every app.
        name: A free text for its owner, to remember what it is used for.
        origins: The web pages that may use a feedback key, as ``https://shop.example.com``.

    Raises:
        ConfigurationError: An ingest or feedback key without an app, an admin key with one, a text
            that is empty or cannot be shown, a feedback key without origins, or another with some.
    """
    if kind in ("ingest", "feedback") and app is None:
        raise ConfigurationError(
            f"{'an' if kind == 'ingest' else 'a'} {kind} key writes to one app; say which with"
            " --app NAME",
            slug="key-app",
        )
    if kind == "admin" and app is not None:
        raise ConfigurationError(
            f"an admin key is for every app; leave out --app {app!r}, or make a read or an ingest"
            " key",
            slug="key-app",
        )
    if app is not None and not _is_app(app):
        raise ConfigurationError(
            f"an app's name is printable text, {MAX_NAME_CHARACTERS} characters at the most, got"
            f" {app[:MAX_NAME_CHARACTERS]!r}; name the app as it names itself",
            slug="key-app",
        )
    if not name.isprintable():
        raise ConfigurationError(
            f"a key's name is printable text, got {name!r}; choose another", slug="key-name"
        )
    if bool(origins) != (kind == "feedback"):
        raise ConfigurationError(
            "a feedback key is used by web pages; name their origin with --origin"
            " https://shop.example.com"
            if kind == "feedback"
            else f"--origin is for feedback keys, and this is to be one for {kind}; leave it out",
            slug="key-origin",
        )
    named = tuple(dict.fromkeys(map(_origin, origins)))
    key_id, secret = _random(_ID_CHARACTERS), _random(_SECRET_CHARACTERS)
    key = f"sbat_{kind}_{key_id}{secret}"
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return key, StoredKey(key_id, kind, app, name, _digest(key), created_at=now, origins=named)


def _is_app(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME_CHARACTERS and name.isprintable()


def _origin(given: str) -> str:
    """Write an origin as browsers do: scheme, host and a port that is not the usual one."""
    match = _ORIGIN.fullmatch(given.lower())
    if match is None or int(match["port"] or 0) > 65535:
        raise ConfigurationError(
            f"an origin is http or https, a host and perhaps a port, without a path; got {given!r}."
            " Name each, for example https://shop.example.com or http://localhost:3000",
            slug="key-origin",
        )
    scheme, port = match["scheme"], match["port"]
    usual = {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{match['host']}" + (f":{int(port)}" if port and int(port) != usual else "")


_ORIGIN: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)


def id_of(key: str) -> str | None:
    """Read the id in a key; None when it does not have the form of one."""
    match = _KEY.fullmatch(key)
    return None if match is None else match[1]


def is_same(key: str, stored: StoredKey) -> bool:
    """Whether this is the stored key, compared in constant time.

    The stored key is looked up by its id, which is no secret; only the digests are compared here.
    """
    return hmac.compare_digest(_digest(key), stored.digest)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _random(characters: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(characters))
