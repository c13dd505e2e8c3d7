"""LangChainCallbackHandler: LangChain's callbacks in, recording calls out.

One observation per model, tool and retriever run; chains only say what belongs together. It runs
on the caller's thread, keeps nothing of a run that has ended, and never raises into it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from sessionbat._encoding import Snapshot
from sessionbat._encoding.plain_values import to_plain
from sessionbat._host_log import host_log
from sessionbat._langchain.interrupts import interrupted_places
from sessionbat._langchain.messages import is_langchain, says_something, text_of_event
from sessionbat._langchain.payloads import (
    INTERRUPTED,
    UNREADABLE,
    UNREADABLE_STATUS,
    Answer,
    chat_input,
    failed_answer,
    host_metadata,
    model_answer,
    partial_answer,
    request_metadata,
    retrieval_answer,
    run_metadata,
    run_name,
    text_input,
    tool_answer,
    user_tags,
)
from sessionbat._langchain.recording import record, record_abandoned
from sessionbat._langchain.runs import Clock, Run, Tree, book_of
from sessionbat._langchain.sessions import Home, parent_around
from sessionbat._langchain.tools import interrupt_object, interrupts_in, tool_arguments
from sessionbat._measure import was_cancelled
from sessionbat.client import Interaction, Session, SessionBat
from sessionbat.errors import ConfigurationError
from sessionbat.event import LLM, RETRIEVAL, TOOL, new_event_id

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

_log = host_log
_NOTHING: Mapping[str, Any] = {}
_Callback = TypeVar("_Callback", bound=Callable[..., None])


def _guarded(callback: _Callback) -> _Callback:
    """Protect the application: what a callback raises is counted, not passed on."""

    @wraps(callback)
    def guarded(self: LangChainCallbackHandler, *args: Any, **kwargs: Any) -> None:
        try:
            callback(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the host is protected here
            self._count_failure(callback.__name__, error)

    return cast("_Callback", guarded)


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


def _place_of(run: Run) -> Mapping[str, Any]:
    """Get what LangGraph says of the node that a run is, or is inside of."""
    inside: Run | None = run
    while inside is not None:
        if inside.place is not None:
            return inside.place
        inside = inside.parent
    return _NOTHING


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
        self._home = Home(client, session, interaction, tags, context)
        self._clock = clock
        self._metadata = host_metadata(metadata)
        self._book = book_of(client, record_abandoned)
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many callbacks could not do their work; each may have left a record incomplete."""
        return self._failures

    def __copy__(self) -> LangChainCallbackHandler:
        """A copied model or configuration goes on with the same handler."""
        return self

    def __deepcopy__(self, memo: object) -> LangChainCallbackHandler:
        """As ``__copy__``."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Carry to another process what it was made with; the runs under way stay here."""
        home = self._home
        within = (home.client, home.session, home.interaction)
        # As they are recorded: the host's own objects might not travel.
        plain = [to_plain(given) for given in (home.tags, home.context, self._metadata)]
        return _restored, (*within, *plain)

    @_guarded
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
        run = self._begin(None, run_id, parent_run_id)
        if run is None:
            return
        if metadata and "langgraph_checkpoint_ns" in metadata:
            run.place = metadata
            if run.tree.resuming:
                self._note_resumed(run.tree, metadata["langgraph_checkpoint_ns"])
        if run.parent is not None:
            return
        if type(inputs) is not dict:
            run.tree.resuming = inputs is None or is_langchain(inputs, "Command")
        self._home.settle(self._book, run.tree, metadata, or_root=False)

    @_guarded
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Close a chain, and what was cancelled inside it without a word."""
        run = self._book.end(run_id)
        if run is not None:
            self._book.end_abandoned_below(run, cancelled=False)

    @_guarded
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Close a chain; its error is that of the operation inside which raised it."""
        run = self._book.end(run_id)
        if run is not None:
            if is_langchain(error, "GraphInterrupt"):
                self._note_interrupt(run.tree, _place_of(run).get("langgraph_checkpoint_ns"))
                self._record_interrupts(run, interrupts_in(error))
            cancelled = was_cancelled(error) and not isinstance(error, GeneratorExit)
            self._book.end_abandoned_below(run, cancelled=cancelled)

    @_guarded
    def on_interrupt(self, event: Any) -> None:
        """Record that a graph waits for a person before or after a node, as it was told to."""
        run = self._book.find(event.run_id) if event.run_id is not None else None
        if run is None:
            return
        self._note_interrupt(run.tree, event.checkpoint_id)
        if not run.tree.asked:
            self._record_interrupts(run, event.interrupts, moment=True, how=event.status)

    @_guarded
    def on_resume(self, event: Any) -> None:
        """Note which interrupted turn a graph goes on with."""
        run = self._book.find(event.run_id) if event.run_id is not None else None
        if run is not None and run.tree.resuming:
            self._note_resumed(run.tree, event.checkpoint_id)

    @_guarded
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
        params = kwargs.get("invocation_params") or _NOTHING
        run = self._begin_observed(LLM, run_id, parent_run_id, tags, metadata, params)
        if run is not None:
            run.name = kwargs.get("name")
            options = kwargs.get("options")
            said = self._part(request_metadata, params, options, otherwise=_NOTHING)
            if said:
                run.metadata |= said
            asked = messages[0] if messages else ()
            self._ask(run, self._part(chat_input, asked, params, self._part, otherwise=UNREADABLE))

    @_guarded
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
        params = kwargs.get("invocation_params") or _NOTHING
        run = self._begin_observed(LLM, run_id, parent_run_id, tags, metadata, params)
        if run is not None:
            run.name = kwargs.get("name")
            self._ask(run, self._part(text_input, prompts, otherwise=UNREADABLE))

    @_guarded
    def on_llm_new_token(
        self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any
    ) -> None:
        """Note when the first piece of an answer came, and keep it for an answer cut short."""
        run = self._book.find(run_id)
        if run is not None and run.take_piece(chunk, token) and not run.first_token_ns:
            run.first_token_ns = self._clock.ticks_ns() if says_something(token, chunk) else 0

    @_guarded
    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Do the same for event streams of version 3, which report no tokens."""
        run = self._book.find(run_id)
        text = text_of_event(event)
        if run is not None and run.take_piece(event, text or "") and text is not None:
            run.first_token_ns = run.first_token_ns or self._clock.ticks_ns()

    @_guarded
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Record a model run."""
        run = self._end(run_id)
        if run is not None:
            record(run, self._read(model_answer, response, self._part))

    @_guarded
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Record a model run that failed or was cancelled, with what it had said by then."""
        run = self._end(run_id)
        if run is not None:
            partial = self._read(partial_answer, kwargs.get("response"), self._part)
            record(run, self._failed(error, partial))

    @_guarded
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
        run = self._begin_observed(TOOL, run_id, parent_run_id, tags, metadata, _NOTHING)
        if run is not None:
            run.name = self._part(run_name, serialized, kwargs.get("name"))
            if kwargs.get("tool_call_id"):
                run.metadata["tool_call_id"] = kwargs["tool_call_id"]
            from_a_model = "tool_call_id" in run.metadata or "node" in run.metadata
            asked = input_str if inputs is None else inputs
            self._ask(run, self._part(tool_arguments, asked, from_a_model, otherwise=UNREADABLE))

    @_guarded
    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Record a tool run; a message with the status of an error is one."""
        run = self._end(run_id)
        if run is not None:
            record(run, self._read(tool_answer, output))

    @_guarded
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Record a tool run that failed, was cancelled, or waits for a person."""
        run = self._end(run_id)
        if run is not None:
            if is_langchain(error, "GraphInterrupt"):
                self._note_interrupt(run.tree, run.metadata.get("checkpoint_ns"))
                run.tree.asked += interrupts_in(error)
            record(run, self._failed(error, Answer()))

    @_guarded
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
        run = self._begin_observed(RETRIEVAL, run_id, parent_run_id, tags, metadata, _NOTHING)
        if run is not None:
            run.name = self._part(run_name, serialized, kwargs.get("name"))
            self._ask(run, query)

    @_guarded
    def on_retriever_end(
        self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Record a retrieval with its documents."""
        run = self._end(run_id)
        if run is not None:
            record(run, self._read(retrieval_answer, documents, self._part))

    @_guarded
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Record a retrieval that failed or was cancelled."""
        run = self._end(run_id)
        if run is not None:
            record(run, self._failed(error, Answer()))

    def _begin(self, kind: str | None, run_id: UUID, parent_run_id: UUID | None) -> Run | None:
        adopted_by = self._adopter() if parent_run_id is None else None
        return self._book.begin(run_id, parent_run_id, self._home, adopted_by=adopted_by, kind=kind)

    def _adopter(self) -> UUID | None:
        """Find the run that a run without a parent really is inside of."""
        around = parent_around()
        above = self._book.find(around) if around is not None else None
        if above is None or not self._home.shares_trees_of(above.tree.home):
            return None
        return around

    def _begin_observed(
        self,
        kind: str,
        run_id: UUID,
        parent_run_id: UUID | None,
        tags: list[str] | None,
        metadata: dict[str, Any] | None,
        params: Mapping[str, Any],
    ) -> Run | None:
        run = self._begin(kind, run_id, parent_run_id)
        if run is None:
            return None
        run.clock = self._clock
        run.begun_at, run.begun_ns = self._clock.now(), self._clock.ticks_ns()
        above_id = run.nearest_id
        run.observation_id = run.nearest_id = new_event_id()
        tree = run.tree
        if tree.interaction is None:
            self._home.settle(self._book, tree, metadata, or_root=True)
        self._book.watch(run)
        run.tags = self._part(user_tags, tags)
        self._describe(run, run_id, above_id, metadata, tags, params)
        return run

    def _describe(
        self,
        run: Run,
        run_id: UUID | str,
        above_id: str,
        metadata: Mapping[str, Any] | None,
        tags: Sequence[Any] | None,
        params: Mapping[str, Any],
    ) -> None:
        said = self._part(run_metadata, metadata, tags, params, otherwise=_NOTHING)
        run.metadata = {**self._metadata, **said}
        run.metadata["run_id"] = str(run_id)
        if above_id:
            run.metadata["parent_observation_id"] = above_id
        if run.tree.resumes is not None:
            run.metadata["resumes"] = run.tree.resumes

    def _ask(self, run: Run, asked: Any) -> None:
        self._book.hold(run, Snapshot(asked))
        run.begun_ns = self._clock.ticks_ns()  # what was taken down so far is not its latency

    def _end(self, run_id: UUID) -> Run | None:
        run = self._book.end(run_id)
        if run is not None:
            run.ended_ns = self._clock.ticks_ns()
        return run

    def _part(self, read: Callable[..., Any], *given: Any, otherwise: Any = None) -> Any:
        """Read one part of a record; what cannot be read costs that part only."""
        try:
            return read(*given)
        except Exception as error:  # noqa: BLE001 - an object that cannot be read
            self._count_failure(read.__name__, error)
            return otherwise

    def _read(self, read: Callable[..., Answer], *given: Any) -> Answer:
        answer: Answer = self._part(
            read, *given, otherwise=Answer(metadata={"status": UNREADABLE_STATUS})
        )
        return answer

    def _failed(self, error: BaseException, so_far: Answer) -> Answer:
        return self._read(failed_answer, error, so_far)

    def _note_interrupt(self, tree: Tree, place: Any) -> None:
        """Remember where a person was asked, so that the turn with the answer can name this one."""
        if tree.interaction is None:
            self._home.settle(self._book, tree, None, or_root=True)
        if tree.interaction is None:
            return
        interaction_id = tree.interaction.interaction_id
        self._book.interrupted.note(tree.interaction.session_id, interaction_id)
        if type(place) is str:
            interrupted_places.note(place, interaction_id)

    def _note_resumed(self, tree: Tree, place: Any) -> None:
        """Find the turn that was interrupted here, also where another client heard of it."""
        earlier = interrupted_places.take(place) if type(place) is str else None
        own = tree.interaction.interaction_id if tree.interaction is not None else None
        if tree.resumes is None and earlier != own:
            tree.resumes = earlier

    def _record_interrupts(
        self, run: Run, interrupts: Iterable[Any], *, moment: bool = False, how: Any = None
    ) -> None:
        """Record what a person is asked, unless the tool that asks is recorded with it."""
        tree = run.tree
        new = [asked for asked in interrupts if not any(asked is shown for shown in tree.asked)]
        if not new and not moment:
            return
        tree.asked += new
        asking = Run(run.key, tree, run.parent, TOOL)
        asking.name = "interrupt"
        asking.observation_id = new_event_id()
        asking.begun_at = self._clock.now()
        self._describe(asking, UUID(int=run.key), run.nearest_id, _place_of(run), None, _NOTHING)
        questions = [self._part(interrupt_object, asked, otherwise=UNREADABLE) for asked in new]
        status = (
            {"status": INTERRUPTED} if how is None else {"status": INTERRUPTED, "interrupt": how}
        )
        record(asking, Answer({"interrupts": questions}, status))

    def _count_failure(self, what: str, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            _log.warning(
                "%s raised %s; a record may be incomplete; more are counted only."
                " [langchain-callback]",
                what,
                type(error).__name__,
            )


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
