"""LangChain runs → what an observation holds: input, output, metadata, token metrics, error.

Pure functions for ``langchain``. No object is dumped and none is asked for its ``repr``; what has
no known shape is left to the encoder. They may raise on hostile objects: the caller guards them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sessionbat._encoding import Snapshot, encode_value
from sessionbat._langchain.messages import (
    content_value,
    is_langchain,
    message_input,
    message_output,
    text_of,
)
from sessionbat._measure import was_cancelled

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult

#: What LangChain and LangGraph say of a run, under the names that an observation uses.
_SAID: Final = {
    "langgraph_node": "node",
    "langgraph_step": "step",
    "langgraph_checkpoint_ns": "checkpoint_ns",
    "checkpoint_ns": "checkpoint_ns",
    "lc_agent_name": "agent",
    "ls_provider": "provider",
    "ls_model_name": "request_model",
    "ls_temperature": "temperature",
    "ls_max_tokens": "max_tokens",
    "ls_stop": "stop",
}
_MACHINERY: Final = ("langgraph_", "ls_", "lc_", "__", "langsmith")
_MACHINERY_TAGS: Final = ("seq:step", "map:key:", "graph:step:", "retry:attempt:", "langsmith:")
_ATTEMPT: Final = "retry:attempt:"
_SECRET: Final = re.compile(
    r"api[-_]?key|secret|passw|authori[sz]ation|credential|cookie|bearer|private[-_]?key"
    r"|(access|auth|refresh|session|id|bot|csrf)[-_]?token|^token$",
    re.IGNORECASE,
)
_SAMPLING: Final = frozenset({
    "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop", "seed", "n",
    "frequency_penalty", "presence_penalty", "reasoning_effort", "tool_choice",
})  # fmt: skip
_ANSWERED: Final = {
    "model": ("model_name", "model"),
    "finish_reason": ("finish_reason", "stop_reason", "done_reason"),
    "response_id": ("id",),
}
_CACHE_CREATION: Final = (
    "cache_creation",
    "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens",
)

CANCELLED: Final = "cancelled"
INTERRUPTED: Final = "interrupted"
HANDED_OFF: Final = "handed_off"
_SCORES: Final = ("score", "relevance_score", "_score", "similarity_score")


class Answer(NamedTuple):
    """What came of a run: the output, and what it adds to metadata, metrics and error."""

    output: Any = None
    metadata: Mapping[str, Any] = {}
    metrics: Mapping[str, float] = {}
    error: Mapping[str, Any] | None = None


def run_name(serialized: Mapping[str, Any] | None, given: Any) -> str | None:
    """Name a tool or retriever: as the user did, else as its definition or class is named."""
    if isinstance(given, str) and given:
        return given
    known = serialized or {}
    name = known.get("name")
    if isinstance(name, str) and name:
        return name
    path = known.get("id")
    return str(path[-1]) if isinstance(path, list) and path else None


def run_metadata(
    metadata: Mapping[str, Any] | None, tags: Sequence[str] | None, params: Mapping[str, Any]
) -> dict[str, Any]:
    """Keep what describes a run, under an observation's names.

    Left out: keys that look secret, what LangChain and LangGraph keep for themselves, and every
    parameter that is not about sampling.
    """
    kept: dict[str, Any] = {}
    for key, value in (metadata or {}).items():
        said = _SAID.get(key)
        if said is not None:
            kept[said] = value
        elif key == "tags" or key.startswith(_MACHINERY):
            continue  # LangGraph's stream of messages writes the run's tags into its metadata
        elif not is_secret(key):
            kept[key] = value
    kept["framework"] = "langgraph" if "node" in kept else "langchain"
    for tag in tags or ():
        if tag.startswith(_ATTEMPT):
            kept["attempt"] = int(tag[len(_ATTEMPT) :])
    for key, value in params.items():
        if value is not None and key in _SAMPLING:
            kept[key] = value
    requested = params.get("model") or params.get("model_name")
    if requested is not None:
        kept.setdefault("request_model", requested)
    return kept


def user_tags(tags: Iterable[str] | None) -> list[str] | None:
    """Keep the labels that the user gave; None when there are none."""
    if not tags:
        return None
    return [tag for tag in tags if not tag.startswith(_MACHINERY_TAGS)] or None


def is_secret(key: str) -> bool:
    """Whether a key's name says that its value must not leave the process."""
    return _SECRET.search(key) is not None


