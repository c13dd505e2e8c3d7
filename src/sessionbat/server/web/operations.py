"""Operations: a method and path with its parameters and every possible answer.

Schemas of answers are made from the record classes, so a new field is documented automatically.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from sessionbat.server.web.parameters import Parameter, Schema

#: Slugs of refusals that any operation may give, by status.
COMMON_REFUSALS: Final[Mapping[int, tuple[str, ...]]] = {
    400: ("not-http",),
    401: ("no-key", "bad-key"),
    403: ("not-allowed", "no-keys"),
    408: ("slow-head",),
    421: ("wrong-host",),
    429: ("too-many-bad-keys",),
    431: ("head-too-large",),
    500: ("internal-error",),
    503: ("stopping", "too-many-connections"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a successful request."""

    description: str
    #: None when the answer is not JSON; only its media type is described then.
    schema: Schema | None
    status: int = 200
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class BodyForm:
    """One form in which a body may be sent."""

    media_type: str
    schema: Schema
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A method at an address.

    Only a declaration: ``openapi`` describes it, and the endpoint parses requests by it.
    """

    path: str
    #: One unique word; the method name in generated clients.
    name: str
    summary: str
    answer: Answer
    method: Literal["get", "post"] = "get"
    description: str = ""
    parameters: Sequence[Parameter[Any]] = ()
    body: Sequence[BodyForm] = ()
    #: Slugs by status, in addition to ``COMMON_REFUSALS``.
    refusals: Mapping[int, Sequence[str]] = field(default_factory=dict)
    #: The schema of its own refusals; None: the usual error object.
    refusal: Schema | None = None
    #: A further media type of its answers, for requests in it; only named in the document.
    also: str | None = None
    #: Headers of the request, and of every answer: name to schema.
    request_headers: Mapping[str, Schema] = field(default_factory=dict)
    answer_headers: Mapping[str, Schema] = field(default_factory=dict)

    def all_refusals(self) -> dict[int, list[str]]:
        """Return the slugs of its refusals by status, in ascending order."""
        merged: dict[int, list[str]] = {}
        for refusals in (self.refusals, COMMON_REFUSALS):
            for status, slugs in refusals.items():
                merged[status] = sorted({*merged.get(status, ()), *slugs})
        return dict(sorted(merged.items()))


def list_of(item: Schema) -> Schema:
    """Describe a complete list, which has no pages."""
    return {
        "type": "object",
        "required": ["items"],
        "properties": {"items": {"type": "array", "items": item}},
    }


def page_of(item: Schema, **further: Schema) -> Schema:
    """Describe a page of a list: its items, the cursor of the next page, and further fields."""
    return {
        "type": "object",
        "required": ["items", "next", *further],
        "properties": {
            "items": {"type": "array", "items": item},
            "next": {
                "type": ["string", "null"],
                "description": "Pass it as `after` for the following page; null: this is the last.",
            },
            **further,
        },
    }


def reference(name: str) -> Schema:
    """Refer to a schema that the document names."""
    return {"$ref": f"#/components/schemas/{name}"}


def schema_of(record: type) -> Schema:
    """Describe a record, a dataclass of plain values, as the JSON object in an answer.

    Later versions may add fields but never remove one.
    """
    hints = get_type_hints(record)
    names = [each.name for each in dataclasses.fields(record)]
    return {
        "type": "object",
        "description": (record.__doc__ or "").split("\n")[0],
        "required": names,
        "properties": {name: _schema_of_type(hints[name]) for name in names},
    }


_JSON_TYPES: Final = {
    str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"
}  # fmt: skip


def _schema_of_type(hint: Any) -> Schema:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return {"type": [_JSON_TYPES[each] for each in arguments]}
    if origin is list:
        return {"type": "array", "items": _schema_of_type(arguments[0])}
    if origin is tuple:
        return {
            "type": "array",
            "prefixItems": [_schema_of_type(each) for each in arguments],
            "minItems": len(arguments),
            "maxItems": len(arguments),
        }
    return {"type": _JSON_TYPES[hint]}
