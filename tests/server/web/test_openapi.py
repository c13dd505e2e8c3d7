"""The OpenAPI document: valid, complete, and true of what the server does."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate

from sessionbat.event import RESERVED_CONTEXT, find_problem
from sessionbat.server.read_api import read_operations
from sessionbat.server.records import SessionFilter
from sessionbat.server.web.event_schema import EVENT
from sessionbat.server.web.parameters import Parameter, Text
from sessionbat.server.web.session_parameters import FILTERS
from tests.server.wire import Wire, event

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def document(standing_server: Wire) -> Any:
    return standing_server.get("/api/v1/openapi.json").json


def test_the_document_is_openapi_3_1(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


BASES = ("", "/otel", "/api/public/otel")
OTLP = [f"{base}/v1/{signal}" for base in BASES for signal in ("traces", "logs", "metrics")]


def test_every_address_below_the_api_is_described(document: Any) -> None:
    assert set(document["paths"]) == {
        "/api/v1/ingestion/events",
        "/api/v1/feedback",
        "/api/v1/sessions",
        "/api/v1/session",
        "/api/v1/apps",
        "/api/v1/events",
        "/api/v1/search",
        "/api/v1/statistics",
        "/api/v1/openapi.json",
        "/healthz",
        "/metrics",
        *OTLP,
    }


#: For the SDKs of LangSmith and Langfuse, in protocols that are theirs to describe.
OF_OTHER_SERVICES = {
    *("/info", "/runs", "/runs/batch", "/runs/multipart", "/runs/{run_id}", "/feedback"),
    *("/api/public/health", "/api/public/ingestion", "/api/public/projects", "/api/public/scores"),
}


def test_every_route_for_programs_is_described(document: Any, tmp_path: Path) -> None:
    from sessionbat.server.app import create_app
    from sessionbat.server.settings import Settings

    app = create_app(Settings(store_url=f"sqlite:///{tmp_path / 'store.db'}"))
    paths = {getattr(route, "path", "") for route in app.routes}
    for_people = {
        "/",
        "/login",
        "/logout",
        "/sessions",
        "/sessions.json",
        "/session",
        "/session.json",
        "/static/{path:path}",
    }
    assert paths - for_people - OF_OTHER_SERVICES == set(document["paths"])


def test_every_refusal_that_is_described_has_its_message_documented(document: Any) -> None:
    documented = (DOCS / "messages.md").read_text()
    slugs = re.findall(r'"enum": \[([^\]]*)\]}}}', json.dumps(document["paths"]))
    named = {slug for listed in slugs for slug in re.findall(r'"([a-z-]+)"', listed)}
    assert "bad-limit" in named
    assert {slug for slug in named if f"| `{slug}` |" not in documented} == set()


def test_every_filter_of_sessions_is_a_parameter() -> None:
    fields = {field.name for field in dataclasses.fields(SessionFilter)}
    assert set(FILTERS) == fields - {"context"}


def test_a_context_key_of_this_server_is_described(start_server: Any) -> None:
    document = start_server(context_keys=("plan",)).get("/api/v1/openapi.json").json
    parameters = document["paths"]["/api/v1/sessions"]["get"]["parameters"]
    assert "context.plan" in {parameter["name"] for parameter in parameters}


def test_the_limits_of_this_server_are_described(start_server: Any) -> None:
    server = start_server(max_body_bytes=2_000)
    operation = server.get("/api/v1/openapi.json").json["paths"]["/api/v1/ingestion/events"]["post"]
    assert "2000 bytes" in operation["description"]


def everything_asked() -> list[tuple[str, Parameter[Any]]]:
    operations = (
        read_operations.SESSION,
        read_operations.EVENTS,
        read_operations.SEARCH,
        read_operations.STATISTICS,
        read_operations.APPS,
    )
    return [
        (operation.name, parameter)
        for operation in (read_operations.sessions(RESERVED_CONTEXT), *operations)
        for parameter in operation.parameters
    ]


@pytest.mark.parametrize(("operation", "parameter"), everything_asked(), ids=str)
def test_every_parameter_is_in_the_table_of_the_documentation(
    operation: str, parameter: Parameter[Any]
) -> None:
    assert parameter.name in documented_parameters(operation)


@pytest.mark.parametrize("operation", sorted({name for name, _ in everything_asked()}))
def test_every_parameter_in_the_documentation_is_one(operation: str) -> None:
    declared = {parameter.name for name, parameter in everything_asked() if name == operation}
    assert documented_parameters(operation) - declared <= {"context.KEY"}


def documented_parameters(operation: str) -> set[str]:
    """Name what the first column of an operation's table names."""
    page = (DOCS / "api.md").read_text()
    section = page.partition(f"### {operation}\n")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([\w.]+)`", row)}


TEXTS = ("1", "0", "", "x", "true", "hour", "llm", "1e3", "-1", "2026-11-22", "1001", "0.5", "٣")


@pytest.mark.parametrize("text", [text for text in TEXTS if text])
@pytest.mark.parametrize(
    "parameter",
    {p.name: p for _, p in everything_asked() if not isinstance(p, Text)}.values(),
    ids=lambda parameter: parameter.name,
)
def test_what_a_schema_allows_is_read_and_what_it_forbids_is_refused(
    parameter: Parameter[Any], text: str
) -> None:
    from sessionbat.server.web.refusal import Refused

    try:
        parameter.read(text)
        is_read = True
    except Refused:
        is_read = False
    assert is_read == _is_allowed(text, parameter.schema())


def _is_allowed(text: str, schema: Any) -> bool:
    """Judge a text by a schema as a client would: as a number where one is asked for."""
    value: Any = text
    if schema.get("type") in ("number", "integer", "boolean") and text.isascii():
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            return False
        if schema["type"] == "integer" and not text.isdigit():
            return False  # 1e3 is an integer to JSON Schema, and none to a person who counts
    checker = jsonschema.FormatChecker(["date", "date-time"])
    return jsonschema.Draft202012Validator(schema, format_checker=checker).is_valid(value)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.lists(st.text(max_size=2)),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)  # fmt: skip
FIELDS = ["type", "id", "app", "session_id", "interaction_id", "created_at", "tags", "context"]


@settings(deadline=None)  # the first one loads the checker
@given(
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=2),
    st.dictionaries(st.sampled_from(["kind", "metadata", "metrics", "input"]), VALUES, max_size=2),
    st.sets(st.sampled_from([*FIELDS, "observation"]), max_size=1),
)
def test_the_schema_of_an_event_and_the_rule_agree(
    changes: dict[str, Any], inner: dict[str, Any], missing: set[str]
) -> None:
    changed = event(**changes)
    changed["observation"].update(inner)
    for name in missing:
        del changed[name]
    problem = find_problem(changed)
    # That two fields are the same is more than a schema can say.
    if problem is None or problem.at != "observation.kind":
        assert jsonschema.Draft202012Validator(EVENT).is_valid(changed) == (problem is None)


def test_the_document_says_that_keys_are_bearer_tokens(document: Any) -> None:
    scheme = document["components"]["securitySchemes"]["key"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert document["security"] == [{"key": []}, {}]


NEEDS = {
    **{path: [{"key": ["ingest"]}, {}] for path in OTLP},
    "/healthz": [],
    "/metrics": [{"key": ["read-every-app"]}, {}],
    "/api/v1/ingestion/events": [{"key": ["ingest"]}, {}],
    "/api/v1/feedback": [{"key": ["feedback"]}, {}],
}


def test_the_document_says_which_key_an_operation_needs(document: Any) -> None:
    said = {
        path: operation["security"]
        for path, operations in document["paths"].items()
        for operation in operations.values()
    }
    assert said == {path: [{"key": ["read"]}, {}] for path in said} | NEEDS