def chat_input(messages: Sequence[BaseMessage], params: Mapping[str, Any]) -> dict[str, Any]:
    """Describe what a chat model is asked: the messages, and which tools it may call."""
    asked: dict[str, Any] = {"messages": [message_input(message) for message in messages]}
    tools = params.get("tools") or params.get("functions")
    if isinstance(tools, list | tuple) and tools:
        asked["tools"] = [_tool_definition(tool) for tool in tools]
    return asked


def model_answer(response: LLMResult | None) -> Answer:
    """Describe what a model answered: text, blocks, tool calls; which model, how many tokens."""
    candidates = response.generations[0] if response is not None and response.generations else []
    if response is None or not candidates:
        return Answer()
    output, *alternatives = [_candidate_output(candidate) for candidate in candidates]
    if alternatives:
        output["alternatives"] = alternatives
    generation = vars(candidates[0])
    message = vars(generation["message"]) if "message" in generation else {}
    totals = response.llm_output or {}
    said = {**(generation.get("generation_info") or {}), **(message.get("response_metadata") or {})}
    metadata = _answer_metadata(said, totals, message.get("id"))
    usage = message.get("usage_metadata")
    if usage and isinstance(usage, Mapping) and usage.get("total_cost") == 0 and not totals:
        # A cache hit: LangChain repeats the stored tokens and marks them by a cost of nothing.
        return Answer(output, {**metadata, "cached": True})
    return Answer(output, metadata, _token_metrics(usage) or _raw_token_metrics(said, totals))


def tool_answer(output: Any) -> Answer:
    """Describe what a tool returned: content, artifact, state update; a soft error is an error."""
    if is_langchain(output, "ToolMessage"):
        return _tool_message_answer(vars(output))
    if is_langchain(output, "Command"):
        return Answer(_command_object(output))
    if isinstance(output, list) and any(is_langchain(o, "ToolOutputMixin") for o in output):
        return Answer({"content": [tool_answer(item).output for item in output]})
    return Answer({"content": content_value(output) if isinstance(output, list) else output})


def retrieval_answer(documents: Iterable[Document]) -> Answer:
    """Describe documents, best first: id, title, score and content where they have them."""
    found = [_document_object(vars(document)) for document in documents]
    return Answer(found, {}, {"documents_found": len(found)})


def partial_answer(response: LLMResult | None) -> Answer:
    """Describe what a model had answered when it broke off; nothing where it had said nothing."""
    answer = model_answer(response)
    return answer._replace(output=None) if answer.output == {"text": ""} else answer


def failed_answer(error: BaseException, so_far: Answer) -> Answer:
    """Add to an answer why it ended early.

    A cancellation, and an interrupt that waits for a person, are a status and no error.
    """
    status = _status_of(error)
    if status is not None:
        return so_far._replace(metadata={**so_far.metadata, "status": status})
    described: dict[str, Any] = Snapshot(error).value()
    code = _status_code(error)
    if code is None:
        return so_far._replace(error=described)
    return so_far._replace(
        error={**described, "status_code": code},
        metrics={**so_far.metrics, "http_status": code},
    )


def _status_of(error: BaseException) -> str | None:
    if was_cancelled(error):
        return CANCELLED
    if is_langchain(error, "ParentCommand"):
        return HANDED_OFF
    return INTERRUPTED if is_langchain(error, "GraphBubbleUp") else None


def _status_code(error: BaseException) -> int | None:
    """Get the HTTP status that a provider answered with, from its client's exception."""
    for holder in (error, getattr(error, "response", None)):
        code = getattr(holder, "status_code", None)
        if isinstance(code, int) and not isinstance(code, bool):
            return code
    return None


def _tool_definition(tool: Any) -> dict[str, Any]:
    """Name a tool that may be called; a hash stands for the schema, which each call repeats."""
    given = tool if isinstance(tool, dict) else {}
    function = given.get("function")
    definition = function if isinstance(function, dict) else given
    schema = hashlib.blake2b(encode_value(definition), digest_size=6).hexdigest()
    return {"name": definition.get("name") or given.get("type"), "schema_hash": schema}


def _candidate_output(candidate: Any) -> dict[str, Any]:
    fields = vars(candidate)
    if "message" in fields:
        return message_output(fields["message"])
    return {"text": fields.get("text")}


