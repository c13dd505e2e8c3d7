"""What a scenario is made of: a user's turns, and the model's decisions in each of them.

Data only, so that any agent framework can play it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """The model answers the user."""

    text: str


@dataclass(frozen=True, slots=True)
class SearchHelp:
    """The model looks for help articles."""

    query: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure of somebody else's service, as the code that called it sees it."""

    type: str
    message: str
    http_status: int | None = None
    latency_ms: int = 400


@dataclass(frozen=True, slots=True)
class UseTool:
    """The model calls a tool of the shop, which fails if there is a fault."""

    name: str
    arguments: Mapping[str, Any]
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class ModelFails:
    """The model's provider fails instead of deciding; the bot tries again, up to a limit."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class UserStops:
    """The user stops the answer while it is being written."""

    text_so_far: str


Decision = Reply | SearchHelp | UseTool | ModelFails | UserStops


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says, and what the model decides until it is done."""

    says: str
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One session: who, where, and what happens."""

    #: Unique and readable; the beginning of the session's id.
    slug: str
    #: The line of the demo's table that counts it.
    outcome: str
    user_id: str
    turns: tuple[Turn, ...]
    workspace_id: str = "ws_fernhill_uk"
    environment: str = "prod"
    release: str = "2026.11.2"
    tags: tuple[str, ...] = ("web",)
    model: str = "gpt-5.4-mini"
