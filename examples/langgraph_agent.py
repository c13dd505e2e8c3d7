"""A LangGraph agent with two tools and a person who approves, recorded.

Runs offline with a scripted model. With ANTHROPIC_API_KEY set and langchain-anthropic installed it
asks the real one. Events are printed; with SESSIONBAT_ENDPOINT or SESSIONBAT_API_KEY they are sent.

    python examples/langgraph_agent.py
"""

from __future__ import annotations

import os
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from sessionbat import SessionBat
from sessionbat.transports import StdoutTransport

QUESTION = "I am locked out of account acct_987. Please unlock it."


@tool
def look_up_account(account_id: str) -> dict[str, Any]:
    """Look up the state of an account."""
    return {"account_id": account_id, "status": "locked", "attempts": 6}


@tool
def unlock_account(account_id: str) -> str:
    """Unlock an account, once a person has approved."""
    approved = interrupt(f"Unlock {account_id}?")
    return f"{account_id} unlocked" if approved == "yes" else "refused"


def main() -> None:
    sends = os.environ.get("SESSIONBAT_ENDPOINT") or os.environ.get("SESSIONBAT_API_KEY")
    with SessionBat(app="support-bot", transport=None if sends else StdoutTransport()) as client:
        agent = create_agent(
            make_model(),
            [look_up_account, unlock_account],
            name="account-agent",
            checkpointer=InMemorySaver(),
        )
        config: Any = {
            "callbacks": [client.langchain_callback(tags=["langgraph"])],
            "configurable": {"thread_id": "thread_123"},
            "metadata": {"user_id": "user_123"},
        }
        agent.invoke({"messages": [{"role": "user", "content": QUESTION}]}, config=config)
        # The tool asked a person: recorded as interrupted. The answer makes a new interaction,
        # whose metadata.resumes names the one before.
        result = agent.invoke(Command(resume="yes"), config=config)
        print(result["messages"][-1].content)


class ScriptedModel(FakeMessagesListChatModel):
    """Answers by script; the script already knows the tools."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def make_model() -> Any:
    if os.environ.get("ANTHROPIC_API_KEY"):
        from langchain_anthropic import ChatAnthropic

        return ChatAnthropic(model=os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-4-5"))
    return ScriptedModel(
        responses=[
            ask_for("look_up_account", "call_1"),
            ask_for("unlock_account", "call_2"),
            AIMessage("Your account is open again."),
        ]
    )


def ask_for(name: str, call_id: str) -> AIMessage:
    arguments = {"account_id": "acct_987"}
    call = {"name": name, "args": arguments, "id": call_id, "type": "tool_call"}
    return AIMessage("", tool_calls=[call])


if __name__ == "__main__":
    main()
