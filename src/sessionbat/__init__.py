"""SessionBat: record what an AI application did, and deliver it without loss.

from sessionbat import SessionBat

client = SessionBat(app="support-bot")
session = client.session(session_id="thread_123")
session.interaction().llm(model="gpt-5.4-mini", input="Hello", output="Hi!")
"""

from sessionbat._current import current_interaction, current_session
from sessionbat._version import __version__
from sessionbat.accounting import FlushResult, Stats
from sessionbat.client import Interaction, Session, SessionBat
from sessionbat.errors import ConfigurationError, SessionBatError

__all__ = [
    "ConfigurationError",
    "FlushResult",
    "Interaction",
    "Session",
    "SessionBat",
    "SessionBatError",
    "Stats",
    "__version__",
    "current_interaction",
    "current_session",
]
