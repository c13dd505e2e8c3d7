"""The world around the bot, simulated: a clock, a model that follows a script, slow services.

Everything takes its time on the simulated clock and none on the real one. The same seed gives the
same figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from sessionbat.demo.retriever import Retriever
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

Message = dict[str, Any]

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


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model decided, and what it cost."""

    message: Message
    #: ``time_to_first_token_ms``, ``input_tokens``, ``output_tokens``, ``cost_usd``.
    metrics: dict[str, float]


class ModelError(Exception):
    """The model's provider refused or did not answer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class AnswerStoppedError(Exception):
    """The user stopped the answer; holds what had been written."""

    def __init__(self, so_far: Completion) -> None:
        super().__init__("stopped by the user")
        self.so_far = so_far


class ScriptedModel:
    """Decides what the script says, and takes time, tokens and money like a model."""

    def __init__(self, name: str, decisions: Iterable[Decision], clock: Clock, chance: Random):
        self.name = name
        self._decisions = iter(decisions)
        self._clock = clock
        self._chance = chance

    def complete(self, messages: Sequence[Message]) -> Completion:
        """Answer a conversation.

        Raises:
            ModelError: The provider failed.
            AnswerStoppedError: The user did not wait for the end.
        """
        decision = next(self._decisions)
        if isinstance(decision, ModelFails):
            self._clock.spend(decision.fault.latency_ms)
            raise ModelError(decision.fault)
        completion = self._write(messages, _message(decision, self._new_call_id()))
        if isinstance(decision, UserStops):
            raise AnswerStoppedError(completion)
        return completion

    def _write(self, messages: Sequence[Message], message: Message) -> Completion:
        input_tokens = _TOKENS_OF_TOOL_DESCRIPTIONS + _count_tokens(messages)
        output_tokens = _count_tokens(message)
        first_token_ms = round(self._chance.lognormvariate(5.7, 0.3))
        self._clock.spend(first_token_ms + output_tokens * self._chance.uniform(9, 16))
        price_in, price_out = _PRICES[self.name]
        return Completion(
            message,
            {
                "time_to_first_token_ms": first_token_ms,
                "input_tokens": input_tokens,
                "output_tokens": output_tokens,
                "cost_usd": round((input_tokens * price_in + output_tokens * price_out) / 1e6, 6),
            },
        )

    def _new_call_id(self) -> str:
        return f"call_{self._chance.getrandbits(48):012x}"


def _message(decision: Decision, call_id: str) -> Message:
    match decision:
        case Reply(text) | UserStops(text):
            return {"role": "assistant", "content": text}
        case SearchHelp(query):
            return _tool_call(call_id, SEARCH_HELP, {"query": query})
        case UseTool(name, arguments):
            return _tool_call(call_id, name, arguments)
    raise TypeError(f"no message for {decision!r}")


def _tool_call(call_id: str, name: str, arguments: Mapping[str, Any]) -> Message:
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    call = {"id": call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _count_tokens(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False)) // _CHARACTERS_PER_TOKEN


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
            ToolError: It could not do it, or could not be reached.
        """
        fault = next(self._faults, None)
        if fault is not None:
            self._clock.spend(fault.latency_ms)
            raise ToolError(fault.type, fault.message, fault.http_status or 500)
        self._clock.spend(self._chance.lognormvariate(4.6, 0.5))
        return self._shop.call(tool, arguments)


class RemoteRetriever:
    """The help centre's search as the bot reaches it."""

    def __init__(self, retriever: Retriever, clock: Clock, chance: Random) -> None:
        self._retriever = retriever
        self._clock = clock
        self._chance = chance

    def search(self, query: str) -> list[dict[str, Any]]:
        """Give the articles that fit best."""
        self._clock.spend(self._chance.lognormvariate(4.0, 0.4))
        return self._retriever.search(query)
