"""What the host wrote about its calls: metadata, tags, session, user, agent, node.

Each library has its own place for the host's metadata; sessions and users hide in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sessionbat._otel import names, values
from sessionbat._otel.attributes import METADATA_TREES, Attributes, Names

#: Session names of the conventions. ``mcp.session.id`` is one of a connection, LangSmith's
#: ``session_name`` a project: neither is here.
_SESSION: Final = Names(
    names.SESSION,
    *("gen_ai.conversation.id", "session.id", "langfuse.session.id", "gen_ai.session.id"),
    *("langfuse.trace.session_id", "gcp.vertex.agent.session_id", "mlflow.trace.session"),
    *("ag2.conversation.id", "lk.session_id", "conversation.id", "thread.conversation_id"),
)
_SESSION_KEYS: Final = (
    *("session_id", "thread_id", "conversation_id", "sessionId", "threadId", "chatId"),
    *("conversationId", "chat_id", "session.id"),
)
_USER: Final = Names(
    *("user.id", "langfuse.user.id", "enduser.id", "gen_ai.user.id", "mlflow.trace.user"),
    *("gen_ai.request.user", "gcp.vertex.agent.user_id", "llm.user"),
)
_USER_KEYS: Final = ("user_id", "userId", "user")
_TAGS: Final = Names("tag.tags", "langfuse.trace.tags", "langsmith.span.tags", "tags")
#: LangGraph tags its own steps.
_NOISY_TAGS: Final = Names("seq:step:", "graph:step:", "map:key:", "langsmith:")
_AGENT: Final = Names(
    *("gen_ai.agent.name", "agent.name", "agent_name", "langfuse.observation.agent.name"),
    "crewai.agent.role",
)
_NODE: Final = Names("graph.node.id")
_METADATA: Final = Names("metadata")
_OF_OBSERVATION: Final = Names("langfuse.observation.metadata")
_OF_TRACE: Final = Names("langfuse.trace.metadata")
_PARAMETERS: Final = Names("llm.invocation_parameters")
#: What libraries put there about themselves; settings of the process among it.
_NOISE: Final = (
    *("ls_", "lc_", "langgraph_", "LANGSMITH_", "LANGCHAIN_", "user_api_key", "checkpoint_ns"),
    *("__pregel", "thread_ts", "usage_metadata", "revision_id", "_type", "llm_api_timing_windows"),
    *("runtime", "tags", "is_langchain_root"),
)
_MAX_TAGS: Final = 64
_MAX_METADATA: Final = 64


class HostMetadata:
    """What the host says on one span, wherever its library puts that."""

    def __init__(self, attributes: Attributes) -> None:
        self._attributes = attributes
        self.said: dict[str, Any] = {}
        #: The tags that the host gave, each once.
        self.tags = self._tags() if attributes.present(_TAGS) else []
        if not attributes.may_have_metadata:
            return
        for source in _sources(attributes):
            for key, value in source.items():
                if isinstance(key, str) and len(self.said) < 10 * _MAX_METADATA:
                    self.said.setdefault(key, value)

    @classmethod
    def nothing(cls) -> HostMetadata:
        """Give that of a span on which the host says nothing."""
        return cls(Attributes({}))

    @property
    def session(self) -> str | None:
        """The session that the span itself names."""
        return self._attributes.name(_SESSION) or self._of(*_SESSION_KEYS)

    @property
    def user(self) -> str | None:
        """The user that the span itself names."""
        return self._attributes.name(_USER) or self._of(*_USER_KEYS)

    @property
    def agent(self) -> str | None:
        """The agent that the span itself names."""
        return self._attributes.name(_AGENT) or self._of("lc_agent_name", "agent_name")

    @property
    def node(self) -> str | None:
        """The node of the graph in which it happened."""
        return self._of("langgraph_node") or self._attributes.name(_NODE)

    @property
    def step(self) -> Any:
        """The step of the graph in which it happened."""
        return values.number(values.decoded(self.said.get("langgraph_step")))

    def _tags(self) -> list[str]:
        found: dict[str, None] = {}
        for each in self._attributes.present(_TAGS):
            for tag in _tags(self._attributes.raw[each]):
                if not tag.startswith(_NOISY_TAGS) and len(found) < _MAX_TAGS:
                    found[tag] = None
        return list(found)

    @property
    def metadata(self) -> dict[str, Any]:
        """What else the host said, without what its library says of itself."""
        kept: dict[str, Any] = {}
        if not self.said:
            return kept
        known = (*_SESSION_KEYS, *_USER_KEYS)
        for key, value in self.said.items():
            value = values.decoded(value)
            if key in known or key.startswith(_NOISE) or value in (None, "", [], {}):
                continue
            if len(kept) < _MAX_METADATA:
                kept[key] = value
        return kept

    def _of(self, *keys: str) -> str | None:
        if not self.said:
            return None
        for key in keys:
            value = values.decoded(self.said.get(key))
            found = None if isinstance(value, dict | list) else values.name(value)
            if found is not None:
                return found
        return None


def _sources(attributes: Attributes) -> Iterator[Mapping[str, Any]]:
    yield attributes.mapping(_METADATA)  # OpenInference
    for tree in METADATA_TREES[:-1]:
        yield attributes.tree(tree)
    yield attributes.mapping(_OF_OBSERVATION)
    yield attributes.mapping(_OF_TRACE)
    parameters = attributes.mapping(_PARAMETERS)
    given = parameters.get("metadata")
    yield given if isinstance(given, dict) else {}  # OpenInference for LiteLLM
    yield attributes.tree(METADATA_TREES[-1])


def _tags(value: Any) -> list[str]:
    value = values.decoded(value)
    if isinstance(value, str):
        value = value.split(",")  # LangSmith
    if not isinstance(value, list | tuple):
        return []
    return [tag for each in value[: 10 * _MAX_TAGS] if (tag := values.name(each)) is not None]
