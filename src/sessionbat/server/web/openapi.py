"""Builds the OpenAPI 3.1 document from the operations that the server declares.

It is built once, with the application, from the same declarations that parse requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sessionbat._version import __version__
from sessionbat.server.web.operations import Answer, Operation, reference
from sessionbat.server.web.parameters import Parameter, Schema

PATH: Final = "/api/v1/openapi.json"

DOCUMENT: Final = Operation(
    path=PATH,
    name="openapi",
    summary="This document",
    answer=Answer("OpenAPI 3.1.", {"type": "object", "required": ["openapi", "paths"]}),
    refusals={405: ("method-not-allowed",)},
)

ERROR_SCHEMA: Final[Schema] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["slug", "at", "message"],
            "properties": {
                "slug": {"type": "string", "description": "Its entry in docs/messages.md."},
                "at": {
                    "type": "string",
                    "description": "The parameter, header or field; empty: the request as a whole.",
                },
                "message": {"type": "string", "description": "What is wrong and what to do."},
            },
        }
    },
}

#: Statuses after which the same request is worth another try, and when.
_RETRIED: Final = {503}


Security = list[dict[str, list[str]]]


def document(
    operations: Sequence[Operation],
    schemas: Mapping[str, Schema],
    security: Callable[[Operation], Security],
    root: str = "",
) -> dict[str, Any]:
    """Describe operations and the schemas they refer to, as an OpenAPI 3.1 document.

    Args:
        operations: The operations.
        schemas: The schemas that they refer to by name.
        security: Returns the kind of key that an operation needs.
        root: The root path before all others.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = {**_operation(operation), "security": security(operation)}
        paths.setdefault(operation.path, {})[operation.method] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SessionBat",
            "version": __version__,
            "summary": "Record what an AI application did, and ask for it.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": root or "/"}],
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR_SCHEMA, **schemas},
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "sbat_read_ and 40 characters",
                }
            },
        },
        "security": [{"key": []}, {}],  # without a key as long as the server has none
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    if operation.description:
        described["description"] = operation.description
    parameters = [_parameter(each) for each in operation.parameters]
    parameters += [_header(name, schema) for name, schema in operation.request_headers.items()]
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        described["requestBody"] = {
            "required": True,
            "content": {form.media_type: {"schema": form.schema} for form in operation.body},
        }
    described["responses"] = _responses(operation)
    return described


def _parameter(parameter: Parameter[Any]) -> dict[str, Any]:
    schema = parameter.schema()
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.description,
        **({"allowEmptyValue": True} if parameter.may_be_empty and not parameter.required else {}),
        "schema": schema,
    }


def _header(name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": schema}


def _responses(operation: Operation) -> dict[str, Any]:
    answer = operation.answer
    content = {answer.media_type: {} if answer.schema is None else {"schema": answer.schema}}
    also: dict[str, Any] = {} if operation.also is None else {operation.also: {}}
    responses = {
        str(answer.status): {
            "description": answer.description,
            **_headers(operation.answer_headers),
            "content": {**content, **also},
        }
    }
    for status, slugs in operation.all_refusals().items():
        extra: dict[str, Schema] = {}
        if status in _RETRIED:
            extra["Retry-After"] = {"type": "string", "description": "Seconds."}
        if status == 405:
            extra["Allow"] = {"type": "string"}
        responses[str(status)] = {
            "description": ", ".join(f"`{slug}`" for slug in slugs),
            **_headers({**operation.answer_headers, **extra}),
            "content": {"application/json": {"schema": _refusal(operation, slugs)}, **also},
        }
    return responses


def _headers(headers: Mapping[str, Schema]) -> dict[str, Any]:
    if not headers:
        return {}
    return {"headers": {name: {"schema": schema} for name, schema in headers.items()}}


def _refusal(operation: Operation, slugs: Sequence[str]) -> Schema:
    narrowed = {"properties": {"error": {"properties": {"slug": {"enum": list(slugs)}}}}}
    usual: Schema = {"allOf": [reference("Error"), narrowed]}
    # What is refused before it is known where it goes has the usual form, everywhere.
    return usual if operation.refusal is None else {"anyOf": [operation.refusal, usual]}
