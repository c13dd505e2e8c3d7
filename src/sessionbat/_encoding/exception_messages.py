"""An exception → its message, without running a ``__str__`` that is written in Python.

For ``plain_values``. Such a ``__str__`` is anybody's code, and often prints anybody's objects.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import WrapperDescriptorType
from typing import Any, Final

from sessionbat._encoding.class_facts import module_of, mro_of, namespace_of, static_of
from sessionbat._encoding.cutting import cut_text
from sessionbat._encoding.known_types import number_of

MAX_MESSAGE_CHARACTERS: Final = 64 * 1024
_MAX_ARGUMENTS: Final = 100

_ARGS_OF: Final[Callable[[BaseException], tuple[Any, ...]]] = BaseException.__dict__["args"].__get__
_STORED_BESIDE_ARGS: Final = ("errno", "filename", "filename2", "message", "msg", "strerror")


def message_of(error: BaseException, text_of: Callable[[Any], str]) -> str:
    """Write what ``str(error)`` would say, as far as no code of an unknown class has a say in it.

    Args:
        error: Any exception.
        text_of: Writes one of its arguments, where the interpreter does not write them all.
    """
    args = _ARGS_OF(error)
    stored = [_builtin_attribute(error, name) for name in _STORED_BESIDE_ARGS]
    if _prints_itself(type(error)) and all(_is_short_and_plain(arg) for arg in [*args, *stored]):
        return str(static_of(type(error), "__str__")(error))
    pydantic_core = sys.modules.get("pydantic_core")
    if pydantic_core is not None and type(error) is vars(pydantic_core).get("ValidationError"):
        # Its own text holds the repr of what was validated.
        return f"{error.error_count()} validation error(s) for {error.title}"  # type: ignore[attr-defined]
    texts = [text_of(arg) for arg in args[:_MAX_ARGUMENTS]]
    return cut_text(", ".join(texts), MAX_MESSAGE_CHARACTERS)


def _prints_itself(kind: type) -> bool:
    """Whether the class prints itself by the interpreter's own code."""
    for ancestor in mro_of(kind):
        method = namespace_of(ancestor).get("__str__")
        if method is not None:
            return type(method) is WrapperDescriptorType and module_of(ancestor) == "builtins"
    return False


def _builtin_attribute(error: BaseException, name: str) -> Any:
    """Read what a built-in exception keeps beside its arguments; None if it has no such thing."""
    for ancestor in mro_of(type(error)):
        slot = namespace_of(ancestor).get(name)
        if slot is not None and module_of(ancestor) == "builtins":
            return slot.__get__(error)
    return None


def _is_short_and_plain(arg: Any) -> bool:
    kind = type(arg)
    if kind is str or kind is bytes:
        return len(arg) <= MAX_MESSAGE_CHARACTERS
    return arg is None or kind is bool or kind is float or (kind is int and number_of(arg) is arg)
