"""What is current, when blocks end in another order or another place than they began."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from sessionbat import Interaction, Session, SessionBat, current_interaction, current_session
from sessionbat.transports import MemoryTransport

NONE = "none"


@pytest.fixture
def memory() -> SessionBat:
    return SessionBat(app="test", transport=MemoryTransport())


def now() -> str:
    return current_session().session_id


def enter(*blocks: Session | Interaction) -> None:
    for block in blocks:
        block.__enter__()


def leave(*blocks: Session | Interaction) -> None:
    for block in blocks:
        block.__exit__(None, None, None)


def test_a_session_left_first_does_not_become_current_again(memory: SessionBat) -> None:
    a, b = memory.session(session_id="a"), memory.session(session_id="b")
    enter(a, b)
    leave(a)
    assert now() == "b"
    leave(b)
    assert now() == NONE


@pytest.mark.parametrize("order", ["abc", "acb", "bac", "bca", "cab", "cba"])
def test_blocks_may_end_in_any_order(memory: SessionBat, order: str) -> None:
    sessions = {name: memory.session(session_id=name) for name in "abc"}
    enter(*sessions.values())
    for place, name in enumerate(order):
        leave(sessions[name])
        left = [other for other in "abc" if other not in order[: place + 1]]
        assert now() == (left[-1] if left else NONE)


def test_an_interaction_may_outlast_its_session(memory: SessionBat) -> None:
    session = memory.session(session_id="a")
    interaction = session.interaction()
    enter(session, interaction)
    leave(session)
    assert current_interaction() is interaction
    leave(interaction)
    assert now() == NONE


def test_a_session_entered_twice_is_current_until_it_was_left_twice(memory: SessionBat) -> None:
    session, other = memory.session(session_id="a"), memory.session(session_id="b")
    enter(session, other, session)
    leave(session)
    assert now() == "b"
    leave(other)
    assert now() == "a"
    leave(session)
    assert now() == NONE


def test_leaving_more_often_than_entering_changes_nothing(memory: SessionBat) -> None:
    session = memory.session(session_id="a")
    with memory.session(session_id="b"):
        leave(session, session)
        assert now() == "b"


def answer(client: SessionBat, user: str) -> Iterator[str]:
    with client.session(session_id=user) as session, session.interaction():
        yield user
        yield user


async def streamed(client: SessionBat, user: str) -> AsyncIterator[str]:
    with client.session(session_id=user) as session, session.interaction():
        yield user
        yield user


def test_generators_that_are_read_in_turn_leave_nothing_current(memory: SessionBat) -> None:
    streams = [answer(memory, user) for user in ("ada", "bob", "cid")]
    for _ in range(2):
        for stream in streams:
            next(stream)
    for stream in streams:
        assert list(stream) == []
    assert now() == NONE


@pytest.mark.slow
def test_a_generator_that_nobody_finishes_leaves_when_it_is_collected(memory: SessionBat) -> None:
    stream: Any = answer(memory, "ada")
    next(stream)
    with memory.session(session_id="b"):
        del stream
        gc.collect()
        assert now() == "b"
    assert now() == NONE


def test_async_generators_that_are_read_in_turn_leave_nothing_current(memory: SessionBat) -> None:
    async def main() -> str:
        streams = [streamed(memory, user) for user in ("ada", "bob")]
        for _ in range(2):
            for stream in streams:
                await anext(stream)
        for stream in streams:
            assert [item async for item in stream] == []
        return now()

    assert asyncio.run(main()) == NONE


@pytest.mark.slow
@pytest.mark.parametrize("how", ["aclose", "collected"])
def test_an_async_generator_closed_by_another_task_ends_where_it_began(
    memory: SessionBat, how: str
) -> None:
    async def main() -> tuple[str, str]:
        stream: Any = streamed(memory, "ada")
        await anext(stream)
        during = now()
        if how == "aclose":
            await asyncio.create_task(stream.aclose())
        else:
            del stream
            gc.collect()
            await asyncio.sleep(0)  # the loop closes it in a task of its own
            await asyncio.sleep(0)
        return during, now()

    assert asyncio.run(main()) == ("ada", NONE)


def test_a_task_goes_on_with_the_session_in_which_it_was_made(memory: SessionBat) -> None:
    async def later(go: asyncio.Event) -> str:
        await go.wait()
        return now()

    async def main() -> tuple[str, str]:
        go = asyncio.Event()
        with memory.session(session_id="a"):
            task = asyncio.create_task(later(go))
        go.set()
        return now(), await task

    assert asyncio.run(main()) == (NONE, "a")


def test_a_thread_with_a_copied_context_leaves_for_all(memory: SessionBat) -> None:
    session = memory.session(session_id="a")
    with session:
        copy = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(copy.run, leave, session).result()
        assert (now(), copy.run(now)) == (NONE, NONE)


def test_a_copied_context_of_the_same_thread_leaves_for_itself_only(memory: SessionBat) -> None:
    session = memory.session(session_id="a")
    with session:
        copy = contextvars.copy_context()
        copy.run(leave, session)
        assert (now(), copy.run(now)) == ("a", NONE)
    assert now() == NONE


def test_a_block_left_in_a_thread_that_never_entered_it_ends(memory: SessionBat) -> None:
    """As the web frameworks do with a synchronous dependency: another thread for each half."""
    session = memory.session(session_id="a")
    enter(session)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(leave, session).result()
    assert now() == NONE


def test_a_session_that_two_contexts_have_entered_is_not_guessed_at(memory: SessionBat) -> None:
    session = memory.session(session_id="a")
    first, second = contextvars.Context(), contextvars.Context()
    first.run(enter, session)
    second.run(enter, session)
    leave(session)
    assert (first.run(now), second.run(now)) == ("a", "a")


def test_an_exit_stack_leaves_in_its_own_order(memory: SessionBat) -> None:
    outer, inner = ExitStack(), ExitStack()
    a = outer.enter_context(memory.session(session_id="a"))
    inner.enter_context(memory.session(session_id="b"))
    outer.enter_context(a.interaction())
    inner.close()
    assert now() == "a"
    outer.close()
    assert now() == NONE


def test_a_context_manager_of_the_host_makes_current(memory: SessionBat) -> None:
    """Its generator waits while the block runs, as any generator does while it is read."""

    @contextmanager
    def turn(user: str) -> Iterator[Interaction]:
        with memory.session(session_id=user) as session, session.interaction() as interaction:
            yield interaction

    with memory.session(session_id="outer"), turn("ada") as interaction:
        assert current_interaction() is interaction
    assert now() == NONE


# In generators


def stream(memory: SessionBat, name: str) -> Iterator[str]:
    with memory.session(session_id=name), memory.session(session_id=f"{name}-inner"):
        yield now()
        yield now()
    yield now()


def test_each_of_several_generators_read_in_turn_has_its_own_session(memory: SessionBat) -> None:
    streams = {name: stream(memory, name) for name in "abc"}
    for _ in range(2):
        for name, each in streams.items():
            assert next(each) == f"{name}-inner"
    for each in streams.values():
        next(each)
    assert now() == NONE


def test_async_generators_read_in_turn_have_their_own(memory: SessionBat) -> None:
    async def answer(name: str) -> AsyncIterator[str]:
        with memory.session(session_id=name) as session, session.interaction():
            for _ in range(3):
                await asyncio.sleep(0)
                yield now()

    async def read() -> list[str]:
        a, b = answer("a"), answer("b")
        return [await anext(each) for each in (a, b, b, a, a, b)]

    assert asyncio.run(read()) == ["a", "b", "b", "a", "a", "b"]


def test_code_called_by_a_generator_is_in_its_session(memory: SessionBat) -> None:
    def work() -> Iterator[str]:
        yield now()
        with memory.session(session_id="deeper"):
            yield now()
        yield now()

    def outer(name: str) -> Iterator[str]:
        with memory.session(session_id=name):
            yield from work()

    a, b = outer("a"), outer("b")
    assert [next(each) for each in (a, b, a, b, a, b)] == ["a", "b", "deeper", "deeper", "a", "b"]


def test_a_context_manager_of_the_host_works_inside_a_generator(memory: SessionBat) -> None:
    @contextmanager
    def opened(name: str) -> Iterator[None]:
        with memory.session(session_id=name):
            yield

    def answer(name: str) -> Iterator[str]:
        with opened(name):
            yield now()
            with opened(f"{name}-inner"):
                yield now()

    a, b = answer("a"), answer("b")
    assert [next(each) for each in (a, b, a, b)] == ["a", "b", "a-inner", "b-inner"]


def test_a_generator_that_waits_as_a_fixture_does_is_current_for_its_reader(
    memory: SessionBat,
) -> None:
    def fixture() -> Iterator[None]:
        with memory.session(session_id="fixture"):
            yield

    waiting = fixture()
    next(waiting)
    assert now() == "fixture"
    with memory.session(session_id="inside"):
        assert now() == "inside"
    assert now() == "fixture"
    assert next(waiting, None) is None
    assert now() == NONE


def test_a_generator_goes_on_in_its_own_after_its_reader_entered_another(
    memory: SessionBat,
) -> None:
    a = stream(memory, "a")
    assert next(a) == "a-inner"
    with memory.session(session_id="reader"):
        assert next(a) == "a-inner"
        assert now() == "reader"


def test_generators_that_come_and_go_are_not_taken_for_each_other(memory: SessionBat) -> None:
    for n in range(200):
        a = stream(memory, f"a{n}")
        b = stream(memory, f"b{n}")
        assert (next(a), next(b), next(a)) == (f"a{n}-inner", f"b{n}-inner", f"a{n}-inner")
        del a, b
        gc.collect(0)
    assert now() == NONE
