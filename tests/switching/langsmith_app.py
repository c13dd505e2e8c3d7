"""An app that is instrumented for LangSmith: by hand, around OpenAI's client, and LangChain."""

from __future__ import annotations

import contextlib
import logging

import langsmith
import openai
from langchain_openai import ChatOpenAI
from langsmith import traceable
from langsmith.run_helpers import get_current_run_tree
from langsmith.wrappers import wrap_openai

logging.basicConfig(level=logging.WARNING)
IN_SESSION = {"metadata": {"session_id": "thread_42", "user_id": "user_7"}}
ASKED = [{"role": "user", "content": "Where is my order A-1001?"}]

model = wrap_openai(openai.OpenAI(max_retries=0))
client = langsmith.Client()


@traceable(run_type="retriever")
def search(query: str) -> list[dict[str, object]]:
    return [{"page_content": "Orders ship in two days.", "type": "Document", "metadata": {}}]


@traceable(run_type="tool")
def get_order(order_id: str) -> dict[str, str]:
    return {"status": "shipped"}


@traceable
def turn() -> tuple[object, object]:
    search("when do orders ship")
    get_order("A-1001")
    model.chat.completions.create(model="gpt", messages=ASKED)
    options = {"include_usage": True}
    for _ in model.chat.completions.create(
        model="gpt", messages=ASKED, stream=True, stream_options=options
    ):
        pass
    with contextlib.suppress(openai.BadRequestError):
        model.chat.completions.create(model="gpt", messages=[{**ASKED[0], "content": "fail"}])
    run = get_current_run_tree()
    return run.id, run.session_name


run_id, _ = turn(langsmith_extra=IN_SESSION)
client.create_feedback(run_id, key="before", score=0.5, trace_id=run_id, session_id=run_id)
ChatOpenAI(model="gpt").invoke("Thanks", config=IN_SESSION)
for each in (client, langsmith.run_trees.get_cached_client()):
    each.flush()
client.create_feedback(run_id, key="thumbs", score=1, comment="good", session_id=run_id)
