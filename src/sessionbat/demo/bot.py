"""The support bot: an agent loop that records each thing it did with SessionBat.

This is the demo's example of using the SDK: each call to a model, a tool or the help centre is
followed by one recording call.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Protocol

from sessionbat.client import Interaction, Session
from sessionbat.demo.shop import ToolError
from sessionbat.demo.world import (
    SEARCH_HELP,
    AnswerStoppedError,
    Completion,
    Message,
    ModelError,
    RemoteRetriever,
    RemoteShop,
    ScriptedModel,
)

SYSTEM_PROMPT = (
    "You are the assistant of Fernhill, an online shop for plants and garden tools. Search the "
    "help centre before you explain a rule. Use tools for anything about an account or an order; "
    "never guess an order's state. Be brief and kind, and hand over to a person when health, law "
    "or a complaint about a colleague is involved."
)
APOLOGY = "Sorry, I cannot answer right now. Please try again in a few minutes."
MAX_STEPS = 12
MAX_ATTEMPTS = 3


class Time(Protocol):
    """A clock that can wait; the demo's is simulated."""

    now: datetime

    def spend(self, milliseconds: float) -> None:
        """Let time pass."""


class SupportBot:
    """One conversation with one user."""

    def __init__(self, session: Session, retriever: RemoteRetriever, clock: Time) -> None:
        self._session = session
        self._retriever = retriever
        self._clock = clock
        self._messages: list[Message] = [{"role": "system", "content": SYSTEM_PROMPT}]

    def answer(self, text: str, model: ScriptedModel, shop: RemoteShop) -> str:
        """Work on what the user says until there is an answer."""
        interaction = self._session.interaction()
        self._messages.append({"role": "user", "content": text})
        for step in range(1, MAX_STEPS + 1):
            message = self._ask(interaction, model, step)
            if message is None:
                break
            self._messages.append(message)
            if not message.get("tool_calls"):
                return str(message["content"])
            for call in message["tool_calls"]:
                self._messages.append(self._run(interaction, shop, call))
        return APOLOGY

    def _ask(self, interaction: Interaction, model: ScriptedModel, step: int) -> Message | None:
        """Ask the model for its next decision, again when it fails; None when there is none."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            started_at = self._clock.now
            output: Message | None = None
            error: dict[str, Any] | None = None
            metadata: dict[str, Any] = {"provider": "openai", "step": step, "attempt": attempt}
            metrics: dict[str, float] = {}
            try:
                output, metrics = _unpack(model.complete(self._messages))
            except AnswerStoppedError as stop:
                output, metrics = _unpack(stop.so_far)
                metadata["status"] = "cancelled"
            except ModelError as exc:
                error = {"type": exc.fault.type, "message": exc.fault.message}
                if exc.fault.http_status is not None:
                    metrics = {"http_status": exc.fault.http_status}
            interaction.llm(
                model=model.name,
                input={"messages": self._messages},
                output=output,
                error=error,
                metadata=metadata,
                metrics={"latency_ms": self._ms_since(started_at), **metrics},
                started_at=started_at,
            )
            if output is not None:
                return output
            self._clock.spend(1000 * 2**attempt)
        return None

    def _run(self, interaction: Interaction, shop: RemoteShop, call: Message) -> Message:
        name = call["function"]["name"]
        arguments = json.loads(call["function"]["arguments"])
        if name == SEARCH_HELP:
            result: Any = self._search(interaction, arguments["query"])
        else:
            result = self._use_tool(interaction, shop, name, arguments)
        content = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
        return {"role": "tool", "tool_call_id": call["id"], "content": content}

    def _search(self, interaction: Interaction, query: str) -> list[dict[str, Any]]:
        started_at = self._clock.now
        documents = self._retriever.search(query)
        interaction.retrieval(
            query=query,
            documents=documents,
            metadata={"index": "help_centre", "method": "bm25"},
            metrics={
                "latency_ms": self._ms_since(started_at),
                "documents_found": len(documents),
            },
            started_at=started_at,
        )
        return documents

    def _use_tool(
        self, interaction: Interaction, shop: RemoteShop, name: str, arguments: dict[str, Any]
    ) -> dict[str, Any] | str | None:
        started_at = self._clock.now
        output: dict[str, Any] | None = None
        error: dict[str, str] | None = None
        status = 200
        try:
            output = shop.call(name, arguments)
        except ToolError as exc:
            error, status = {"type": exc.type, "message": exc.message}, exc.http_status
        interaction.tool_call(
            tool_name=name,
            input=arguments,
            output=output,
            error=error,
            metadata={"service": "shop"},
            metrics={"latency_ms": self._ms_since(started_at), "http_status": status},
            started_at=started_at,
        )
        return f"{error['type']}: {error['message']}" if error else output

    def _ms_since(self, started_at: datetime) -> int:
        return round((self._clock.now - started_at).total_seconds() * 1000)


def _unpack(completion: Completion) -> tuple[Message, dict[str, float]]:
    return completion.message, completion.metrics
