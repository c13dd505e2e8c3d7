"""Images, audio and files inside a payload → ``{"type", "size", "sha256"}``.

Encoded media are found by where they are (the fields in which providers put them), by data URLs
anywhere in a text, and by their look: a long run of base64. Pure functions; the given values are
never changed. Ordinary text costs one search and a look at each 512th place.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from sessionbat.integrations._kit import encode_value, is_plain, to_plain

#: Fields that hold encoded bytes, where their value looks like it.
_MEDIA_KEYS: Final = frozenset({
    "b64", "b64_json", "base64", "blob", "body_bytes", "bytes", "bytesBase64Encoded", "data",
    "file_bytes", "file_data", "fileData", "imageBytes", "image_base64", "image_bytes",
    "partial_image_b64",
})  # fmt: skip
#: Blocks whose ``result`` is what was made.
_MAKES_MEDIA: Final = frozenset({"image_generation_call"})
_MEDIA_TYPE_KEYS: Final = (
    "mime_type", "media_type", "mimeType", "mediaType", "output_format", "format",
)  # fmt: skip

_DATA_URL: Final = re.compile(
    r"data:([\w.+-]+/[\w.+-]+)?(?:;[^,;\s]{0,100}){0,8}?;base64,([A-Za-z0-9+/_%=-]{64,})"
)
_DATA_URL_MARK: Final = ";base64,"
#: A run of base64 in one piece, or wrapped as mail does; not part of a token such as a JWT.
_ENCODED: Final = re.compile(
    r"(?<![\w+/-])(?:(?:[A-Za-z0-9+/]{76}\r?\n){12,}[A-Za-z0-9+/]{0,76}={0,2}"
    r"|(?:[A-Za-z0-9+/]{64}\r?\n){14,}[A-Za-z0-9+/]{0,64}={0,2}"
    r"|[A-Za-z0-9+/_-]{1024,}={0,2})(?![\w+/=-]|\.\w)"
)
_MIN_BY_PLACE: Final = 64
#: As for raw bytes, of which the encoder keeps about as many as they are.
_MIN_BY_LOOK: Final = 1024
#: Also what was encoded in parts, each with its own end; but no hexadecimal number.
_BASE64: Final = re.compile(r"(?![0-9a-f-]+$|[0-9A-F-]+$)[A-Za-z0-9+/_=\r\n-]+")
_BLOCK: Final = 512
_LOOKS_ENCODED: Final = re.compile(r"[A-Za-z0-9+/_\r\n=-]+")
#: What a run of one kind of letter is not: hexadecimal, a ruler, a sequence of bases.
_KINDS: Final = (re.compile("[a-z]+"), re.compile("[A-Z]+"), re.compile("[0-9]+"))

_MAGIC: Final = (
    (b"\x89PNG\r\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"PK\x03\x04", "application/zip"),
)
_MAX_DEPTH: Final = 64
#: Media count once, however long they are.
_ANY_LENGTH: Final = 1 << 40


def summed_up(value: Any) -> Any:
    """Copy any value as plain values, with the media in it summed up."""
    kind = type(value)
    if kind is str:
        return text_summed_up(value)
    if value is None or kind is int or kind is float or kind is bool:
        return value
    if kind is bytes:
        return value if len(value) < _MIN_BY_LOOK else _media_object(value, None, "bytes")
    if not is_plain((value,), _ANY_LENGTH):
        if _only_bytes_are_foreign(value):
            return _value(value, {}, None, _MAX_DEPTH)
        value = to_plain(value)
    return _value(value, {}, None, _MAX_DEPTH)


def text_summed_up(text: str) -> str:
    """Replace the media that a text holds by their summary, as JSON; any other text is returned."""
    if len(text) < _MIN_BY_PLACE:
        return text
    if _DATA_URL_MARK in text:
        text = _DATA_URL.sub(_data_url_summary, text)
    if len(text) >= _MIN_BY_LOOK and _may_hold_encoded(text):
        text = _ENCODED.sub(_run_summary, text)
    return text


def _only_bytes_are_foreign(value: Any, depth: int = 8) -> bool:
    """Whether small blocks hold bytes and otherwise what JSON knows, as Bedrock's do."""
    kind = type(value)
    if kind is dict and depth and len(value) < _BLOCK:
        return all(
            type(key) is str and _only_bytes_are_foreign(inner, depth - 1)
            for key, inner in value.items()
        )
    if kind is list and depth and len(value) < _BLOCK:
        return all(_only_bytes_are_foreign(item, depth - 1) for item in value)
    return kind in (str, bytes, int, float, bool) or value is None


