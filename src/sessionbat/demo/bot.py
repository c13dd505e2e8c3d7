"""The support bot: a LangGraph agent with the shop's tools and the help centre's search.

This is the demo's example of using the SDK: the agent knows nothing of SessionBat, and the handler
passed with each turn records what it does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import NodeCancelledError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from sessionbat.demo.shop import Shop
from sessionbat.demo.world import (
    SEARCH_HELP,
    RemoteRetriever,
    RemoteShop,
    ScriptedModel,
    ServiceError,
)

SYSTEM_PROMPT = (
    "You are the assistant of Fernhill, an online shop for plants and garden tools. Search the "
    "help centre before you explain a rule. Use tools for anything about an account or an order; "
    "never guess an order's state. Be brief and kind, and hand over to a person when health, law "
    "or a complaint about a colleague is involved."
)
APOLOGY = "Sorry, I cannot answer right now. Please try again in a few minutes."
STOPPED = ""
MAX_STEPS = 30
MAX_ATTEMPTS = 3


class SupportBot:
    """One conversation with one user.

    Args:
        session_id: The conversation's id, which is the graph's thread.
        handler: Hears of everything the agent does.
        retriever: Searches the help centre.
    """

    def __init__(
        self, session_id: str, handler: BaseCallbackHandler, retriever: RemoteRetriever
    ) -> None:
        self._config: RunnableConfig = {
            "callbacks": [handler],
            "configurable": {"thread_id": session_id},
            "recursion_limit": MAX_STEPS,
        }
        self._retriever = retriever
        self._memory = InMemorySaver()

    def answer(self, text: str, model: ScriptedModel, shop: RemoteShop) -> str:
        """Work on what the user says until there is an answer."""
        agent = self._agent(model, _tools(shop, self._retriever))
        answer = ""
        try:
            said = {"messages": [HumanMessage(text)]}
            for mode, update in agent.stream(
                said, self._config, stream_mode=["messages", "values"]
            ):
                if mode == "values":
                    answer = str(update["messages"][-1].content)
        except ServiceError:
            return APOLOGY
        except NodeCancelledError:  # the user did not wait for the end
            return STOPPED
        return answer

    def _agent(self, model: ScriptedModel, tools: list[BaseTool]) -> Any:
        deciding = model.bind(tools=_offered()).with_retry(
            stop_after_attempt=MAX_ATTEMPTS, wait_exponential_jitter=False
        )

        def decide(state: MessagesState) -> dict[str, list[BaseMessage]]:
            return {
                "messages": [deciding.invoke([SystemMessage(SYSTEM_PROMPT), *state["messages"]])]
            }

        graph = StateGraph(MessagesState)
        graph.add_node("model", decide)
        graph.add_node("tools", ToolNode(tools, handle_tool_errors=_explain))
        graph.add_edge(START, "model")
        graph.add_conditional_edges("model", tools_condition)
        graph.add_edge("tools", "model")
        return graph.compile(checkpointer=self._memory, name="support-bot")


def _explain(error: ServiceError) -> str:
    """Tell the model why a tool failed, so that it may do something else."""
    return f"{type(error).__name__}: {error}"


@cache
def _described() -> dict[str, StructuredTool]:
    """Describe every tool from its signature and docstring, once: a schema takes milliseconds."""
    functions: list[Callable[..., Any]] = [*Shop().tools, search_help]
    return {f.__name__: StructuredTool.from_function(f) for f in functions}


@cache
def _offered() -> list[dict[str, Any]]:
    """Describe the tools as a model is told of them."""
    return [convert_to_openai_tool(tool) for tool in _described().values()]


def search_help(query: str) -> str:
    """Search the help centre."""
    raise NotImplementedError  # the description only; _search is what runs


def _tools(shop: RemoteShop, retriever: RemoteRetriever) -> list[BaseTool]:
    """Make the tools of one turn."""
    return [
        described.model_copy(update={"func": _search(retriever)})
        if name == SEARCH_HELP
        else described.model_copy(
            update={"func": _call(shop, name), "metadata": {"service": "shop"}}
        )
        for name, described in _described().items()
    ]


def _search(retriever: RemoteRetriever) -> Callable[..., str]:
    def search(query: str) -> str:
        found = retriever.invoke(query)
        texts = [{"title": d.metadata["title"], "text": d.page_content} for d in found]
        return json.dumps(texts, ensure_ascii=False)

    return search


def _call(shop: RemoteShop, name: str) -> Callable[..., dict[str, Any]]:
    def call(**arguments: Any) -> dict[str, Any]:
        return shop.call(name, arguments)

    return call
