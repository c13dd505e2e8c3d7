"""A real Jupyter kernel: cells, interrupts, restarts, several kernels, the same cell again."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sessionbat.testing import Answer, Endpoint, receipt
from tests.conftest import eventually
from tests.faults.host import deliver_the_rest, on_disk, stored, wait_until_on_disk
from tests.world import need

for library in ("ipykernel", "jupyter_client"):
    need(library)

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]  # a kernel takes seconds to start

MAKE = """
import time
from sessionbat import SessionBat
client = SessionBat(app="test-app", endpoint={url!r})
session = client.session(session_id="s")
def record(count, text="hello"):
    for n in range(count):
        session.interaction().llm(model="m", input=text, output=str(n))
"""


class Kernel:
    """A kernel that runs cells."""

    def __init__(self, url: str) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(startup_timeout=60)
        self.run(MAKE.format(url=url))

    def start(self, code: str) -> str:
        """Start a cell, and wait until it runs."""
        cell: str = self.client.execute(code)
        self._wait(cell, "execute_input")
        return cell

    def finish(self, cell: str) -> tuple[str, str]:
        """Wait for the end of a cell: what it printed, and its exception."""
        text, error = "", ""
        while (message := self._next(cell))["content"].get("execution_state") != "idle":
            content = message["content"]
            text += content.get("text", "")
            error = content.get("ename", error)
        return text.strip(), error

    def run(self, code: str) -> str:
        """Run a cell that does not fail; what it printed."""
        text, error = self.finish(self.start(code))
        assert not error, error
        return text

    def _wait(self, cell: str, kind: str) -> None:
        while self._next(cell)["msg_type"] != kind:
            pass

    def _next(self, cell: str) -> dict[str, Any]:
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                message: dict[str, Any] = self.client.get_iopub_msg(timeout=1)
                if message["parent_header"].get("msg_id") == cell:
                    return message
        raise AssertionError("the kernel said nothing in time")

    def end(self, *, now: bool) -> None:
        """Shut it down as Jupyter does, or kill it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=now)


@pytest.fixture
def kernels(endpoint: Endpoint) -> Iterator[list[Kernel]]:
    running: list[Kernel] = []
    yield running
    for kernel in running:
        kernel.end(now=True)


@pytest.fixture
def kernel(endpoint: Endpoint, kernels: list[Kernel]) -> Kernel:
    kernels.append(Kernel(endpoint.url))
    return kernels[0]


def test_cells_record_and_flush_also_with_await(endpoint: Endpoint, kernel: Kernel) -> None:
    """The kernel's own event loop runs while a cell does."""
    kernel.run("record(10)")
    assert kernel.run("print(bool(client.flush()))") == "True"
    kernel.run("record(10)")
    assert kernel.run("print(bool(await client.aflush()))") == "True"
    nested = "import asyncio, nest_asyncio2\nnest_asyncio2.apply()\nrecord(10)\n"
    nested += "print(bool(asyncio.run(client.aflush())))"
    with contextlib.suppress(ImportError):
        import nest_asyncio2  # noqa: F401 - which ipykernel needs at present

        assert kernel.run(nested) == "True"
    assert len(set(endpoint.acknowledged)) == len(endpoint.acknowledged) >= 20


def test_the_cell_that_makes_the_client_is_run_again_and_again(
    endpoint: Endpoint, kernel: Kernel
) -> None:
    """Two threads however many clients there were, and no client is kept for ever."""
    for number in range(20):
        kernel.run(MAKE.format(url=endpoint.url) + f"record(5, 'run {number % 2}')")
    kernel.run("client.flush()")
    ours = "[t.name for t in __import__('threading').enumerate() if 'sessionbat' in t.name]"
    assert kernel.run(f"print(len({ours}))") in ("1", "2")
    alive = "import gc\ngc.collect()\nprint(sum(type(o) is SessionBat for o in gc.get_objects()))"
    assert kernel.run(alive) == "1"
    assert stored(endpoint) == {"run 0": 50, "run 1": 50}


def test_an_interrupt_of_a_measured_call_is_its_error(endpoint: Endpoint, kernel: Kernel) -> None:
    cell = kernel.start(
        "with session.interaction().measure_llm(model='m', input='measured') as call:\n"
        "    print('waiting', flush=True)\n    time.sleep(60)"  # until the interrupt
    )
    kernel._wait(cell, "stream")
    kernel.manager.interrupt_kernel()
    assert kernel.finish(cell) == ("", "KeyboardInterrupt")
    assert kernel.run("print(bool(client.flush()))") == "True"
    [event] = [e for request in endpoint.requests for e in request.events]
    assert event["observation"]["error"]["type"] == "KeyboardInterrupt"


def test_an_interrupt_of_a_flush_returns_at_once(endpoint: Endpoint, kernel: Kernel) -> None:
    """And neither it nor an ``aflush`` that nobody waits for any more holds up the kernel's end."""
    endpoint.behave = lambda request: Answer(hang=True)
    cell = kernel.start("record(10)\nprint('waiting', flush=True)\nclient.flush(None)")
    kernel._wait(cell, "stream")
    eventually(lambda: endpoint.requests)
    kernel.manager.interrupt_kernel()
    error = kernel.finish(cell)[1]
    assert error == "KeyboardInterrupt"
    given_up = "import asyncio\nawait asyncio.wait_for(client.aflush(None), 0.2)"
    assert kernel.finish(kernel.start(given_up))[1] == "TimeoutError"
    assert kernel.run("s = client.stats(); print(s.pending + s.spooled)") == "10"
    began = time.monotonic()
    kernel.end(now=False)
    assert time.monotonic() - began < 5  # Jupyter kills a kernel after five
    assert len(on_disk()) == 10
    endpoint.behave = receipt
    endpoint.release()
    assert deliver_the_rest(endpoint.url) == 10


@pytest.mark.parametrize("up", [True, False], ids=["endpoint-up", "endpoint-down"])
def test_a_restart_right_after_recording(endpoint: Endpoint, kernel: Kernel, up: bool) -> None:
    """Jupyter's restart: asked to end, at once; nothing is lost, and nobody had closed anything."""
    if not up:
        endpoint.behave = lambda request: Answer(503)
    kernel.run("record(50)")
    kernel.manager.restart_kernel(now=False)
    kernel.client.wait_for_ready(timeout=60)
    endpoint.behave = receipt
    kernel.run(MAKE.format(url=endpoint.url) + "record(1, 'next')\nclient.flush()")
    eventually(lambda: stored(endpoint) == {"hello": 50, "next": 1})


def test_a_kernel_that_is_killed_has_kept_what_was_not_sent(
    endpoint: Endpoint, kernels: list[Kernel]
) -> None:
    """Three kernels at once; one dies, and the others or the next deliver what it left."""
    kernels += [Kernel(endpoint.url) for _ in range(3)]
    endpoint.behave = lambda request: Answer(503)
    for number, kernel in enumerate(kernels):
        kernel.run(f"record(20, 'kernel {number}')")
    wait_until_on_disk(60)
    kernels.pop(0).end(now=True)
    endpoint.behave = receipt
    for kernel in kernels:
        kernel.run("client.flush()")
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"kernel 0": 20, "kernel 1": 20, "kernel 2": 20}
