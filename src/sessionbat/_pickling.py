"""A client, a session or an interaction in another process: what pickle carries, what it finds.

Plain values travel: ids, tags, context, settings; never a key, an event or the host's objects. On
arrival a client of the same settings is looked for, else one is made with the environment's key.
Nothing here raises: unpickling is the host's own code at work. These names are in pickles that
later versions read.
"""

from __future__ import annotations

import importlib
import logging
import re
import sys
from collections import deque
from types import FunctionType
from typing import Any, Final, TypeAlias

from sessionbat import _current
from sessionbat._refusing import RefusingTransport
from sessionbat._scope import Scope
from sessionbat._settings import DIGEST_PREFIX
from sessionbat.client import Interaction, Session, SessionBat, open_clients
from sessionbat.errors import ConfigurationError
from sessionbat.transports import (
    IngestionTransport,
    MemoryTransport,
    OTLPTransport,
    StdoutTransport,
    Transport,
)

#: Plain values, by names that stay.
Settings: TypeAlias = dict[str, Any]

_OTHER: Final = "other"
_LOST_MASK: Final = ("lost",)

_log = logging.getLogger("sessionbat")
#: So that a task queue that unpickles one session after another does not make a client for each.
_made_here: deque[SessionBat] = deque(maxlen=64)


# What is carried.


def settings_of(client: SessionBat) -> Settings:
    """Describe how a client records and delivers, without its key."""
    recorder = client._recorder
    return {
        "app": client._scope.app,
        "transport": _transport_settings(recorder.transport),
        "mask": _mask_settings(client._mask_option),
        "sample_rate": recorder.sample_rate,
        "max_event_bytes": recorder.max_event_bytes,
    }


def _transport_settings(transport: Transport | None) -> Settings | str | None:
    if isinstance(transport, IngestionTransport):
        return transport_settings(transport)
    if isinstance(transport, OTLPTransport):
        return otlp_settings(transport)
    if type(transport) is MemoryTransport:
        return "memory"
    if type(transport) is StdoutTransport:
        return "stdout"
    return None if transport is None else _OTHER


def transport_settings(transport: IngestionTransport) -> Settings:
    """Describe where and how a transport delivers, without its key."""
    options = transport._worker.options
    return {
        "endpoint": transport.endpoint,
        "app": options.app,
        "spool": options.spool,
        "durability": options.durability,
        "exit_timeout": options.exit_timeout,
    }


def otlp_settings(transport: OTLPTransport) -> Settings:
    """Describe where and how spans are delivered, without the headers."""
    options = transport._worker.options
    return {
        "wire": "otlp",
        "endpoint": transport.endpoint,
        "app": options.app,
        "spool": options.spool,
        "exit_timeout": options.exit_timeout,
        "has_headers": transport.has_headers,
    }


def _mask_settings(option: Any) -> Any:
    """Describe a mask: its names and patterns, or where its function is found."""
    if option is None:
        return None
    if not callable(option):
        entries = [option] if isinstance(option, str | re.Pattern) else option
        return [str.__str__(entry) if isinstance(entry, str) else entry for entry in entries]
    # Another callable is an object of the host's, whose pickling would run its code.
    if type(option) is FunctionType:
        place = ("function", option.__module__, option.__qualname__)
        if _found(sys.modules.get(option.__module__), option.__qualname__) is option:
            return place
    return _LOST_MASK


def _found(module: Any, qualname: str) -> Any:
    found = module
    for part in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found


# What is found or made.


def restore_client(
    token: str, settings: Settings, tags: tuple[str, ...], context: dict[str, Any]
) -> SessionBat:
    """Find the client that was pickled, or one of the same settings, or make one."""
    same = open_clients().get(token)
    if same is not None:
        return same
    scope = Scope(settings["app"], tags=tags, context=context)
    found = _open_client(settings, scope) or _current_client(settings) or _made(settings)
    if (found._scope.tags, found._scope.context) != (scope.tags, scope.context):
        found = _with_scope(found, scope)
    if not any(found is other for other in _made_here):
        _made_here.append(found)
    return found


def _open_client(settings: Settings, scope: Scope) -> SessionBat | None:
    if settings["mask"] == _LOST_MASK:
        return None  # nobody can say whether a mask is the same
    similar = None
    for reference in open_clients().valuerefs():
        client = reference()
        if client is None or client._recorder.is_closed or settings_of(client) != settings:
            continue
        if isinstance(client._recorder.transport, RefusingTransport):
            continue  # there may be a key by now
        if (client._scope.tags, client._scope.context) == (scope.tags, scope.context):
            return client
        similar = client
    return similar


