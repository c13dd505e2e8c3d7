"""LangChain runs → what an observation holds: input, output, metadata, token metrics, error.

Pure functions for ``langchain``. No object is dumped and none is asked for its ``repr``; what has
no known shape is left to the encoder. They may raise on hostile objects: the caller guards them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sessionbat._langchain.media import summed_up, text_summed_up
from sessionbat._langchain.messages import (
    is_langchain,
    message_fields_output,
    message_input,
    text_of,
)
from sessionbat._langchain.schemas import answer_schema, tool_definition
from sessionbat._langchain.streams import Piece, message_so_far, text_so_far
from sessionbat._langchain.tokens import token_metrics
from sessionbat._langchain.tools import (
    command_object,
    described,
    interrupt_object,
    interrupts_in,
)
from sessionbat._secret_names import is_secret, without_secrets
from sessionbat.integrations._kit import (
    CANCELLED,
    Snapshot,
    is_plain,
    to_plain,
    was_cancelled,
)

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
#: Labels that LangChain puts on runs; one that only begins like these is the user's.
_MACHINERY_TAGS: Final = ("seq:step", "graph:step:", "retry:attempt:", "map:key:", "langsmith:")
_MACHINERY_TAG: Final = re.compile(
    r"(seq:step:?|graph:step:-?|retry:attempt:)[0-9]*|map:key:.*|langsmith:.*",
    re.DOTALL,
)
_ATTEMPT: Final = re.compile(r"retry:attempt:([0-9]{1,9})")
_SAMPLING: Final = frozenset({
    "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop", "seed", "n",
    "frequency_penalty", "presence_penalty", "reasoning_effort", "tool_choice",
})  # fmt: skip
_ANSWERED: Final = {
    "model": ("model_name", "model"),
    "finish_reason": ("finish_reason", "stop_reason", "done_reason"),
    "response_id": ("id",),
}
INTERRUPTED: Final = "interrupted"
HANDED_OFF: Final = "handed_off"
UNREADABLE_STATUS: Final = "unreadable"
_NOTHING: Final[Mapping[str, Any]] = {}
#: Stands for what could not be read.
UNREADABLE: Final = "<unreadable>"
_SCORES: Final = ("score", "relevance_score", "_score", "similarity_score")


class Answer(NamedTuple):
    """What came of a run: the output, and what it adds to metadata, metrics and error."""

    output: Any = None
    metadata: Mapping[str, Any] = {}
    metrics: Mapping[str, float] = {}
    error: Mapping[str, Any] | None = None


#: Runs one step of reading; what one cannot read costs that step only.
Part = Callable[..., Any]


def _unguarded(read: Callable[..., Any], *given: Any, otherwise: Any = None) -> Any:
    del otherwise
    return read(*given)


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
    metadata: Mapping[Any, Any] | None, tags: Sequence[Any] | None, params: Mapping[str, Any]
) -> dict[Any, Any]:
    """Keep what describes a run, under an observation's names.

    Left out: credentials at any depth, what LangChain and LangGraph keep for themselves, every
    parameter that is not about sampling, and parameters that were not given.
    """
    kept: dict[Any, Any] = {}
    for key, value in (metadata or {}).items():
        if type(key) is not str:
            if not is_secret(None, value):
                kept[key] = _harmless(value)
            continue
        said = _SAID.get(key)
        if said is not None:
            if value is not None:
                kept[said] = value
        elif key == "tags" or key.startswith(_MACHINERY):
            continue  # LangGraph's stream of messages writes the run's tags into its metadata
        elif not is_secret(key, value):
            kept[key] = _harmless(value)
    kept["framework"] = "langgraph" if "node" in kept else "langchain"
    for tag in tags or ():
        if type(tag) is str and tag.startswith("retry:"):
            attempt = _ATTEMPT.fullmatch(tag)
            if attempt is not None:
                kept["attempt"] = int(attempt[1])
    for key, value in params.items():
        if value is not None and key in _SAMPLING:
            kept[key] = _harmless(value)
    requested = params.get("model") or params.get("model_name")
    if requested is not None:
        kept.setdefault("request_model", requested)
    return kept


def host_metadata(metadata: Mapping[Any, Any] | None) -> dict[Any, Any]:
    """Keep what a host says of every run, without credentials."""
    given = (metadata or {}).items()
    return {key: _harmless(value) for key, value in given if not is_secret(key, value)}


def _harmless(value: Any) -> Any:
    """Take the credentials out of a value, at any depth."""
    kind = type(value)
    if kind is str or value is None or kind is int or kind is float or kind is bool:
        return value
    if (kind is dict or kind is list or kind is tuple) and not value:
        return value
    return without_secrets(value if is_plain((value,)) else to_plain(value))


def user_tags(tags: Iterable[Any] | None) -> list[Any] | None:
    """Keep the labels that the user gave; None when there are none."""
    if not tags:
        return None
    return [
        tag
        for tag in tags
        if type(tag) is not str
        or not tag.startswith(_MACHINERY_TAGS)
        or not _MACHINERY_TAG.fullmatch(tag)
    ] or None


def chat_input(
    messages: Sequence[BaseMessage], params: Mapping[str, Any], part: Part = _unguarded
) -> dict[str, Any]:
    """Describe what a chat model is asked: the messages, and which tools it may call."""
    asked: dict[str, Any] = {
        "messages": [part(message_input, message, otherwise=UNREADABLE) for message in messages]
    }
    tools = params.get("tools") or params.get("functions")
    if isinstance(tools, list | tuple) and tools:
        asked["tools"] = [part(tool_definition, tool, otherwise=UNREADABLE) for tool in tools]
    return asked


def text_input(prompts: Sequence[str]) -> dict[str, Any]:
    """Describe what a model that completes text is asked."""
    shown = [summed_up(prompt) for prompt in prompts]
    return {"prompt": shown[0] if len(shown) == 1 else shown}


def request_metadata(params: Mapping[str, Any], options: Any) -> Mapping[str, Any]:
    """Say which schema an answer has to follow, where one is asked for."""
    schema = answer_schema(params, _mapping(options))
    return {"response_schema": schema} if schema else _NOTHING


def model_answer(response: LLMResult | None, part: Part = _unguarded) -> Answer:
    """Describe what a model answered: text, blocks, tool calls; which model, how many tokens."""
    candidates = response.generations[0] if response is not None and response.generations else []
    if response is None or not candidates:
        return Answer()
    output, *alternatives = [
        part(_candidate_output, candidate, otherwise=None) for candidate in candidates
    ]
    if alternatives and output is not None:
        output["alternatives"] = alternatives
    generation = getattr(candidates[0], "__dict__", _NOTHING)
    message = getattr(generation.get("message"), "__dict__", _NOTHING)
    info, totals = _mapping(generation.get("generation_info")), _mapping(response.llm_output)
    answer = _with_what_is_told(output, message, info, totals, part)
    if output is None:
        return answer._replace(metadata={**answer.metadata, "status": UNREADABLE_STATUS})
    return answer


def answer_so_far(pieces: Sequence[Piece], part: Part = _unguarded) -> Answer:
    """Describe what a stream had said when it broke off; nothing where it had said nothing."""
    message = part(message_so_far, pieces, otherwise=None)
    if message is None:
        text = text_so_far(pieces)
        return Answer({"text": text}) if text else Answer()
    output = part(message_fields_output, message, otherwise={"text": text_so_far(pieces)})
    answer = _with_what_is_told(output, message, {}, {}, part)
    return answer._replace(output=None) if output == {"text": ""} else answer


def _with_what_is_told(
    output: dict[str, Any] | None,
    message: Mapping[str, Any],
    info: Mapping[str, Any],
    totals: Mapping[str, Any],
    part: Part,
) -> Answer:
    said = {**info, **_mapping(message.get("response_metadata"))}
    metadata = part(_answer_metadata, said, totals, message.get("id"), otherwise={})
    usage = message.get("usage_metadata")
    if usage and isinstance(usage, Mapping) and usage.get("total_cost") == 0 and not totals:
        # A cache hit: LangChain repeats the stored tokens and marks them by a cost of nothing.
        return Answer(output, {**metadata, "cached": True})
    return Answer(output, metadata, part(token_metrics, message, totals, said, otherwise={}))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if type(value) is dict or isinstance(value, Mapping) else {}


def tool_answer(output: Any) -> Answer:
    """Describe what a tool returned: content, artifact, state update; a soft error is an error."""
    if is_langchain(output, "ToolMessage"):
        return _tool_message_answer(vars(output))
    if is_langchain(output, "Command"):
        return Answer(command_object(output))
    if isinstance(output, list) and any(is_langchain(o, "ToolOutputMixin") for o in output):
        return Answer({"content": [tool_answer(item).output for item in output]})
    return Answer({"content": described(output)})


def retrieval_answer(documents: Iterable[Document], part: Part = _unguarded) -> Answer:
    """Describe documents, best first: id, title, score and content where they have them."""
    found = [part(_document_described, document, otherwise=UNREADABLE) for document in documents]
    return Answer(found, {}, {"documents_found": len(found)})


def partial_answer(response: LLMResult | None, part: Part = _unguarded) -> Answer:
    """Describe what a model had answered when it broke off; nothing where it had said nothing."""
    answer = model_answer(response, part)
    return answer._replace(output=None) if answer.output == {"text": ""} else answer


def failed_answer(error: BaseException, so_far: Answer) -> Answer:
    """Add to an answer why it ended early.

    A cancellation, and an interrupt that waits for a person, are a status and no error.
    """
    status = _status_of(error)
    if status == INTERRUPTED and so_far.output is None:
        asked = [interrupt_object(asked) for asked in interrupts_in(error)]
        so_far = so_far._replace(output={"interrupts": asked} if asked else None)
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


def _candidate_output(candidate: Any) -> dict[str, Any]:
    fields = vars(candidate)
    if "message" in fields:
        return message_fields_output(vars(fields["message"]))
    text = fields.get("text")
    return {"text": text_summed_up(text) if isinstance(text, str) else text}


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


def _tool_message_answer(fields: Mapping[str, Any]) -> Answer:
    content = fields.get("content")
    shown = {"content": summed_up(content)}
    if fields.get("artifact") is not None:
        shown["artifact"] = described(fields["artifact"])
    call_id = fields.get("tool_call_id")
    metadata = {"tool_call_id": call_id} if call_id else {}
    if fields.get("status") == "error":
        error = {"type": "ToolError", "message": text_of(content)}
        return Answer(shown, metadata, {}, error)
    return Answer(shown, metadata)


def _document_described(document: Any) -> dict[str, Any]:
    return _document_object(vars(document))


def _document_object(fields: Mapping[str, Any]) -> dict[str, Any]:
    metadata = _mapping(fields.get("metadata"))
    shown: dict[str, Any] = {}
    identity = fields.get("id") or metadata.get("id") or metadata.get("_id")
    if identity is not None:
        shown["id"] = identity
    if metadata.get("title") is not None:
        shown["title"] = metadata["title"]
    score = next((metadata[name] for name in _SCORES if metadata.get(name) is not None), None)
    if score is not None:
        shown["score"] = score
    shown["content"] = summed_up(fields.get("page_content"))
    if metadata:
        shown["metadata"] = summed_up(metadata)
    return shown
