"""SessionBat: record what an AI application did, and deliver it without loss.

from sessionbat import SessionBat

client = SessionBat(app="support-bot")
session = client.session(session_id="thread_123")
session.interaction().llm(model="gpt-5.4-mini", input="Hello", output="Hi!")
"""

from typing import TYPE_CHECKING

import sessionbat._at_import  # noqa: F401 - before anything that imports threading
from sessionbat._current import current_interaction, current_session
from sessionbat._version import __version__
from sessionbat.accounting import FlushResult, Stats
from sessionbat.client import Interaction, Session, SessionBat
from sessionbat.errors import ConfigurationError, SessionBatError

if TYPE_CHECKING:
    from sessionbat.langchain import LangChainCallbackHandler

__all__ = [
    "ConfigurationError",
    "FlushResult",
    "Interaction",
    "LangChainCallbackHandler",
    "Session",
    "SessionBat",
    "SessionBatError",
    "Stats",
    "__version__",
    "current_interaction",
    "current_session",
]


def __getattr__(name: str) -> object:
    """Load the LangChain handler on first use: LangChain takes longer than all the rest."""
    if name == "LangChainCallbackHandler":
        from sessionbat.langchain import LangChainCallbackHandler

        return LangChainCallbackHandler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