def _current_client(settings: Settings) -> SessionBat | None:
    """Take the current session's client for one whose own transport cannot come here."""
    now = _current.current()
    if now is None or settings["transport"] != _OTHER:
        return None
    client = now.session.client
    described = settings_of(client)
    alike = all(described[name] == settings[name] for name in ("app", "mask"))
    return client if alike and settings["mask"] != _LOST_MASK else None


def _with_scope(found: SessionBat, scope: Scope) -> SessionBat:
    """Make a client that records and counts as another does, under tags and context of its own."""
    client = SessionBat.__new__(SessionBat)
    client._begin(found._recorder, scope, found._mask_option)
    return client


def _made(settings: Settings) -> SessionBat:
    given = settings["transport"]
    options: dict[str, Any] = {
        "app": settings["app"],
        "mask": _mask_option(settings["mask"]),
        "sample_rate": settings["sample_rate"],
        "max_event_bytes": settings["max_event_bytes"],
    }
    try:
        if given is None:
            options["transport"] = RefusingTransport("off", "recording was off where it came from")
        elif given == "memory":
            options["transport"] = MemoryTransport()
        elif given == "stdout":
            options["transport"] = StdoutTransport()
        elif given == _OTHER:
            options["transport"] = RefusingTransport(
                "transport-lost", "its transport cannot be pickled, and there is no such client"
            )
        elif given.get("wire") == "otlp":
            options["transport"] = restore_otlp(given)
        else:
            options |= {name: given[name] for name in _DELIVERY}
        return SessionBat(**options)
    except Exception as error:  # noqa: BLE001 - the host is unpickling something of its own
        return SessionBat(app=settings["app"], transport=_refusing(error))


_DELIVERY: Final = ("endpoint", "spool", "durability", "exit_timeout")


def _refusing(error: Exception) -> RefusingTransport:
    if not isinstance(error, ConfigurationError):
        return RefusingTransport("not-restored", f"unpickling it raised {type(error).__name__}")
    why = str(error).removesuffix(f" [{error.slug}]")
    return RefusingTransport(error.slug, f"its client cannot be made in this process: {why}")


def _mask_option(described: Any) -> Any:
    if type(described) is not tuple:
        return described
    if len(described) == 3:
        try:
            function = _found(importlib.import_module(described[1]), described[2])
        except Exception:  # noqa: BLE001 - the module is the host's
            function = None
        if callable(function):
            return function
    _log.warning(
        "the mask of a client did not come with it: it is no function that this process can find."
        " Its events are sent without payload. [mask-lost]"
    )
    return lost_mask


def lost_mask(_: dict[str, Any]) -> dict[str, Any]:
    """Stand in for a mask that stayed behind: fails, so that nothing it would remove is sent."""
    raise LookupError("the mask is in another process")


def restore_transport(settings: Settings) -> Transport:
    """Make a transport that delivers as the pickled one does; without a key it refuses."""
    try:
        options = {name: settings[name] for name in _DELIVERY}
        return IngestionTransport(app=settings["app"] or None, **options)
    except Exception as error:  # noqa: BLE001 - as above
        return _refusing(error)


def restore_otlp(settings: Settings) -> Transport:
    """Make a transport that delivers as the pickled one does, with the environment's headers."""
    try:
        app = settings["app"]
        made = OTLPTransport(
            settings["endpoint"],
            app=None if app.startswith(DIGEST_PREFIX) else app or None,
            spool=settings["spool"],
            exit_timeout=settings["exit_timeout"],
        )
        if settings["has_headers"] and not made.has_headers:
            return RefusingTransport(
                "no-otlp-headers",
                "its headers stayed behind, and OTEL_EXPORTER_OTLP_HEADERS does not have them",
            )
        return made
    except Exception as error:  # noqa: BLE001 - as above
        return _refusing(error)


def restore_session(
    client: SessionBat, app: str, session_id: str, tags: tuple[str, ...], context: dict[str, Any]
) -> Session:
    """Make the session again, with the tags and context that it had."""
    session = Session(client, session_id, None, None)
    session._scope = Scope(app, session_id, "", tags, context)
    return session


def restore_interaction(
    session: Session, app: str, interaction_id: str, tags: tuple[str, ...], context: dict[str, Any]
) -> Interaction:
    """Make the interaction again, with the tags and context that it had."""
    interaction = Interaction(session, interaction_id, None, None)
    interaction._scope = Scope(app, session.session_id, interaction_id, tags, context)
    return interaction
