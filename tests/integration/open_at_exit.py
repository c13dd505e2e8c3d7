"""Programs that end with an open LangChain run: ``python open_at_exit.py FORM METHOD``.

Nothing here closes the client or ends the run. Prints how many runs all of its processes have open.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool

from sessionbat import SessionBat
from sessionbat.event import LLM
from sessionbat.integrations._kit import Book, Clock, Operation, book_of, record_abandoned


def slow(event: dict[str, Any]) -> dict[str, Any]:
    """A mask that makes recording slow."""
    # A mask that computes for so long: nothing to wait for.
    time.sleep(float(os.environ["MASK_SECONDS"]))
    return event


client = SessionBat(
    app="test-app",
    spool=os.environ.get("SPOOL") != "no",
    mask=slow if "MASK_SECONDS" in os.environ else None,
)
handler = client.langchain_callback()
config: Any = {"callbacks": [handler], "metadata": {"session_id": "s"}}
kept: list[Any] = []

_begun = threading.Event()


def hang(*_: object, **__: object) -> Any:
    """Say that the run is open, and never end it."""
    _begun.set()
    threading.Event().wait()


class Model(FakeListLLM):
    def _call(self, *args: Any, **kwargs: Any) -> str:
        return hang()


class Retriever(BaseRetriever):
    def _get_relevant_documents(self, query: str, **kwargs: Any) -> list[Any]:
        return hang()


@tool
def look_up(word: str) -> str:
    """Look something up."""
    return hang()


def left_open(target: Callable[..., object], asked: object) -> int:
    """Leave a run open in a thread for which nobody waits."""
    _begun.clear()
    threading.Thread(target=target, args=(asked, config), daemon=True).start()
    assert _begun.wait(20)
    return 1


def model() -> int:
    return left_open(Model(responses=[]).invoke, "open")


def tool_call() -> int:
    return left_open(look_up.invoke, {"word": "open"})


def retrieval() -> int:
    return left_open(Retriever().invoke, "open")


def chain() -> int:
    """A model inside a chain: the chain itself is no observation."""
    return left_open((Model(responses=[]) | str.upper).invoke, "open")


def several() -> int:
    return sum(model() for _ in range(5))


def stream() -> int:
    """A stream that is held and not read on."""
    answer = FakeListChatModel(responses=["one"]).stream("open", config)
    kept.extend([answer, next(answer)])
    return 1


def after_another() -> int:
    """Not the first event of this process."""
    client.session(session_id="s").interaction().llm(model="m", input="done")
    client.flush()
    return model()


def failing() -> int:
    model()
    print(1, flush=True)
    raise ValueError


def leaving() -> int:
    model()
    print(1, flush=True)
    sys.exit(3)


def in_main() -> int:
    """The client and its handler are not held by the module."""

    def main() -> None:
        own = SessionBat(app="test-app").langchain_callback()
        left_open(lambda asked, _: Model(responses=[]).invoke(asked, {"callbacks": [own]}), "open")

    main()
    return 1


def own_integration() -> int:
    """Not LangChain: anything that keeps its operations in a book."""
    book = book_of(client, Book[Operation], record_abandoned)
    operation = Operation("key", LLM, client.session().interaction())
    assert book.begin(operation)
    operation.start(Clock())
    book.ask(operation, "open")
    return 1


def two_clients() -> int:
    """Another client of the same process, with a handler and an open run of its own."""
    return model() + in_main()


def closed() -> int:
    """Closed by the host after all: the close has recorded it."""
    model()
    client.close()
    return 1


def work(number: int) -> int:
    return model()


def processes(context: Any) -> int:
    children = [context.Process(target=work, args=(n,)) for n in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert {child.exitcode for child in children} == {0}
    return len(children)


def with_an_open_parent(context: Any) -> int:
    """The children are forked from a process with an open run; theirs it is not."""
    return model() + processes(context)


def idle_children(context: Any) -> int:
    """As above, and the children do nothing at all."""
    opened = model()
    for child in [context.Process(target=os.getpid) for _ in range(2)]:
        child.start()
        child.join()
    return opened


def nested(context: Any) -> int:
    child = context.Process(target=have_children)
    child.start()
    child.join()
    return 4


def have_children() -> None:
    model()
    processes(multiprocessing.get_context("fork"))


def executor(context: Any) -> int:
    with ProcessPoolExecutor(2, mp_context=context) as workers:
        return sum(workers.map(work, range(4)))


def forked(_: Any) -> int:
    """A child of ``os.fork`` that ends as a program does."""
    pid = os.fork()
    if pid == 0:
        model()
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    return 1


ALONE: dict[str, Callable[[], int]] = {
    "model": model, "tool": tool_call, "retrieval": retrieval, "chain": chain, "several": several,
    "stream": stream, "after-another": after_another, "failing": failing, "leaving": leaving,
    "in-main": in_main, "closed": closed, "own-integration": own_integration,
    "two-clients": two_clients,
}  # fmt: skip
CHILDREN: dict[str, Callable[[Any], int]] = {
    "process": processes, "open-parent": with_an_open_parent, "idle-children": idle_children,
    "nested": nested, "executor": executor, "forked": forked,
}  # fmt: skip


if __name__ == "__main__":
    form, method = sys.argv[1:]
    if form in ALONE:
        print(ALONE[form](), flush=True)
    else:
        multiprocessing.set_start_method(method)
        print(CHILDREN[form](multiprocessing.get_context(method)))