def _value(value: Any, around: Mapping[str, Any], named: Any, depth: int) -> Any:
    kind = type(value)
    if kind is dict and depth:
        named = _media_type_in(value) or named
        return {key: _field(key, inner, value, named, depth - 1) for key, inner in value.items()}
    if (kind is list or kind is tuple) and depth:
        return [_value(item, around, named, depth - 1) for item in value]
    if kind is str:
        return text_summed_up(value)
    if kind is bytes and len(value) >= _MIN_BY_LOOK:
        return _media_object(value, named, "bytes")
    return value


def _field(key: Any, value: Any, around: Mapping[str, Any], named: Any, depth: int) -> Any:
    if type(value) is bytes and key in _MEDIA_KEYS and len(value) >= _MIN_BY_PLACE:
        return _media_object(value, named, "bytes")
    if type(value) is not str:
        return _value(value, around, named, depth)
    if len(value) < _MIN_BY_PLACE:
        return value
    if key != "text" and _DATA_URL_MARK in value[:256]:
        data_url = _DATA_URL.fullmatch(value)
        if data_url is not None:
            return _media_object(_decoded(data_url.group(2)), data_url.group(1) or named)
    is_made = key == "result" and around.get("type") in _MAKES_MEDIA
    if (is_made or key in _MEDIA_KEYS) and _BASE64.fullmatch(value):
        return _media_object(_decoded(value), named)
    if len(value) >= _MIN_BY_LOOK and key != "text":
        whole = _ENCODED.fullmatch(value)
        if whole is not None and _is_mixed(value):
            return _media_object(_decoded(value), named)
    return text_summed_up(value)


def _media_type_in(block: Mapping[str, Any]) -> Any:
    for key in _MEDIA_TYPE_KEYS:
        named = block.get(key)
        if type(named) is str:
            return named
    return None


def _may_hold_encoded(text: str) -> bool:
    """Whether some whole block of the text has no character that base64 has not.

    A run that is long enough to be replaced covers one of these blocks.
    """
    for start in range(0, len(text) - _BLOCK + 1, _BLOCK):
        # Ordinary text has a space among so few characters.
        if _LOOKS_ENCODED.fullmatch(text, start, start + 16) and _LOOKS_ENCODED.fullmatch(
            text, start, start + _BLOCK
        ):
            return True
    return False


def _is_mixed(text: str) -> bool:
    return all(kind.search(text) for kind in _KINDS)


def _data_url_summary(found: re.Match[str]) -> str:
    return _as_text(_media_object(_decoded(found.group(2)), found.group(1)))


def _run_summary(found: re.Match[str]) -> str:
    run = found.group()
    return _as_text(_media_object(_decoded(run), None)) if _is_mixed(run) else run


def _as_text(summary: dict[str, Any]) -> str:
    return encode_value(summary).decode()


def _decoded(encoded: str) -> bytes:
    if "%" in encoded:
        encoded = encoded.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=")
    try:
        return binascii.a2b_base64(_padded(encoded.translate(_URL_SAFE)))
    except ValueError:
        return encoded.encode("utf-8", "surrogatepass")


_URL_SAFE: Final = str.maketrans("-_", "+/")


def _padded(encoded: str) -> str:
    """Add the end that URL-safe encoders leave out."""
    if encoded.endswith("=") or "\n" in encoded:
        return encoded
    return encoded + "=" * (-len(encoded) % 4)


def _media_object(data: bytes, named: Any, otherwise: str | None = None) -> dict[str, Any]:
    return {
        "type": named or _sniffed(data) or otherwise,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _sniffed(data: bytes) -> str | None:
    if data[:4] == b"RIFF":
        return {b"WAVE": "audio/wav", b"WEBP": "image/webp"}.get(data[8:12])
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)
