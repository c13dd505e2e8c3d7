"""The recipes of the documentation, run as they stand there, against a real endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar
from urllib.request import urlopen

import pytest

from sessionbat import SessionBat
from sessionbat.testing import Answer, Endpoint, unused_port
from tests.conftest import eventually

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "recipes"
RECIPES = ROOT / "examples" / "recipes"

Event = dict[str, Any]


def stored(endpoint: Endpoint) -> list[Event]:
    """Every event that the endpoint took; fails when it took one twice."""
    assert len(endpoint.acknowledged) == len(set(endpoint.acknowledged))
    events = {event["id"]: event for request in endpoint.requests for event in request.events}
    return [events[event_id] for event_id in endpoint.acknowledged]


@pytest.fixture
def environment(endpoint: Endpoint, tmp_path: Path) -> dict[str, str]:
    """What a process of a recipe gets."""
    return {
        **os.environ,
        "SESSIONBAT_ENDPOINT": endpoint.url,
        "SESSIONBAT_SPOOL_DIR": str(tmp_path / "spool"),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(RECIPES)]),
    }


@pytest.fixture
def recipe(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a recipe that records to the endpoint; its client is closed afterwards."""
    monkeypatch.setenv("SESSIONBAT_ENDPOINT", endpoint.url)
    loaded: list[ModuleType] = []

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        loaded.append(module)
        return module

    yield load
    for module in loaded:
        module.client.close(timeout=0)


