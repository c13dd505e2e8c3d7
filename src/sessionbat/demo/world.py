"""The world around the bot, simulated: a clock, a model that follows a script, slow services.

Everything takes its time on the simulated clock and none on the real one. The same seed gives the
same figures.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, cast

from langchain_core.callbacks import CallbackManagerForLLMRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import (
    AIMessageChunk,
    BaseMessage,
    message_chunk_to_message,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever

from sessionbat.demo.script import (
    Decision,
    Fault,
    ModelFails,
    Reply,
    SearchHelp,
    UserStops,
    UseTool,
)
from sessionbat.demo.shop import Shop, ToolError

#: The model calls this one like any tool; the bot answers it from the help centre.
SEARCH_HELP = "search_help"

# US dollars for a million tokens in, and out.
_PRICES = {"gpt-5.4-mini": (0.25, 2.0), "gpt-5.4": (1.25, 10.0)}
_CHARACTERS_PER_TOKEN = 4
_TOKENS_OF_TOOL_DESCRIPTIONS = 412


class Clock:
    """A clock that goes on only when something is said to have taken time."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def spend(self, milliseconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(milliseconds=milliseconds)


class ServiceError(Exception):
    """Somebody else's service refused or did not answer."""

    def __init__(self, message: str, status_code: int | None) -> None:
        super().__init__(message)
        #: What it answered over HTTP, if it answered.
        self.status_code = status_code


def service_error(fault: Fault) -> ServiceError:
    """Make the exception that the service's own client would raise: of a class of that name."""
    kind: type[ServiceError] = type(fault.type, (ServiceError,), {})
    return kind(fault.message, fault.http_status)


class ScriptedModel(BaseChatModel):
    """Decides what the script says, and takes time, tokens and money like a model.

    A user who stops the answer cancels the call, as a server does when its client is gone.
    """

    model: str
    decisions: Any
    clock: Any
    chance: Any

    @property
    def _llm_type(self) -> str:
        return "openai"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider="openai", ls_model_name=self.model, ls_model_type="chat")

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        pieces = list(self._stream(messages, stop, run_manager, **kwargs))
        answer = pieces[0].message
        for piece in pieces[1:]:
            answer += piece.message
        return ChatResult(generations=[ChatGeneration(message=message_chunk_to_message(answer))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        decision = next(self.decisions)
        if isinstance(decision, ModelFails):
            self.clock.spend(decision.fault.latency_ms)
            raise service_error(decision.fault)
        message = _message(decision, f"call_{self.chance.getrandbits(48):012x}")
        self.clock.spend(round(self.chance.lognormvariate(5.7, 0.3)))
        first = ChatGenerationChunk(message=message)
        if run_manager is not None:
            run_manager.on_llm_new_token(message.text, chunk=first)
        yield first
        usage = _usage(self.model, messages, message)
        self.clock.spend(usage["output_tokens"] * self.chance.uniform(9, 16))
        if isinstance(decision, UserStops):
            raise asyncio.CancelledError
        reason = "tool_calls" if message.tool_calls else "stop"
        told = {"model_name": self.model, "finish_reason": reason}
        yield ChatGenerationChunk(
            message=AIMessageChunk(content="", usage_metadata=usage, response_metadata=told)
        )


def _usage(model: str, messages: Sequence[BaseMessage], answer: AIMessageChunk) -> UsageMetadata:
    asked = _TOKENS_OF_TOOL_DESCRIPTIONS + sum(_count_tokens(message) for message in messages)
    answered = _count_tokens(answer)
    price_in, price_out = _PRICES[model]
    cost = round((asked * price_in + answered * price_out) / 1e6, 6)
    counts = {"input_tokens": asked, "output_tokens": answered, "total_tokens": asked + answered}
    return cast("UsageMetadata", {**counts, "total_cost": cost})


def _message(decision: Decision, call_id: str) -> AIMessageChunk:
    match decision:
        case Reply(text) | UserStops(text):
            return AIMessageChunk(content=text)
        case SearchHelp(query):
            return _tool_call(call_id, SEARCH_HELP, {"query": query})
        case UseTool(name, arguments):
            return _tool_call(call_id, name, arguments)
    raise TypeError(f"no message for {decision!r}")


def _tool_call(call_id: str, name: str, arguments: Mapping[str, Any]) -> AIMessageChunk:
    call = tool_call_chunk(
        name=name, args=json.dumps(arguments, ensure_ascii=False), id=call_id, index=0
    )
    return AIMessageChunk(content="", tool_call_chunks=[call])


def _count_tokens(message: BaseMessage) -> int:
    said = [message.content, getattr(message, "tool_calls", None)]
    return len(json.dumps(said, ensure_ascii=False)) // _CHARACTERS_PER_TOKEN


class RemoteShop:
    """The shop as the bot reaches it: over a network, with the faults that the script says."""

    def __init__(
        self, shop: Shop, faults: Iterable[Fault | None], clock: Clock, chance: Random
    ) -> None:
        self._shop = shop
        self._faults = iter(faults)
        self._clock = clock
        self._chance = chance

    def call(self, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Run a tool.

        Raises:
            ServiceError: It could not do it, or could not be reached.
        """
        fault = next(self._faults, None)
        if fault is not None:
            self._clock.spend(fault.latency_ms)
            raise service_error(fault)
        self._clock.spend(self._chance.lognormvariate(4.6, 0.5))
        try:
            return self._shop.call(tool, arguments)
        except ToolError as refusal:
            fault = Fault(refusal.type, refusal.message, refusal.http_status)
            raise service_error(fault) from refusal


class RemoteRetriever(BaseRetriever):
    """The help centre's search as the bot reaches it."""

    index: Any
    clock: Any
    chance: Any

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        self.clock.spend(self.chance.lognormvariate(4.0, 0.4))
        return [
            Document(
                found["snippet"],
                id=found["id"],
                metadata={"title": found["title"], "score": found["score"]},
            )
            for found in self.index.search(query)
        ]
