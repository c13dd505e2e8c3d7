"""What a LangChain callback handler costs the application, beside others, in one run.

    python bench/langchain.py [--peers PATH-TO-PYTHON] [--rounds N]

Each handler is measured in a process of its own, several times in turn, by calling
``prompt | model | parser`` with and without it; the median of what it adds counts. On a machine
that is busy otherwise, go by the CPU time of the calling thread. The peers
(langfuse, LangSmith's tracer, OpenInference) send nothing anywhere: their exporters keep or discard
what they are given. They live in an environment of their own, made on first use beneath the
system's temporary directory, unless ``--peers`` names a Python that has them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "langchain", "langgraph", "langfuse", "langsmith", "openinference-instrumentation-langchain",
    "opentelemetry-sdk", "orjson", "urllib3",
)  # fmt: skip
OWN = "sessionbat"
EMPTY = "empty handler"
PEERS = ("langfuse", "langsmith", "openinference")
INVOKES = 400
TOKENS = 400


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peers", type=Path, help="a Python that has the peers installed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    python = options.peers or peers_python()
    figures: dict[str, list[dict[str, float]]] = {}
    for number in range(options.rounds):
        for name in (EMPTY, OWN, *PEERS):
            print(f"\rround {number + 1} of {options.rounds}: {name:20}", end="", file=sys.stderr)
            figures.setdefault(name, []).append(in_process(python, name))
    print("\r" + " " * 50 + "\r", end="", file=sys.stderr)
    show(figures)


def peers_python() -> Path:
    """Make the peers' environment, or find the one made earlier."""
    place = Path(tempfile.gettempdir()) / "sessionbat-bench-langchain"
    python = place / "bin" / "python"
    if not (place / "complete").exists():
        print("making the peers' environment; this takes minutes, once", file=sys.stderr)
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        (place / "complete").touch()
    return python


