"""Plays scenarios: lets the bot answer each user's turns, at times spread over the last hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random

from sessionbat.client import SessionBat
from sessionbat.demo.bot import SupportBot
from sessionbat.demo.retriever import Retriever
from sessionbat.demo.scenarios import SCENARIOS
from sessionbat.demo.script import Scenario, UseTool
from sessionbat.demo.shop import Shop
from sessionbat.demo.world import Clock, RemoteRetriever, RemoteShop, ScriptedModel
from sessionbat.langchain import Clock as HandlerClock
from sessionbat.langchain import LangChainCallbackHandler

_MINUTES_BETWEEN_SESSIONS = 11


def play_all(
    client: SessionBat,
    *,
    run: str,
    now: datetime,
    scenarios: Sequence[Scenario] = SCENARIOS,
    seed: int = 8787,
) -> Iterator[tuple[str, Scenario]]:
    """Play scenarios one after another, the last of them ending just before now.

    Args:
        client: What records them.
        run: Ends each session's id, so that a store may hold several runs.
        now: When the demo runs.
        scenarios: What to play.
        seed: Decides on latencies, the order of sessions and the users' pauses.

    Yields:
        The id of each session that has been played, and its scenario.
    """
    retriever = Retriever()
    chance = Random(seed)
    order = chance.sample(scenarios, len(scenarios))
    for age, scenario in zip(range(len(order), 0, -1), order, strict=True):
        minutes = age * _MINUTES_BETWEEN_SESSIONS + chance.uniform(-4, 4)
        session_id = f"{scenario.slug}-{run}"
        clock = Clock(now - timedelta(minutes=minutes))
        _play(client, scenario, session_id, retriever, clock, chance)
        yield session_id, scenario


def _play(
    client: SessionBat,
    scenario: Scenario,
    session_id: str,
    retriever: Retriever,
    clock: Clock,
    chance: Random,
) -> None:
    session = client.session(
        session_id=session_id,
        tags=list(scenario.tags),
        context={
            "user_id": scenario.user_id,
            "workspace_id": scenario.workspace_id,
            "environment": scenario.environment,
            "release": scenario.release,
        },
    )
    handler = LangChainCallbackHandler(session=session, clock=simulated(clock))
    search = RemoteRetriever(
        index=retriever, clock=clock, chance=chance, metadata={"index": "help_centre"}
    )
    bot = SupportBot(session_id, handler, search)
    shop = Shop()
    for turn in scenario.turns:
        model = ScriptedModel(
            model=scenario.model, decisions=iter(turn.decisions), clock=clock, chance=chance
        )
        faults = [d.fault for d in turn.decisions if isinstance(d, UseTool)]
        bot.answer(turn.says, model, RemoteShop(shop, faults, clock, chance))
        clock.spend(chance.uniform(6_000, 45_000))


def simulated(clock: Clock) -> HandlerClock:
    """Have the handler read the simulated time."""
    return HandlerClock(
        now=lambda: clock.now.timestamp(),
        ticks_ns=lambda: round(clock.now.timestamp() * 1e6) * 1000,
    )
