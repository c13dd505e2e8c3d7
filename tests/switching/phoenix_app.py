"""An app that is instrumented for Phoenix: by hand, with its decorators."""

from __future__ import annotations

import logging

from openinference.instrumentation import using_attributes
from phoenix.otel import register

logging.basicConfig(level=logging.WARNING)

provider = register(verbose=False)
tracer = provider.get_tracer("support")


@tracer.tool
def get_order(order_id: str) -> dict[str, str]:
    return {"status": "shipped"}


@tracer.llm
def ask(question: str) -> str:
    return "It arrives on Friday."


@tracer.chain
def turn(question: str) -> str:
    get_order("A-1001")
    return ask(question)


with using_attributes(session_id="thread_42", user_id="user_7"):
    turn("Where is my order A-1001?")
provider.force_flush()
