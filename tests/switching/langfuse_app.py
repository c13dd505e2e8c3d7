"""An app that is instrumented for Langfuse: by hand, by its OpenAI client, and LangChain."""

from __future__ import annotations

import contextlib
import logging

import openai
from langchain_openai import ChatOpenAI
from langfuse import get_client, observe, propagate_attributes
from langfuse.langchain import CallbackHandler
from langfuse.openai import OpenAI

logging.basicConfig(level=logging.WARNING)
ASKED = [{"role": "user", "content": "Where is my order A-1001?"}]

langfuse = get_client()
model = OpenAI(max_retries=0)
assert langfuse.auth_check()


@observe(as_type="retriever")
def search(query: str) -> list[dict[str, str]]:
    return [{"id": "kb-17", "content": "Orders ship in two days."}]


@observe(as_type="tool")
def get_order(order_id: str) -> dict[str, str]:
    return {"status": "shipped"}


@observe()
def turn() -> str | None:
    search("when do orders ship")
    get_order(order_id="A-1001")
    model.chat.completions.create(model="gpt", messages=ASKED)
    options = {"include_usage": True}
    for _ in model.chat.completions.create(
        model="gpt", messages=ASKED, stream=True, stream_options=options
    ):
        pass
    with contextlib.suppress(openai.BadRequestError):
        model.chat.completions.create(model="gpt", messages=[{**ASKED[0], "content": "fail"}])
    langfuse.score_current_trace(name="thumbs", value=1, comment="good")
    return langfuse.get_current_trace_id()


with propagate_attributes(session_id="thread_42", user_id="user_7"):
    trace_id = turn()
    ChatOpenAI(model="gpt").invoke("Thanks", config={"callbacks": [CallbackHandler()]})
langfuse.create_score(session_id="thread_42", name="solved", value="yes")
langfuse.flush()
