"""What a retrieval looked for and found, in the event's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sessionbat._otel import values
from sessionbat._otel.attributes import Attributes, Names

MAX_DOCUMENTS: Final = 1000

_QUERIES: Final = Names(
    *("gen_ai.retrieval.query.text", "gen_ai.retrieval.query", "reranker.query"),
    *("db.query.text", "gen_ai.data_source.query"),
)
_INPUTS: Final = Names(
    *("langfuse.observation.input", "traceloop.entity.input", "gen_ai.task.input"),
    *("gen_ai.prompt", "input.value", "ai.query", "mlflow.spanInputs"),
)
_OUTPUTS: Final = Names(
    *("gen_ai.retrieval.documents", "langfuse.observation.output", "traceloop.entity.output"),
    *(
        "gen_ai.task.output",
        "gen_ai.completion",
        "output.value",
        "ai.ranking",
        "mlflow.spanOutputs",
    ),
)
_QUERY_KEYS: Final = ("query", "query_str", "question", "input", "q", "text", "search_query")
_DOCUMENT_KEYS: Final = (
    *("documents", "output", "results", "source_documents", "matches", "nodes", "docs", "items"),
)
_TREES: Final = ("retrieval.documents", "reranker.output_documents")
_CONTENT: Final = ("content", "page_content", "text", "document")
_FROM_METADATA: Final = ("id", "title", "score")


def query_of(attributes: Attributes) -> Any:
    """Give what was looked for; None where the span does not say."""
    found = attributes.first(_QUERIES)
    if found is not None:
        return found
    return _query(attributes.decoded(_INPUTS), 0)


def documents_of(attributes: Attributes) -> list[dict[str, Any]] | None:
    """Give what was found; None where the span does not say, an empty list for nothing."""
    spoken = attributes.decoded(_OUTPUTS)
    whole = _documents(spoken, 0)
    for tree in _TREES:
        flat = [values.dig(each, "document") for each in attributes.list(tree)]
        if flat:
            return _with_ids([_document(each) for each in flat[:MAX_DOCUMENTS]], whole)
    if whole is None:
        return None
    return [_document(each) for each in whole[:MAX_DOCUMENTS]]


def _query(given: Any, depth: int) -> Any:
    if isinstance(given, str) or given is None:
        return given or None
    if isinstance(given, dict) and depth < 4:
        for key in _QUERY_KEYS:
            if given.get(key) not in (None, "", [], {}):
                return _query(given[key], depth + 1)
        for key in ("kwargs", "inputs", "args", "query_bundle"):
            if given.get(key):
                found = _query(given[key], depth + 1)
                if found is not None:
                    return found
    if isinstance(given, list | tuple) and len(given) == 1 and depth < 4:
        return _query(given[0], depth + 1)
    return given if depth == 0 and given not in ({}, []) else None


def _documents(given: Any, depth: int) -> Sequence[Any] | None:
    if isinstance(given, list | tuple):
        return given
    if isinstance(given, dict) and depth < 3:
        for key in _DOCUMENT_KEYS:
            if key in given:
                return _documents(values.decoded(given[key]), depth + 1)
    return None


def _document(given: Any) -> dict[str, Any]:
    given = values.decoded(given)
    if not isinstance(given, dict):
        return {"content": given}
    if "kwargs" in given and "lc" in given:
        given = values.mapping(given["kwargs"])
    inner = given.get("document")
    if isinstance(inner, dict):
        given = {**given, **inner}
    made = {str(k): v for k, v in given.items() if k != "document" and v not in (None, "", {})}
    for key in _CONTENT:
        if key in made:
            made["content"] = made.pop(key)
            break
    made.pop("type", None)
    about = values.mapping(made.get("metadata"))
    if about:
        made["metadata"] = dict(about)
    elif made.get("metadata") in ("{}", "[]"):
        made.pop("metadata")
    for key in _FROM_METADATA:
        if key not in made and about.get(key) is not None:
            made[key] = about[key]
    return made


def _with_ids(documents: list[dict[str, Any]], whole: Sequence[Any] | None) -> list[dict[str, Any]]:
    """Take ids from the output where the flattened documents have none."""
    if whole is not None and len(whole) == len(documents):
        for document, other in zip(documents, whole, strict=True):
            id_ = values.dig(other, "id")
            if "id" not in document and isinstance(id_, str | int):
                document["id"] = id_
    return documents
