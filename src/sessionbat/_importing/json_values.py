"""JSON as RFC 8259 has it, decoded and encoded, with the reason where that cannot be."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from sessionbat._importing.bad import BadLine

Json = dict[str, Any]


def parse_json(data: bytes) -> Any:
    """Decode one JSON value.

    Raises:
        BadLine: It holds something else.
    """
    try:
        return loads(data.decode())
    except UnicodeDecodeError as exc:
        raise BadLine(f"not UTF-8: byte {exc.start + 1} cannot be decoded") from exc
    except RecursionError as exc:
        raise BadLine("nested too deeply") from exc
    except json.JSONDecodeError as exc:
        place = f"column {exc.colno}" if exc.lineno == 1 else f"{exc.lineno - 1} lines further down"
        raise BadLine(f"not JSON: {exc.msg} ({place})") from exc
    except ValueError as exc:  # NaN, or an integer of more digits than Python reads
        raise BadLine("not JSON: holds a number that JSON cannot write") from exc


def text(value: object) -> str | None:
    """Give a string that holds anything; None for all else."""
    return value if isinstance(value, str) and value else None


def decoded(value: object) -> Any:
    """Decode JSON that came as text; anything else, and what is no JSON, is given back."""
    if not isinstance(value, str):
        return value
    try:
        return loads(value)
    except (ValueError, RecursionError):
        return value


def encode(value: object, *, ascii_only: bool = True) -> bytes:
    """Encode as canonical JSON, or raise BadLine where JSON has no way to write it."""
    try:
        return json.dumps(
            value,
            ensure_ascii=ascii_only,
            allow_nan=False,
            separators=(",", ":"),
            sort_keys=ascii_only,
        ).encode()
    except UnicodeEncodeError as exc:
        raise BadLine("holds half a character: a lone surrogate") from exc
    except ValueError as exc:
        raise BadLine("holds a number that JSON cannot write") from exc
    except RecursionError as exc:
        raise BadLine("nested too deeply") from exc


def loads(text: str) -> Any:
    """Decode JSON: Python alone would take NaN for a number."""
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(constant)