@contextlib.contextmanager
def running(*command: str, env: dict[str, str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process group for a block, and end it as a deployment does."""
    process = subprocess.Popen(command, env=env, cwd=cwd, start_new_session=True)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def get(url: str) -> bytes:
    with urlopen(url, timeout=10) as response:
        body: bytes = response.read()
    return body


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class TestPages:
    def test_every_program_stands_on_a_page_as_it_is_run(self) -> None:
        pages = [path.read_text() for path in PAGES.glob("*.md")]
        for path in RECIPES.rglob("*.py"):
            shown = f"```python\n{path.read_text().rstrip()}\n```\n"
            assert any(shown in page for page in pages), f"{path} is on no page as it is"

    def test_every_code_of_a_page_is_one_of_the_programs(self) -> None:
        programs = {path.read_text().rstrip() for path in RECIPES.rglob("*.py")}
        for page in PAGES.glob("*.md"):
            for code in re.findall(r"```python\n(.*?)\n```", page.read_text(), re.DOTALL):
                assert code in programs, f"{page} shows code that is not run"

    def test_every_link_leads_somewhere(self) -> None:
        for page in PAGES.glob("*.md"):
            for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
                assert (page.parent / target).exists(), f"{page}: {target}"

    def test_the_list_names_every_page(self) -> None:
        listed = set(re.findall(r"\]\(([^)]+)\)", (PAGES / "README.md").read_text()))
        assert listed == {path.name for path in PAGES.glob("*.md")} - {"README.md"}


class TestFastAPI:
    @pytest.fixture
    def service(self, recipe: Any) -> Iterator[tuple[str, ModuleType]]:
        pytest.importorskip("fastapi", reason="the recipe is about FastAPI, which is not installed")
        import uvicorn

        module = recipe("fastapi_streaming")
        port = unused_port()
        server = uvicorn.Server(uvicorn.Config(module.app, port=port, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        eventually(lambda: server.started)
        yield f"http://127.0.0.1:{port}", module
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()

    def post(self, url: str) -> Any:
        return urlopen(url, data=b"", timeout=10)

    def test_a_streamed_answer_is_one_observation(
        self, service: tuple[str, ModuleType], endpoint: Endpoint
    ) -> None:
        url, module = service
        with self.post(f"{url}/chat/thread_1?question=Locked+out") as response:
            assert response.read() == b"You asked: Locked out Use the reset link."
        assert module.client.flush(10)
        [event] = stored(endpoint)
        assert event["session_id"] == "thread_1"
        observation = event["observation"]
        assert observation["input"] == "Locked out"
        assert observation["output"] == "You asked: Locked out Use the reset link."
        assert observation["metrics"].keys() == {"time_to_first_token_ms", "latency_ms"}

    def test_a_user_who_leaves_is_recorded_with_what_had_come(
        self, service: tuple[str, ModuleType], endpoint: Endpoint
    ) -> None:
        url, module = service

        async def endless(question: str) -> Any:
            while True:
                yield "and "
                await asyncio.sleep(0.005)  # the pace of a model

        module.complete = endless
        with self.post(f"{url}/chat/thread_1?question=Go+on") as response:
            assert response.read(4) == b"and "
        [event] = eventually(lambda: module.client.flush(1) and stored(endpoint))
        observation = event["observation"]
        assert observation["metadata"]["status"] == "cancelled"
        assert observation["error"] is None
        assert set(observation["output"]) == {"and "}

    def test_the_shutdown_delivers(
        self, service: tuple[str, ModuleType], endpoint: Endpoint
    ) -> None:
        module = service[1]

        async def live() -> None:
            async with module.lifespan(module.app):
                module.client.session().interaction().llm(model="m")

        asyncio.run(live())
        assert len(stored(endpoint)) == 1


class TestLambda:
    class Context:
        """What Lambda tells of the time that is left."""

        def __init__(self, seconds: float) -> None:
            self._end = time.monotonic() + seconds

        def get_remaining_time_in_millis(self) -> int:
            return int((self._end - time.monotonic()) * 1000)

    CALL: ClassVar = {"thread_id": "thread_1", "question": "Locked out"}

    def test_everything_has_arrived_when_the_handler_returns(
        self, recipe: Any, endpoint: Endpoint
    ) -> None:
        module = recipe("lambda_handler")
        for number in range(1, 4):
            assert module.handler(self.CALL, self.Context(30)) == {"text": "Use the reset link."}
            assert len(endpoint.acknowledged) == number

    def test_an_endpoint_that_hangs_costs_no_more_than_the_time_left(
        self, recipe: Any, endpoint: Endpoint
    ) -> None:
        module = recipe("lambda_handler")
        endpoint.behave = lambda request: Answer(hang=True)
        context = self.Context(1.0)
        assert module.handler(self.CALL, context)
        assert 0 < context.get_remaining_time_in_millis() < 700

    def test_a_call_that_fails_is_delivered_too(self, recipe: Any, endpoint: Endpoint) -> None:
        module = recipe("lambda_handler")

        def fail(interaction: Any, question: str) -> str:
            interaction.llm(model="m", error=ValueError("no answer"))
            raise ValueError("no answer")

        module.answer = fail
        with pytest.raises(ValueError, match="no answer"):
            module.handler(self.CALL, self.Context(30))
        assert len(endpoint.acknowledged) == 1


class TestNotebook:
    def test_cells_run_again_and_again_inside_a_running_loop(
        self,
        endpoint: Endpoint,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("SESSIONBAT_ENDPOINT", endpoint.url)
        first, *others = (RECIPES / "notebook.py").read_text().split("# %%\n")[1:]
        names: dict[str, Any] = {}
        made: list[SessionBat] = []
        before = set(threading.enumerate())

        async def kernel() -> None:
            for cell in (first, first, *others, first, *others):
                exec(cell, names)
                made.append(names["client"])

        asyncio.run(kernel())
        assert capsys.readouterr().out.count("delivered=2") == 4
        events = stored(endpoint)
        assert Counter(event["session_id"] for event in events) == {"prompt-v2": 4}
        assert events[0]["observation"]["output"] == "I AM LOCKED OUT"
        new = [t.name for t in set(threading.enumerate()) - before]
        assert new.count("sessionbat-worker") == 1
        for client in made:
            client.close(timeout=0)


class TestThreadPool:
    def test_every_thread_records_into_the_turn_it_works_for(
        self, recipe: Any, endpoint: Endpoint
    ) -> None:
        module = recipe("thread_pool")
        topics = {name: [f"{name}-{n}" for n in range(20)] for name in ("a", "b", "c")}
        turns = [
            threading.Thread(target=module.handle, args=(f"thread_{name}", topics[name]))
            for name in topics
        ]
        for turn in turns:
            turn.start()
        for turn in turns:
            turn.join()
        assert module.client.flush(10)
        found = {(e["session_id"], e["observation"]["input"]["query"]) for e in stored(endpoint)}
        assert found == {(f"thread_{n}", topic) for n in topics for topic in topics[n]}
        assert len({event["interaction_id"] for event in stored(endpoint)}) == 3
        assert module.client.stats().dropped == {}


@pytest.mark.slow
class TestMultiprocessing:
    @pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
    def test_every_worker_delivers(
        self, environment: dict[str, str], endpoint: Endpoint, tmp_path: Path, method: str
    ) -> None:
        done = subprocess.run(
            [sys.executable, str(RECIPES / "multiprocessing_pool.py"), method],
            env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=True,
        )  # fmt: skip
        assert len(done.stdout.splitlines()) == 20
        # On a busy machine a worker's end may leave its last events to the next process.
        subprocess.run(
            [sys.executable, "-m", "sessionbat", "spool", "send"],
            env=environment, timeout=30, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        sessions = Counter(event["session_id"] for event in stored(endpoint))
        assert sessions == {f"thread_{n}": 1 for n in range(20)}


@pytest.mark.slow
class TestPytestSuite:
    def test_the_suite_passes(self, environment: dict[str, str], tmp_path: Path) -> None:
        suite = RECIPES / "pytest_suite"
        settings = tmp_path / "pytest.ini"  # not those of this project
        settings.write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite)]
        done = subprocess.run(
            [*command, f"--rootdir={suite}", "-c", str(settings)],
            env={**environment, "PYTHONDONTWRITEBYTECODE": "1"}, cwd=tmp_path,
            capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
        assert "2 passed" in done.stdout, done.stdout


@pytest.mark.slow
class TestGunicorn:
    def test_workers_and_master_deliver_what_is_theirs(
        self, environment: dict[str, str], endpoint: Endpoint, tmp_path: Path
    ) -> None:
        pytest.importorskip("gunicorn", reason="the recipe is about gunicorn, not installed")
        port = unused_port()
        with running(
            sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--log-level", "error",
            "--bind", f"127.0.0.1:{port}", "--worker-tmp-dir", str(tmp_path),
            "--no-control-socket", "gunicorn_preload:app",
            env=environment, cwd=tmp_path,
        ):  # fmt: skip
            eventually(lambda: answers(port), 20)
            for number in range(40):
                assert get(f"http://127.0.0.1:{port}/thread_{number}") == b"Use the reset link."
        # On a busy machine a worker's end may leave its last events to the next process.
        subprocess.run(
            [sys.executable, "-m", "sessionbat", "spool", "send"],
            env=environment, timeout=30, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        sessions = Counter(event["session_id"] for event in stored(endpoint))
        assert sessions == {"start": 1, **{f"thread_{n}": 1 for n in range(40)}}


class TestCelery:
    @pytest.mark.slow
    def test_a_child_delivers_before_it_ends(self, recipe: Any, endpoint: Endpoint) -> None:
        signals = pytest.importorskip("celery.signals", reason="Celery is not installed")
        module = recipe("celery_prefork")
        module.summarize("thread_1", "text")
        signals.worker_process_shutdown.send(sender=None, pid=1, exitcode=0)
        assert [event["session_id"] for event in stored(endpoint)] == ["thread_1"]

    @pytest.mark.slow
    def test_forked_children_deliver_every_task(
        self, environment: dict[str, str], endpoint: Endpoint, tmp_path: Path
    ) -> None:
        pytest.importorskip("celery", reason="the recipe is about Celery, which is not installed")
        (tmp_path / "messages").mkdir()
        (tmp_path / "jobs.py").write_text(
            "import sys\n"
            "from celery_prefork import client, queue, summarize\n"
            "queue.conf.update(broker_url='filesystem://', broker_transport_options={\n"
            "    'data_folder_in': 'messages', 'data_folder_out': 'messages',\n"
            "    'control_folder': 'control', 'polling_interval': 0.05})\n"
            "if 'worker' in sys.argv:  # the parent, before it forks\n"
            "    client.session(session_id='parent').interaction().llm()\n"
        )
        send = "import jobs; [jobs.summarize.delay(f'thread_{n}', 'text') for n in range(30)]"
        environment["PYTHONPATH"] += os.pathsep + str(tmp_path)
        subprocess.run(
            [sys.executable, "-c", send], env=environment, cwd=tmp_path, timeout=50, check=True
        )
        with running(
            sys.executable, "-m", "celery", "-A", "jobs.queue", "worker", "--concurrency", "2",
            "--pool", "prefork", "--without-gossip", "--without-mingle", "--without-heartbeat",
            "--loglevel", "error",
            env=environment, cwd=tmp_path,
        ):  # fmt: skip
            eventually(lambda: not list((tmp_path / "messages").iterdir()), 40)
        sessions = Counter(event["session_id"] for event in stored(endpoint))
        assert sessions == {"parent": 1, **{f"thread_{n}": 1 for n in range(30)}}
