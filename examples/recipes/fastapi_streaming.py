"""A FastAPI service that streams its answers: one observation each, whole or broken off."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from sessionbat import Interaction, SessionBat

client = SessionBat(app="support-bot")  # one for the process, made when the module is imported


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await client.aflush(timeout=5)  # never in a request


app = FastAPI(lifespan=lifespan)


@app.post("/chat/{thread_id}")
async def chat(thread_id: str, question: str) -> StreamingResponse:
    interaction = client.session(session_id=thread_id).interaction()
    return StreamingResponse(answer(interaction, question), media_type="text/plain")


async def answer(interaction: Interaction, question: str) -> AsyncIterator[str]:
    begun = time.perf_counter()
    with interaction.measure_llm(model="gpt-5.4-mini", input=question) as call:
        pieces: list[str] = []
        call.output = pieces  # what has come so far counts, also when the user leaves
        async for piece in complete(question):
            if not pieces:
                call.metrics["time_to_first_token_ms"] = (time.perf_counter() - begun) * 1000
            pieces.append(piece)
            yield piece
        call.output = "".join(pieces)


async def complete(question: str) -> AsyncIterator[str]:
    """Stand in for your provider's streaming call."""
    for piece in ("You asked: ", question, " Use the ", "reset link."):
        yield piece
