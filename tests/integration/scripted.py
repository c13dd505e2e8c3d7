"""A chat model that answers by script: texts, tool calls, exceptions, or nothing for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, PrivateAttr

USAGE = {
    "input_tokens": 100,
    "output_tokens": 20,
    "total_tokens": 120,
    "input_token_details": {"cache_read": 64},
    "output_token_details": {"reasoning": 12},
}
TOLD = {"model_name": "scripted-1-2026-11-01", "finish_reason": "stop"}


class Hang:
    """The model never answers; only a cancellation gets out."""


hanging = 0  # how many calls have come to where they hang


async def hang() -> None:
    """Wait for ever."""
    global hanging
    hanging += 1
    await asyncio.Event().wait()


async def cancel(coroutine: Any, *, after: int = 1) -> None:
    """Let it run until so many of its calls hang, then cancel it."""
    goal = hanging + after
    task = asyncio.ensure_future(coroutine)
    deadline = time.monotonic() + 10
    while hanging < goal:
        assert time.monotonic() < deadline
        assert not task.done()
        await asyncio.sleep(0.001)  # between two looks
    await asyncio.sleep(0.01)  # what the latency is measured against
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def calls(*wanted: tuple[str, dict[str, Any]], text: str = "") -> AIMessage:
    """An answer that asks for tools."""
    asked = [
        {"name": name, "args": args, "id": f"call_{number}", "type": "tool_call"}
        for number, (name, args) in enumerate(wanted, 1)
    ]
    return AIMessage(text, tool_calls=asked)


class Scripted(BaseChatModel):
    """Answers with the script's next entry, and with its last one for ever after."""

    script: list[Any] = Field(default_factory=lambda: ["Hello, world!"])
    model: str = "scripted-1"
    temperature: float | None = None
    pause_s: float = 0.0

    _position: int = PrivateAttr(default=0)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "temperature": self.temperature}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _next(self) -> Any:
        with self._lock:
            entry = self.script[min(self._position, len(self.script) - 1)]
            self._position += 1
        if isinstance(entry, BaseException):
            raise entry
        return entry

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return _result(self._next())

    async def _agenerate(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> ChatResult:
        entry = self._next()
        if isinstance(entry, Hang):
            await hang()
        await asyncio.sleep(self.pause_s)  # its work
        return _result(entry)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(self._next()):
            if isinstance(chunk, BaseException):
                raise chunk
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(self._next()):
            if isinstance(chunk, BaseException):
                raise chunk
            if isinstance(chunk, Hang):
                await hang()
            if run_manager is not None:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk
            await asyncio.sleep(0)


def _message(entry: Any) -> AIMessage:
    message = entry.model_copy() if isinstance(entry, AIMessage) else AIMessage(entry)
    message.usage_metadata = message.usage_metadata or USAGE
    message.response_metadata = message.response_metadata or TOLD
    return message


def _result(entry: Any) -> ChatResult:
    return ChatResult(
        generations=[ChatGeneration(message=_message(entry))],
        llm_output={"model_name": TOLD["model_name"]},
    )


def _chunks(entry: Any) -> Iterator[Any]:
    """Words as chunks; a list is played as it stands, so that it may break off or hang."""
    if isinstance(entry, list):
        for part in entry:
            plain = not isinstance(part, str)
            yield part if plain else ChatGenerationChunk(message=AIMessageChunk(content=part))
        return
    if isinstance(entry, Hang):
        yield entry
        return
    message = _message(entry)
    yield ChatGenerationChunk(message=AIMessageChunk(content=""))
    for word in str(message.content).split(" "):
        yield ChatGenerationChunk(message=AIMessageChunk(content=word + " "))
    if message.tool_calls:
        yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_calls=message.tool_calls))
    yield ChatGenerationChunk(
        message=AIMessageChunk(
            content="",
            usage_metadata=message.usage_metadata,
            response_metadata=message.response_metadata,
        )
    )
