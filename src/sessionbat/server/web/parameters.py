"""Query parameters, declared once: their parsing, refusal and description.

``Query`` parses a request by a list of them; ``openapi`` describes the same list. An empty value
counts as missing, since forms send empty fields, except for a number with a range.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar, cast

from sessionbat.server.reading.times import read_time
from sessionbat.server.web.refusal import Refused

Value = TypeVar("Value")
Word = TypeVar("Word", bound=str)

Schema = dict[str, Any]

#: The largest valid number; no count of tokens, cents or milliseconds comes near it.
MAX_NUMBER: Final = 10**15

_QUOTED: Final = 40  # characters of a wrong value that a message repeats
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?\Z")
_WHOLE: Final = re.compile(r"[0-9]{1,16}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter(ABC, Generic[Value]):
    """A parameter: its name, its description, and how its text is parsed."""

    name: str
    description: str
    required: bool = False
    #: The default value; None for no default.
    default: Value | None = None

    @abstractmethod
    def read(self, text: str) -> Value:
        """Parse the text.

        Raises:
            Refused: It is not a valid value (400).
        """

    @abstractmethod
    def schema(self) -> Schema:
        """Describe the text as a JSON Schema."""

    @property
    def may_be_empty(self) -> bool:
        """Whether ``name=`` means that it was not given."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Parameter[str]):
    """Any text."""

    def read(self, text: str) -> str:
        """Return it unchanged."""
        return text

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "minLength": 1} if self.required else {"type": "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Parameter[Word]):
    """One of a few words."""

    choices: tuple[Word, ...]

    def read(self, text: str) -> Word:
        """Return it if it is one of the words."""
        for choice in self.choices:
            if choice == text:
                return choice
        raise Refused(
            400,
            "bad-parameter",
            f"{self.name} must be one of {', '.join(self.choices)}, got {text[:_QUOTED]!r}",
            at=self.name,
        )

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "enum": list(self.choices)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag(Parameter[bool]):
    """True or false."""

    def read(self, text: str) -> bool:
        """Parse ``true`` or ``false``."""
        if text in ("true", "false"):
            return text == "true"
        raise Refused(
            400,
            "bad-parameter",
            f"{self.name} must be one of true, false, got {text[:_QUOTED]!r}",
            at=self.name,
        )

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Parameter[float]):
    """A number from 0 to ``MAX_NUMBER``."""

    def read(self, text: str) -> float:
        """Parse a decimal number, with or without an exponent."""
        number = float(text) if _NUMBER.match(text) else -1.0
        if not 0 <= number <= MAX_NUMBER:
            raise Refused(
                400,
                "bad-parameter",
                f"{self.name} must be a number from 0 to {MAX_NUMBER}, got {text[:_QUOTED]!r}",
                at=self.name,
            )
        return number

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "number", "minimum": 0, "maximum": MAX_NUMBER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole(Parameter[int]):
    """A whole number in a range."""

    minimum: int = 0
    maximum: int = MAX_NUMBER
    slug: str = "bad-parameter"

    def read(self, text: str) -> int:
        """Parse decimal digits within the range."""
        number = int(text) if _WHOLE.match(text) else -1
        if not self.minimum <= number <= self.maximum:
            raise Refused(
                400,
                self.slug,
                f"{self.name} must be a whole number from {self.minimum} to {self.maximum}, got"
                f" {text[:_QUOTED]!r}",
                at=self.name,
            )
        return number

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}

    @property
    def may_be_empty(self) -> bool:
        """False when there is a default: ``limit=`` is a mistake."""
        return self.default is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Time(Parameter[datetime]):
    """A time or a day, as in RFC 3339; UTC when it has no zone."""

    def read(self, text: str) -> datetime:
        """Parse a time from 1970 to 9998."""
        # In a query string, a plus sign that nobody escaped has become a space.
        at = read_time(text.replace(" ", "+") if "T" in text.upper() else text)
        if at is None:
            raise self._refused(text)
        if not 1970 <= at.year < 9999:
            raise self._refused(text)
        return at

    def schema(self) -> Schema:
        """Describe it."""
        return {"anyOf": [{"type": "string", "format": f} for f in ("date-time", "date")]}

    def _refused(self, text: str) -> Refused:
        return Refused(
            400,
            "bad-time",
            f"{self.name} must be a time as in RFC 3339, for example 2026-11-22T16:00:00Z, got"
            f" {text[:_QUOTED]!r}",
            at=self.name,
        )


class Query:
    """A query string, parsed by the parameters that an operation declares.

    Args:
        name: The operation, for messages.
        declared: All parameters that it takes.
        given: Names and values as received.
        ignore_others: Whether to ignore undeclared names; the address of a page collects some.

    Raises:
        Refused: A parameter is missing, unknown, repeated or not valid (400).
    """

    def __init__(
        self,
        name: str,
        declared: Sequence[Parameter[Any]],
        given: Iterable[tuple[str, str]],
        *,
        ignore_others: bool = False,
    ) -> None:
        names = {parameter.name for parameter in declared}
        pairs = [pair for pair in given if not ignore_others or pair[0] in names]
        texts = dict(pairs)
        self._values: Mapping[str, Any] = {
            parameter.name: _read(parameter, texts.get(parameter.name)) for parameter in declared
        }
        _check_names(name, names, [name for name, _ in pairs])

    def get(self, parameter: Parameter[Value]) -> Value | None:
        """Return a parameter's value, its default, or None."""
        return cast(Value | None, self._values[parameter.name])

    def require(self, parameter: Parameter[Value]) -> Value:
        """Return the value of a parameter that is required or has a default."""
        value = self.get(parameter)
        assert value is not None, parameter.name
        return value


def missing(parameter: Parameter[Any]) -> Refused:
    """Make the 400 for a missing parameter."""
    return Refused(
        400,
        "missing-parameter",
        f"{parameter.name} is missing; add ?{parameter.name}=...",
        at=parameter.name,
    )


def _check_names(operation: str, declared: set[str], given: Sequence[str]) -> None:
    for number, name in enumerate(given):
        if name not in declared:
            raise Refused(
                400,
                "unknown-parameter",
                f"{operation} has no parameter {name[:_QUOTED]!r}; use"
                f" {', '.join(sorted(declared))}",
                at=name[:_QUOTED],
            )
        if name in given[:number]:
            raise Refused(
                400, "repeated-parameter", f"{name} is given twice; give it once", at=name
            )


def _read(parameter: Parameter[Value], text: str | None) -> Value | None:
    if text is None or (not text and parameter.may_be_empty):
        if parameter.required:
            raise missing(parameter)
        return parameter.default
    return parameter.read(text)
