"""Which tools a model may call and which schema its answer is to follow: names and hashes.

The schemas themselves are long and come with each call. Pure functions for ``payloads``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sessionbat.integrations._kit import encode_value

#: Where providers take a schema from: the parameter, and the ways inside it.
_PARAMETERS: Final = (
    "response_format", "output_format", "output_config", "outputConfig", "format", "text",
    "response_schema", "response_json_schema", "guided_json", "structured_outputs", "extra_body",
    "generation_config", "model_kwargs",
)  # fmt: skip
_ANY_PARAMETER: Final = frozenset(_PARAMETERS)
_INSIDE: Final = (
    "json_schema", "schema", "format", "structure", "textFormat", "jsonSchema", "json",
    "response_schema", "response_json_schema", "guided_json", "response_format", "value",
)  # fmt: skip
_MODES: Final = frozenset({"json", "json_object"})
_MAX_NESTED: Final = 4


def tool_definition(tool: Any) -> dict[str, Any]:
    """Name a tool that may be called; a hash stands for the schema, which each call repeats."""
    given = tool if isinstance(tool, dict) else {}
    function = given.get("function")
    definition = function if isinstance(function, dict) else given or _name_of_class(tool)
    return {"name": definition.get("name") or given.get("type"), "schema_hash": _hash(definition)}


def answer_schema(params: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Name the schema that an answer has to follow, and how that is asked for.

    Args:
        params: What the model is called with.
        options: What LangChain notes of ``with_structured_output``: schema and method.
    """
    noted = options.get("ls_structured_output_format")
    if noted is None and _ANY_PARAMETER.isdisjoint(params):
        return None
    if isinstance(noted, Mapping):
        known = _named(noted.get("schema"), None)
        method = (noted.get("kwargs") or {}).get("method")
        if known and isinstance(method, str):
            known["method"] = method
        if known:
            return known
    for name in _PARAMETERS:
        given = params.get(name)
        if given is not None and given != {}:
            known = _schema_in(given, None, _MAX_NESTED)
            if known:
                return known
    return None


def _schema_in(given: Any, name: Any, depth: int) -> dict[str, Any] | None:
    """Find the schema in what a provider takes, with the name that stands nearest."""
    if isinstance(given, type):
        return _name_of_class(given)
    if given in _MODES if isinstance(given, str) else False:
        return {"method": "json_mode"}
    if not isinstance(given, Mapping) or not depth:
        return None
    if _is_schema(given):
        return _named(given, name)
    name = given.get("name") or name
    for inner in _inner(given):
        known = _schema_in(inner, name, depth - 1)
        if known:
            return known
    return {"method": "json_mode"} if given.get("type") in _MODES else None


def _inner(given: Mapping[str, Any]) -> Iterator[Any]:
    for key in _INSIDE:
        inner = given.get(key)
        if isinstance(inner, (Mapping, type)):
            yield inner


def _is_schema(given: Mapping[str, Any]) -> bool:
    return any(key in given for key in ("properties", "$ref", "$defs", "anyOf", "items"))


def _named(schema: Any, name: Any) -> dict[str, Any] | None:
    if not isinstance(schema, Mapping) or not schema:
        return None
    function = schema.get("function")
    if isinstance(function, Mapping):
        schema = function
    named = name or schema.get("title") or schema.get("name")
    return {"name": named, "schema_hash": _hash(schema)}


def _name_of_class(given: Any) -> dict[str, Any]:
    return {"name": given.__name__} if isinstance(given, type) else {}


def _hash(definition: Any) -> str:
    return hashlib.blake2b(encode_value(definition), digest_size=6).hexdigest()
