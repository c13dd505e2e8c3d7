"""A LangChain chain whose model calls are recorded.

Runs offline with a scripted model. With OPENAI_API_KEY set and langchain-openai installed it asks
the real one. Events are printed; with SESSIONBAT_ENDPOINT or SESSIONBAT_API_KEY they are sent.

    python examples/langchain_chain.py
"""

from __future__ import annotations

import os
from typing import Any

from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from sessionbat import SessionBat
from sessionbat.transports import StdoutTransport

QUESTIONS = ("I am locked out of my account.", "The link has expired.")


def main() -> None:
    sends = os.environ.get("SESSIONBAT_ENDPOINT") or os.environ.get("SESSIONBAT_API_KEY")
    with SessionBat(app="support-bot", transport=None if sends else StdoutTransport()) as client:
        handler = client.langchain_callback(tags=["langchain"])
        prompt = ChatPromptTemplate.from_messages(
            [
                ("system", "You help people who cannot log in. One sentence."),
                ("human", "{question}"),
            ]
        )
        chain = prompt | make_model() | StrOutputParser()
        for question in QUESTIONS:
            # The thread is the session; each call of the chain is one interaction of it.
            config = {"callbacks": [handler], "configurable": {"thread_id": "thread_123"}}
            answer = chain.invoke({"question": question}, config=config)
            print(f"{question} -> {answer}")


def make_model() -> Any:
    if os.environ.get("OPENAI_API_KEY"):
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(model="gpt-5.4-mini")
    return FakeListChatModel(
        responses=["I have sent you a link to unlock it.", "Here is a new link, good for an hour."]
    )


if __name__ == "__main__":
    main()
