"""LangChainCallbackHandler: LangChain's callbacks in, recording calls out.

One observation per model, tool and retriever run; chains only say what belongs together. It runs
on the caller's thread, keeps nothing of a run that has ended, and never raises into it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sessionbat._langchain.messages import is_langchain, says_something, text_of_event
from sessionbat._langchain.payloads import (
    UNREADABLE,
    Answer,
    chat_input,
    host_metadata,
    model_answer,
    partial_answer,
    request_metadata,
    retrieval_answer,
    run_name,
    text_input,
    tool_answer,
)
from sessionbat._langchain.run_recorder import NOTHING, RunRecorder
from sessionbat._langchain.sessions import Home
from sessionbat._langchain.streams import Piece
from sessionbat._langchain.tools import interrupts_in, tool_arguments
from sessionbat.client import Interaction, Session, SessionBat
from sessionbat.errors import ConfigurationError
from sessionbat.event import LLM, RETRIEVAL, TOOL
from sessionbat.integrations._kit import Clock, Guard, guarded, to_plain, was_cancelled

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.documents import Document
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult

    _langchain_missing: ImportError | None = None
else:
    try:
        from langchain_core.callbacks import BaseCallbackHandler

        _langchain_missing = None
    except ImportError as _error:
        BaseCallbackHandler = object
        _langchain_missing = _error

__all__ = ["Clock", "LangChainCallbackHandler"]


def _listening(kind: type[LangChainCallbackHandler]) -> type[LangChainCallbackHandler]:
    """Get the class that LangGraph tells of its interrupts; it asks for one of its own.

    LangGraph is never imported for it: a program that uses it has it loaded.
    """
    own = getattr(sys.modules.get("langgraph.callbacks"), "GraphCallbackHandler", None)
    if own is None or issubclass(kind, own):
        return kind
    listening = _listening_kinds.get(kind)
    if listening is None:
        known = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
        listening = type(kind.__name__, (kind, own), {**known, "__doc__": kind.__doc__})
        _listening_kinds[kind] = listening
    return listening


_listening_kinds: dict[type, type[LangChainCallbackHandler]] = {}


class LangChainCallbackHandler(BaseCallbackHandler):
    """Records what a LangChain or LangGraph application does.

    Pass it as ``config={"callbacks": [handler]}``; one handler serves any number of threads, tasks
    and users. Usually made by ``langchain_callback()`` of a client, a session or an interaction.

    Args:
        client: Records; not needed with a session or interaction.
        session: Everything goes there, whatever LangChain calls the thread.
        interaction: Everything goes into this one turn.
        tags: Labels of everything recorded.
        context: Context of everything recorded.
        metadata: Metadata of everything recorded; what is known of a run wins.
        clock: What tells the time; a simulation brings its own.

    Raises:
        ImportError: langchain-core is not installed.
        ConfigurationError: Neither client nor session nor interaction was given.
    """

    def __new__(cls, *_: Any, **__: Any) -> LangChainCallbackHandler:
        """Make a handler that LangGraph, where it is loaded, also tells of its interrupts."""
        return super().__new__(_listening(cls))

    run_inline = True  # otherwise async code hops to a thread for every token
    raise_error = False

    def __init__(
        self,
        client: SessionBat | None = None,
        *,
        session: Session | None = None,
        interaction: Interaction | None = None,
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        clock: Clock = Clock(),  # noqa: B008 - immutable
    ) -> None:
        if _langchain_missing is not None:
            raise ImportError(
                "the LangChain handler needs langchain-core:"
                ' pip install "sessionbat[langchain]". [no-langchain]'
            ) from _langchain_missing
        super().__init__()
        within = interaction.session if interaction is not None else session
        client = within.client if within is not None else client
        if client is None:
            raise ConfigurationError(
                "a LangChain handler needs a client, a session or an interaction."
                " Use client.langchain_callback().",
                slug="no-client",
            )
        home = Home(client, session, interaction, tags, context)
        self._guard = Guard(slug="langchain-callback")
        self._clock = clock
        self._runs = RunRecorder(home, host_metadata(metadata), clock, self._guard)
        self._book = self._runs.book

    @property
    def failures(self) -> int:
        """How many callbacks could not do their work; each may have left a record incomplete."""
        return self._guard.failures

    def __copy__(self) -> LangChainCallbackHandler:
        """A copied model or configuration goes on with the same handler."""
        return self

    def __deepcopy__(self, memo: object) -> LangChainCallbackHandler:
        """As ``__copy__``."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Carry to another process what it was made with; the runs under way stay here."""
        home = self._runs.home
        within = (home.client, home.session, home.interaction)
        # As they are recorded: the host's own objects might not travel.
        plain = [to_plain(given) for given in (home.tags, home.context, self._runs.metadata)]
        return _restored, (*within, *plain)

    @guarded
    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note what belongs together; a chain is no observation."""
        run = self._runs.begin(None, run_id, parent_run_id)
        if run is None:
            return
        if metadata and "langgraph_checkpoint_ns" in metadata:
            run.place = metadata
            if run.tree.resuming:
                self._runs.note_resumed(run.tree, metadata["langgraph_checkpoint_ns"])
        if run.parent is not None:
            return
        if type(inputs) is not dict:
            run.tree.resuming = inputs is None or is_langchain(inputs, "Command")
        self._runs.settle(run.tree, metadata, or_root=False)

    @guarded
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Close a chain, and what was cancelled inside it without a word."""
        run = self._book.end(run_id.int)
        if run is not None:
            self._book.end_abandoned(lambda inside: inside.is_below(run), cancelled=False)

    @guarded
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Close a chain; its error is that of the operation inside which raised it."""
        run = self._book.end(run_id.int)
        if run is not None:
            if is_langchain(error, "GraphInterrupt"):
                self._runs.note_interrupt(run.tree, run.node().get("langgraph_checkpoint_ns"))
                self._runs.record_interrupts(run, interrupts_in(error))
            cancelled = was_cancelled(error) and not isinstance(error, GeneratorExit)
            self._book.end_abandoned(lambda inside: inside.is_below(run), cancelled=cancelled)

    @guarded
    def on_interrupt(self, event: Any) -> None:
        """Record that a graph waits for a person before or after a node, as it was told to."""
        run = self._book.find(event.run_id.int) if event.run_id is not None else None
        if run is None:
            return
        self._runs.note_interrupt(run.tree, event.checkpoint_id)
        if not run.tree.asked:
            self._runs.record_interrupts(run, event.interrupts, moment=True, how=event.status)

    @guarded
    def on_resume(self, event: Any) -> None:
        """Note which interrupted turn a graph goes on with."""
        run = self._book.find(event.run_id.int) if event.run_id is not None else None
        if run is not None and run.tree.resuming:
            self._runs.note_resumed(run.tree, event.checkpoint_id)

    @guarded
    def on_chat_model_start(
        self,
        serialized: dict[str, Any] | None,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Begin a model run with its messages as they are now."""
        params = kwargs.get("invocation_params") or NOTHING
        run = self._runs.begin_observed(LLM, run_id, parent_run_id, tags, metadata, params)
        if run is not None:
            run.name = kwargs.get("name")
            options = kwargs.get("options")
            said = self._guard.part(request_metadata, params, options, otherwise=NOTHING)
            if said:
                run.metadata |= said
            asked = messages[0] if messages else ()
            self._book.ask(
                run,
                self._guard.part(chat_input, asked, params, self._guard.part, otherwise=UNREADABLE),
            )

    @guarded
    def on_llm_start(
        self,
        serialized: dict[str, Any] | None,
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Begin a run of a model that completes text."""
        params = kwargs.get("invocation_params") or NOTHING
        run = self._runs.begin_observed(LLM, run_id, parent_run_id, tags, metadata, params)
        if run is not None:
            run.name = kwargs.get("name")
            self._book.ask(run, self._guard.part(text_input, prompts, otherwise=UNREADABLE))

    @guarded
    def on_llm_new_token(
        self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any
    ) -> None:
        """Note when the first piece of an answer came, and keep it for an answer cut short."""
        run = self._book.find(run_id.int)
        if (
            run is not None
            and run.take_piece(chunk, Piece(chunk, token))
            and not run.first_token_ns
        ):
            run.first_token_ns = self._clock.ticks_ns() if says_something(token, chunk) else 0

    @guarded
    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Do the same for event streams of version 3, which report no tokens."""
        run = self._book.find(run_id.int)
        text = text_of_event(event)
        if run is not None and run.take_piece(event, Piece(event, text or "")) and text is not None:
            run.first_token_ns = run.first_token_ns or self._clock.ticks_ns()

    @guarded
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Record a model run."""
        self._runs.end(run_id, model_answer, response, self._guard.part)

    @guarded
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Record a model run that failed or was cancelled, with what it had said by then."""
        run = self._book.end(run_id.int)
        if run is not None:
            partial = self._runs.read(partial_answer, kwargs.get("response"), self._guard.part)
            self._runs.fail(run, error, partial)

    @guarded
    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Begin a tool run with its arguments as they are now."""
        run = self._runs.begin_observed(TOOL, run_id, parent_run_id, tags, metadata)
        if run is not None:
            run.name = self._guard.part(run_name, serialized, kwargs.get("name"))
            if kwargs.get("tool_call_id"):
                run.metadata["tool_call_id"] = kwargs["tool_call_id"]
            from_a_model = "tool_call_id" in run.metadata or "node" in run.metadata
            asked = input_str if inputs is None else inputs
            self._book.ask(
                run, self._guard.part(tool_arguments, asked, from_a_model, otherwise=UNREADABLE)
            )

    @guarded
    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Record a tool run; a message with the status of an error is one."""
        self._runs.end(run_id, tool_answer, output)

    @guarded
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Record a tool run that failed, was cancelled, or waits for a person."""
        run = self._book.end(run_id.int)
        if run is not None:
            if is_langchain(error, "GraphInterrupt"):
                self._runs.note_interrupt(run.tree, run.metadata.get("checkpoint_ns"))
                run.tree.asked += interrupts_in(error)
            self._runs.fail(run, error, Answer())

    @guarded
    def on_retriever_start(
        self,
        serialized: dict[str, Any] | None,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Begin a retrieval."""
        run = self._runs.begin_observed(RETRIEVAL, run_id, parent_run_id, tags, metadata)
        if run is not None:
            run.name = self._guard.part(run_name, serialized, kwargs.get("name"))
            self._book.ask(run, query)

    @guarded
    def on_retriever_end(
        self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Record a retrieval with its documents."""
        self._runs.end(run_id, retrieval_answer, documents, self._guard.part)

    @guarded
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Record a retrieval that failed or was cancelled."""
        run = self._book.end(run_id.int)
        if run is not None:
            self._runs.fail(run, error, Answer())


def _restored(
    client: SessionBat,
    session: Session | None,
    interaction: Interaction | None,
    tags: list[str],
    context: dict[str, Any] | None,
    metadata: dict[str, Any],
) -> LangChainCallbackHandler:
    return LangChainCallbackHandler(
        client,
        session=session,
        interaction=interaction,
        tags=tags,
        context=context,
        metadata=metadata,
    )