def _answer_metadata(
    said: Mapping[str, Any], totals: Mapping[str, Any], message_id: Any
) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for key, names in _ANSWERED.items() if said or totals else ():
        for name in names:
            value = said.get(name) or totals.get(name)
            if isinstance(value, str):
                metadata[key] = value
                break
    if isinstance(message_id, str) and not message_id.startswith(("run-", "lc_run-")):
        metadata.setdefault("response_id", message_id)
    return metadata


def _token_metrics(usage: Any) -> dict[str, float]:
    """Count tokens by LangChain's own measure, in which input and output include every kind."""
    if not usage or not isinstance(usage, Mapping):
        return {}
    asked = usage.get("input_token_details") or {}
    answered = usage.get("output_token_details") or {}
    # Providers that tell how long a cache entry lives report it apart and leave the sum at zero.
    created = [asked[key] for key in _CACHE_CREATION if asked.get(key) is not None]
    return _known(
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        total_tokens=usage.get("total_tokens"),
        cache_read_tokens=asked.get("cache_read"),
        cache_creation_tokens=sum(created) if created else None,
        input_audio_tokens=asked.get("audio"),
        reasoning_tokens=answered.get("reasoning"),
        output_audio_tokens=answered.get("audio"),
        cost_usd=usage.get("total_cost"),
    )


def _raw_token_metrics(said: Mapping[str, Any], totals: Mapping[str, Any]) -> dict[str, float]:
    """Count tokens as the provider reports them, where LangChain does not."""
    for source in (totals, said):
        for name in ("token_usage", "usage"):
            raw = source.get(name)
            if raw and isinstance(raw, Mapping):  # in this order: the second question is dear
                return _inclusive(raw)
    return {}


def _inclusive(raw: Mapping[str, Any]) -> dict[str, float]:
    asked = raw.get("prompt_tokens", raw.get("input_tokens"))
    answered = raw.get("completion_tokens", raw.get("output_tokens"))
    read, created = raw.get("cache_read_input_tokens"), raw.get("cache_creation_input_tokens")
    if asked is not None:
        asked += (read or 0) + (created or 0)  # where these are named, input does not include them
    total = raw.get("total_tokens")
    if total is None and asked is not None and answered is not None:
        total = asked + answered
    return _known(
        input_tokens=asked,
        output_tokens=answered,
        total_tokens=total,
        cache_read_tokens=read,
        cache_creation_tokens=created,
    )


def _known(**counts: Any) -> dict[str, float]:
    return {name: count for name, count in counts.items() if count is not None}


def _tool_message_answer(fields: Mapping[str, Any]) -> Answer:
    content = fields.get("content")
    described = {"content": content_value(content)}
    if fields.get("artifact") is not None:
        described["artifact"] = fields["artifact"]
    call_id = fields.get("tool_call_id")
    metadata = {"tool_call_id": call_id} if call_id else {}
    if fields.get("status") == "error":
        error = {"type": "ToolError", "message": text_of(content)}
        return Answer(described, metadata, {}, error)
    return Answer(described, metadata)


def _command_object(command: Any) -> dict[str, Any]:
    told = {name: getattr(command, name, None) for name in ("update", "goto", "graph", "resume")}
    return {
        name: _with_messages(value)
        for name, value in told.items()
        if value is not None and value != ()
    }


def _with_messages(value: Any) -> Any:
    """Describe the messages of a state update; everything else is left to the encoder."""
    if type(value) is dict:
        return {key: _with_messages(inner) for key, inner in value.items()}
    if type(value) is list:
        return [_with_messages(item) for item in value]
    return message_input(value) if is_langchain(value, "BaseMessage") else value


def _document_object(fields: Mapping[str, Any]) -> dict[str, Any]:
    metadata = fields.get("metadata") or {}
    described: dict[str, Any] = {}
    identity = fields.get("id") or metadata.get("id") or metadata.get("_id")
    if identity is not None:
        described["id"] = identity
    if metadata.get("title") is not None:
        described["title"] = metadata["title"]
    score = next((metadata[name] for name in _SCORES if metadata.get(name) is not None), None)
    if score is not None:
        described["score"] = score
    described["content"] = fields.get("page_content")
    if metadata:
        described["metadata"] = metadata
    return described