def in_process(python: Path, name: str) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "ignore"}
    for variable in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        environment.pop(variable, None)
    done = subprocess.run(
        [python, __file__, "--one", name],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(name: str) -> dict[str, float]:
    """Measure one handler in this process: microseconds that it adds."""
    from langchain_core.language_models import FakeListChatModel
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    handlers, flush = HANDLERS[name]()
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{input}")])
    chain: Any = prompt | FakeListChatModel(responses=["Hello, world!"]) | StrOutputParser()
    speaker = FakeListChatModel(responses=["x" * TOKENS])  # streams one character at a time
    without: dict[str, Any] = {}
    config = {"callbacks": handlers}
    asked = {"input": "I am locked out of my account"}

    def invoke(with_config: Any) -> None:
        chain.invoke(asked, with_config)

    async def ainvoke(with_config: Any) -> None:
        await chain.ainvoke(asked, with_config)

    async def astream(with_config: Any) -> None:
        async for _ in speaker.astream("hi", with_config):
            pass

    def stream(with_config: Any) -> None:
        for _ in speaker.stream("hi", with_config):
            pass

    loop = asyncio.new_event_loop()
    run = loop.run_until_complete
    added = {
        "invoke": difference(lambda: invoke(config), lambda: invoke(without), INVOKES),
        "caller": difference(
            lambda: invoke(config), lambda: invoke(without), INVOKES, time.thread_time_ns
        ),
        "ainvoke": difference(lambda: run(ainvoke(config)), lambda: run(ainvoke(without)), INVOKES),
        "token": difference(lambda: stream(config), lambda: stream(without), 30) / TOKENS,
        "atoken": difference(lambda: run(astream(config)), lambda: run(astream(without)), 30)
        / TOKENS,
    }
    flush()
    before = time.process_time()
    for _ in range(INVOKES):
        invoke(config)
    flush()
    with_cpu = time.process_time() - before
    before = time.process_time()
    for _ in range(INVOKES):
        invoke(without)
    added["cpu"] = (with_cpu - (time.process_time() - before)) / INVOKES * 1e6
    added["hops"] = thread_hops(lambda: run(astream(config)))
    return added


def difference(
    with_it: Callable[[], None],
    without: Callable[[], None],
    number: int,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> float:
    """Say by how many microseconds the median call is longer; the two are called in turn."""
    for _ in range(max(3, number // 10)):
        with_it()
        without()
    longer, shorter = [], []
    for _ in range(number):
        begun = clock()
        with_it()
        middle = clock()
        without()
        longer.append(middle - begun)
        shorter.append(clock() - middle)
    return (median(longer) - median(shorter)) / 1000


def thread_hops(run: Callable[[], None]) -> float:
    """Count how often asyncio sends work to another thread meanwhile."""
    hops = 0
    original = asyncio.BaseEventLoop.run_in_executor

    def count(self: Any, *args: Any) -> Any:
        nonlocal hops
        hops += 1
        return original(self, *args)

    asyncio.BaseEventLoop.run_in_executor = count  # type: ignore[assignment, method-assign]
    try:
        run()
    finally:
        asyncio.BaseEventLoop.run_in_executor = original  # type: ignore[method-assign]
    return float(hops)


Handlers = tuple[list[Any], Callable[[], object]]


def empty() -> Handlers:
    from langchain_core.callbacks import BaseCallbackHandler

    class Empty(BaseCallbackHandler):
        run_inline = True

        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None: ...

    return [Empty()], lambda: None


def sessionbat() -> Handlers:
    from sessionbat import SessionBat

    class Discards:
        def send(self, event: object) -> None: ...

        def flush(self, timeout: float | None = 30.0) -> None: ...

        def close(self, timeout: float | None = 30.0) -> None: ...

    client = SessionBat(app="bench", transport=Discards())
    return [client.langchain_callback()], client.flush


def tracer_provider() -> Any:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Discards(SpanExporter):
        def export(self, spans: Any) -> Any:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Discards()))
    return provider


def langfuse() -> Handlers:
    from langfuse import Langfuse
    from langfuse.langchain import CallbackHandler
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Discards(SpanExporter):
        def export(self, spans: Any) -> Any:
            return SpanExportResult.SUCCESS

    client = Langfuse(
        public_key="pk-lf-bench",
        secret_key="sk-lf-bench",
        host="http://127.0.0.1:9",
        span_exporter=Discards(),
    )
    return [CallbackHandler(public_key="pk-lf-bench")], client.flush


def langsmith() -> Handlers:
    from langchain_core.tracers import LangChainTracer
    from langsmith import Client

    class Session:
        """Takes the place of the HTTP session: every request succeeds at once."""

        def __getattr__(self, name: str) -> Any:
            return lambda *args, **kwargs: _Accepted()

    client = Client(
        api_url="http://127.0.0.1:9",
        api_key="bench",
        session=Session(),
        info={},  # type: ignore[arg-type]
    )
    return [LangChainTracer(project_name="bench", client=client)], client.flush


class _Accepted:
    status_code = 202
    text = "{}"
    content = b"{}"
    headers = MappingProxyType[str, str]({})
    ok = True

    def json(self) -> dict[str, Any]:
        return {}

    def raise_for_status(self) -> None: ...

    def close(self) -> None: ...


def openinference() -> Handlers:
    from openinference.instrumentation.langchain import LangChainInstrumentor

    provider = tracer_provider()
    instrumentor = LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    tracer = instrumentor._tracer
    # Instrumented once, it listens to every run; its handler is passed by hand instead, so that the
    # same process can also call the chain without it.
    instrumentor.uninstrument()
    return [tracer], provider.force_flush


HANDLERS: dict[str, Callable[[], Handlers]] = {
    EMPTY: empty,
    OWN: sessionbat,
    "langfuse": langfuse,
    "langsmith": langsmith,
    "openinference": openinference,
}
COLUMNS = {
    "invoke": "µs/invoke",
    "caller": "its CPU µs",
    "ainvoke": "µs/ainvoke",
    "cpu": "all CPU µs",
    "token": "µs/token",
    "atoken": "µs/token async",
    "hops": "hops/400 tokens",
}


def show(figures: dict[str, list[dict[str, float]]]) -> None:
    print("Added by one handler (median of the rounds), prompt | model | parser\n")
    print(f"{'':15}" + "".join(f"{title:>16}" for title in COLUMNS.values()))
    settled = {
        name: {column: median(one[column] for one in rounds) for column in COLUMNS}
        for name, rounds in figures.items()
    }
    for name, row in settled.items():
        print(f"{name:15}" + "".join(f"{row[column]:16.1f}" for column in COLUMNS))
    own = figures[OWN]
    best = min(PEERS, key=lambda name: settled[name]["invoke"])
    print()
    for title, other, column in (
        (f"{OWN} / best peer ({best}), invoke", best, "invoke"),
        (f"{OWN} / {best}, invoke, CPU of the caller", best, "caller"),
        (f"{OWN} / {best}, invoke, CPU of all threads", best, "cpu"),
        (f"{OWN} / {best}, ainvoke", best, "ainvoke"),
        (f"{OWN} / {EMPTY}, invoke", EMPTY, "invoke"),
        (f"{OWN} / {EMPTY}, invoke, CPU of the caller", EMPTY, "caller"),
        (f"{OWN} / {EMPTY}, ainvoke", EMPTY, "ainvoke"),
    ):
        ratios = [a[column] / b[column] for a, b in zip(own, figures[other], strict=True)]
        print(f"{title:48}{median(ratios):8.2f}")


if __name__ == "__main__":
    main()
