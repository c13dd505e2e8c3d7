"""Which names and values are credentials, and a value without them.

The one place that decides it; used for what is recorded without the host having written it down
for recording. Pure functions over plain values, cheap enough for every call.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

#: Any of these among the words of a name makes it a secret's.
_SECRET_WORDS: Final = frozenset({
    "authorisation", "authorization", "bearer", "cookie", "cookies", "cred", "creds", "credential",
    "credentials", "csrf", "dsn", "jwt", "otp", "pass", "passcode", "passphrase", "passwd",
    "password", "passwords", "pat", "pwd", "secret", "secrets", "totp", "xsrf",
})  # fmt: skip
#: The same, written with other words into one: ``dbpassword``.
_SECRET_PARTS: Final = re.compile(
    r"passw(or)?d|passphrase|secret(?!ar)|credential|authori[sz]ation|api_?key|access_?key"
    r"|private_?key|connection_?str|conn_?str|seed_?phrase|recovery_?code"
)
#: The same, where it is the whole name: ``authtoken``.
_TOKEN_WORD: Final = re.compile(r"(access|api|auth|bearer|bot|csrf|id|refresh|session|user)tokens?")
#: Before ``key`` these say that it finds something rather than opens it.
_FINDING_KEYS: Final = frozenset({
    "cache", "candidate", "column", "composite", "config", "content", "context", "data", "dedupe",
    "dict", "document", "feature", "field", "file", "foreign", "group", "hash", "hot", "i18n",
    "idempotency", "index", "input", "issue", "item", "join", "lookup", "map", "memory", "message",
    "metadata", "natural", "object", "output", "parent", "partition", "primary", "project",
    "prompt", "public", "question", "range", "record", "registry", "result", "routing", "row", "s3",
    "search", "sort", "source", "state", "storage", "store", "surrogate", "template", "text",
    "thread", "translation", "unique", "values",
})  # fmt: skip
#: Before ``token`` these say that it is a piece of text or a place in a list.
_COUNTED_TOKENS: Final = frozenset({
    "bos", "cls", "completion", "continuation", "end", "eos", "first", "input", "last", "mask",
    "max", "min", "next", "output", "pad", "page", "per", "previous", "prompt", "sep", "special",
    "start", "stop", "sync", "unk",
})  # fmt: skip
_GIVING_TOKENS: Final = frozenset({"access", "api", "auth", "bearer", "refresh"})
#: At the end of a name these say that it is about a credential rather than one.
_ABOUT_IT: Final = frozenset({"count", "expired", "expires", "length", "rate", "type"})

#: Values that are a credential by their look, whatever they are called.
_SECRET_VALUE: Final = re.compile(
    r"(?i:\b(bearer|basic)\s+[\w.~+/=-]{8,})"
    r"|://[^/\s:@]*:[^/\s@]+@"  # a password within an address
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b(sk|rk|pk)[-_](live[-_]|test[-_]|proj-|ant-)?[A-Za-z0-9_-]{20,}"
    r"|\b(gh[pousr]|github_pat|glpat|xox[abprs]|hf)[-_][A-Za-z0-9_-]{16,}"
    r"|\bA(KIA|SIA)[0-9A-Z]{16}\b"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
)
_MIN_SECRET_VALUE: Final = 8
_AWS_KEY_CHARACTERS: Final = 20
_MAX_SEARCHED_CHARACTERS: Final = 4096
_MAX_DEPTH: Final = 64

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
#: Letters and the digits that belong to them: ``s3``, ``i18n``.
_MIXED: Final = re.compile(r"\b(s3|i18n)(?=_|-|$)", re.IGNORECASE)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a credential: ``api_key``, ``userToken``, ``DB-PWD``."""
    words = _words(name[:256])
    if not words:
        return False
    if _SECRET_PARTS.search("_".join(words)) or _TOKEN_WORD.fullmatch("".join(words)):
        return True
    if words[-1] in _ABOUT_IT:
        return False
    if not _SECRET_WORDS.isdisjoint(words):
        return (
            words[-1] != "pass" or len(words) == 1 or words[-2] not in ("first", "second", "test")
        )
    before = words[-2] if len(words) > 1 else ""
    if words[-1] in ("token", "value", "string") and "token" in words[-2:]:
        return words[words.index("token") - 1] not in _COUNTED_TOKENS or words[0] == "token"
    if words[-1] == "tokens":
        return before in _GIVING_TOKENS
    if words[-1] in ("key", "keys"):
        return bool(before) and before not in _FINDING_KEYS and not before.isdigit()
    return words[-1].endswith("apikey")


def is_secret_value(text: str) -> bool:
    """Whether a text holds a credential by its look: a bearer token, a password in an address."""
    return (
        len(text) >= _MIN_SECRET_VALUE
        and not (text.isalnum() and len(text) != _AWS_KEY_CHARACTERS)  # most ids, without a search
        and _SECRET_VALUE.search(text, 0, _MAX_SEARCHED_CHARACTERS) is not None
    )


def is_secret(name: object, value: object) -> bool:
    """Whether an entry must not leave the process, by its name or by its value's look.

    What is true, false or nothing is no credential, whatever it is called.
    """
    kind = type(value)
    if kind is bool or value is None:
        return False
    if kind is str and is_secret_value(value):  # type: ignore[arg-type]
        return True
    if type(name) is not str:
        return False
    return is_secret_name(name) or (name.lower() == "auth" and kind is not dict)


def without_secrets(value: Any, depth: int = _MAX_DEPTH) -> Any:
    """Copy a plain value without the entries that are credentials, at any depth.

    Knows dicts, and pairs in lists, as headers often are: ``[("Authorization", "…")]`` and
    ``[{"name": "Authorization", "value": "…"}]``. A bare text that looks like a credential becomes
    None. Values of any other type are handed on as they are.
    """
    kind = type(value)
    if kind is str:
        return None if is_secret_value(value) else value
    if (kind is not dict and kind is not list and kind is not tuple) or not depth:
        return value
    if kind is dict:
        return {
            key: without_secrets(inner, depth - 1)
            for key, inner in value.items()
            if not is_secret(key, inner)
        }
    return [without_secrets(item, depth - 1) for item in value if not _is_secret_pair(item)]


def _is_secret_pair(item: Any) -> bool:
    if type(item) is dict and "value" in item:
        return is_secret(item.get("name", item.get("key")), item["value"])
    return type(item) in (list, tuple) and len(item) == 2 and is_secret(_text(item[0]), item[1])


def _text(name: Any) -> Any:
    # Raw ASGI headers are pairs of bytes.
    return name.decode("latin-1") if type(name) is bytes else name


def _words(name: str) -> list[str]:
    """Split a name into its words: ``userApiKey2`` is ``user``, ``api``, ``key``, ``2``."""
    kept = [mixed.lower() for mixed in _MIXED.findall(name)]
    words = [word.lower() for word in _WORD.findall(_MIXED.sub("", name))]
    if words and words[-1].isdigit() and len(words) > 1:
        words.pop()  # ``api_key_2``
    return kept + words
