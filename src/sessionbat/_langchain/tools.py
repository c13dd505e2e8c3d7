"""Tools: the arguments that a model gave them, what they returned, what they asked a person.

Pure functions for ``payloads`` and ``langchain``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sessionbat._langchain.media import summed_up
from sessionbat._langchain.messages import is_langchain, message_input
from sessionbat.integrations._kit import is_plain

#: What LangChain and LangGraph hand to a tool beside the model's arguments.
_ENGINE: Final = (
    "ToolRuntime", "Runtime", "BaseStore", "BaseCallbackManager", "BaseCallbackHandler",
    "BaseRunManager", "BaseCheckpointSaver",
)  # fmt: skip
_OF_A_CONFIG: Final = frozenset({
    "tags", "metadata", "callbacks", "run_name", "max_concurrency", "recursion_limit",
    "configurable", "run_id",
})  # fmt: skip
_SHOWN_OF_COMMANDS: Final = ("update", "goto", "graph", "resume")
_MAX_DEPTH: Final = 16
_MAX_LOOKED_AT: Final = 64
_MAX_LOOKED_THROUGH: Final = 10_000


def tool_arguments(inputs: Any, from_a_model: bool) -> Any:
    """Keep of a tool's arguments those that say what it was asked to do.

    LangChain leaves out what it injects where the tool's schema names it, and in old versions
    never. State, store, runtime and configuration are known by what they are.

    Args:
        inputs: The arguments as LangChain reports them, or the text that a tool is given.
        from_a_model: Whether the call is one that a model asked for. It gives JSON only, so that
            messages among the arguments are the graph's state.
    """
    if not isinstance(inputs, Mapping):
        return described(inputs)
    return {
        key: described(value)
        for key, value in inputs.items()
        if not _is_injected(value) and not (from_a_model and _is_state(value))
    }


def described(value: Any, depth: int = _MAX_DEPTH, budget: list[int] | None = None) -> Any:
    """Describe messages, commands and parcels of work where they are; media are summed up.

    Everything else is left to the encoder, also what is too deep or too much to be looked through.
    """
    kind = type(value)
    if kind is dict or kind is list or kind is tuple:
        budget = [_MAX_LOOKED_THROUGH] if budget is None else budget
        budget[0] -= len(value)
        if not depth or budget[0] < 0 or is_plain((value,)):
            return summed_up(value)
        if kind is dict:
            return {key: described(inner, depth - 1, budget) for key, inner in value.items()}
        return [described(item, depth - 1, budget) for item in value]
    if is_langchain(value, "BaseMessage"):
        return _message(value)
    if is_langchain(value, "Command"):
        return command_object(value, depth - 1)
    if is_langchain(value, "Send"):
        sent = {"node": value.node, "arg": described(value.arg, max(depth - 1, 0))}
        timeout = getattr(value, "timeout", None)
        return {**sent, "timeout": timeout} if timeout is not None else sent
    return summed_up(value)


def command_object(command: Any, depth: int = _MAX_DEPTH) -> dict[str, Any]:
    """Describe a command: what it changes, where it goes, what it answers."""
    depth = max(depth, 0)
    told = {name: getattr(command, name, None) for name in _SHOWN_OF_COMMANDS}
    return {
        name: described(value, depth)
        for name, value in told.items()
        if value is not None and value != ()
    }


def interrupts_in(error: BaseException) -> list[Any]:
    """List LangGraph's interrupts that an exception carries."""
    given = error.args[0] if error.args else ()
    return list(given) if isinstance(given, list | tuple) else []


def interrupt_object(asked: Any) -> dict[str, Any]:
    """Describe what a person is asked, and under which id the answer is expected."""
    named = getattr(asked, "id", None) or getattr(asked, "ns", None)
    return {"id": named, "value": described(getattr(asked, "value", asked))}


def _message(message: Any) -> dict[str, Any]:
    shown = message_input(message)
    artifact = vars(message).get("artifact")
    return shown if artifact is None else {**shown, "artifact": described(artifact)}


def _is_injected(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        return (
            not value.keys().isdisjoint(("callbacks", "configurable"))
            and value.keys() <= _OF_A_CONFIG
        )
    if kind.__module__ == "builtins":
        return False
    return any(is_langchain(value, name) for name in _ENGINE)


def _is_state(value: Any) -> bool:
    if type(value) is dict:
        holders = list(value.values())
    elif is_langchain(value, "BaseMessage"):
        return True
    else:
        fields = getattr(value, "__dict__", None)
        holders = [value, *fields.values()] if type(fields) is dict else [value]
    return any(
        is_langchain(item, "BaseMessage")
        for holder in holders
        if type(holder) is list
        for item in holder[:_MAX_LOOKED_AT]
    )
