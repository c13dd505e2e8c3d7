"""A host with unusual settings: warnings as errors, no stderr, limits, log handlers of its own.

Each program runs to its end with an endpoint that answers or fails; nothing is raised, nothing
hangs, the counts add up, and the next process delivers what is left.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from sessionbat.testing import Answer, Endpoint, receipt
from tests.faults.host import deliver_the_rest, on_disk, run, stored

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]  # processes of their own

ERRORS = "import warnings\nwarnings.simplefilter('error')\n"

#: What the host does before it records 50 events; and before that, before it imports sessionbat.
HOSTS = {
    "warnings-are-errors": (ERRORS, ERRORS),
    "default-socket-timeout": ("import socket\nsocket.setdefaulttimeout(0.001)", ""),
    "no-stderr": ("sys.stderr = None", ""),
    "closed-stderr": ("os.close(2)", ""),
    "closed-stderr-object": ("sys.stderr.close()", ""),
    "no-streams": ("sys.stdin = sys.stderr = sys.__stderr__ = None", ""),
    "ascii-stderr": ("sys.stderr.reconfigure(encoding='ascii', errors='strict')", ""),
    "log-errors-raise": (
        "import logging\nlogging.raiseExceptions = True\nlogging.basicConfig(format='%(nothing)s')"
        "\nsys.stderr = None",
        "",
    ),
    "logging-disabled": ("import logging\nlogging.disable(logging.CRITICAL)", ""),
    "profiled-and-traced": (
        "def trace(*_): return trace\n"
        "sys.settrace(trace); threading.settrace(trace)\n"
        "sys.setprofile(trace); threading.setprofile(trace)",
        "",
    ),
    "faulthandler": ("import faulthandler\nfaulthandler.enable()", ""),
    "own-excepthooks": (
        "def fail(*_): say('hook'); os._exit(9)\nsys.excepthook = threading.excepthook = fail",
        "",
    ),
    "no-collector": ("import gc\ngc.disable()", ""),
    "frozen-collector": ("import gc\ngc.freeze()", ""),
    "low-recursion-limit": ("sys.setrecursionlimit(60)", ""),
    "tiny-switch-interval": ("sys.setswitchinterval(1e-6)", ""),
    "big-thread-stacks": ("threading.stack_size(64 * 1024 * 1024)", ""),
    "small-thread-stacks": ("threading.stack_size(64 * 1024)", ""),
    "elsewhere": ("os.chdir('/')", ""),
    "signals-blocked": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
        "",
    ),
}


@pytest.mark.parametrize("up", [True, False], ids=["endpoint-up", "endpoint-down"])
@pytest.mark.parametrize("host", HOSTS)
def test_a_host_with_settings_of_its_own(endpoint: Endpoint, host: str, up: bool) -> None:
    """Recorded, delivered or kept, and said nothing that a host would see as its own trouble."""
    if not up:
        endpoint.behave = lambda request: Answer(503)
    setting, first = HOSTS[host]
    done = run(
        f"{setting}\nrecord(50)\nclient.flush({10 if up else 0.5})\ncounts()\nsay('done')",
        endpoint.url,
        first=first,
    )
    assert (done.returncode, done.stdout) == (0, "done"), done.stderr
    assert "Traceback" not in done.stderr
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 50}
    assert on_disk() == []


HANDLERS = {
    "raises": "raise ValueError('a bug of the host')",
    "raises-oserror": "raise OSError('the log is full')",
    "records": "interaction.llm(model='log', input='logged', observation_id='')",
    "records-and-flushes": "interaction.llm(model='log', input='logged'); client.flush(0.1)",
    "waits": "time.sleep(0.2)",  # what the handler does
}


@pytest.mark.parametrize("durability", ["memory", "sync"])
@pytest.mark.parametrize("handler", HANDLERS)
def test_a_log_handler_of_the_hosts(endpoint: Endpoint, handler: str, durability: str) -> None:
    """It may raise, record or wait: neither the host nor delivery is troubled by it."""
    endpoint.behave = lambda request: Answer(503)
    done = run(
        f"""
        import logging
        class Handler(logging.Handler):
            def emit(self, entry):
                {HANDLERS[handler]}
        logging.getLogger().addHandler(Handler())
        class Filter(logging.Filter):
            def filter(self, entry):
                return True
        logging.getLogger("sessionbat").addFilter(Filter())
        threads = [threading.Thread(target=record, args=(20,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        interaction.llm(model="m", input="hello", observation_id="")  # which is mended, and said
        client.flush(0.3)
        for thread in threads:
            thread.join()
        counts()
        say("done")
        """,
        endpoint.url,
        options=f"durability={durability!r}",
    )
    assert (done.returncode, done.stdout) == (0, "done"), done.stderr
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint)["hello"] == 61
    assert on_disk() == []


def test_no_descriptor_is_left(endpoint: Endpoint) -> None:
    """EMFILE: nothing can be sent or kept on disk; kept in memory, delivered once it can be."""
    done = run(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        record(50)
        client.flush(0.5)
        say(counts().pending)
        for descriptor in taken:
            os.close(descriptor)
        client.flush(10)
        say(counts().delivered)
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["50", "50"]), done.stderr


@pytest.mark.parametrize("action", ["SIG_IGN", "SIG_DFL"])
def test_files_may_not_grow(endpoint: Endpoint, action: str) -> None:
    """RLIMIT_FSIZE: one warning, kept in memory; no SIGXFSZ ends the host by our writing."""
    endpoint.behave = lambda request: Answer(503)
    done = run(
        f"""
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        signal.signal(signal.SIGXFSZ, signal.{action})
        record(50)
        client.flush(0.5)
        say(counts().pending)
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stdout) == (0, "50"), done.stderr
    assert "[spool-off]" in done.stderr
    assert "dropped 50 events" in done.stderr


@pytest.mark.parametrize("umask", ["0o777", "0o277", "0o077", "0o000"])
def test_any_umask(endpoint: Endpoint, umask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spool is its user's alone, and the next process can read it."""
    deep = f"{os.environ['SESSIONBAT_SPOOL_DIR']}/not/there/yet"
    monkeypatch.setenv("SESSIONBAT_SPOOL_DIR", deep)
    endpoint.behave = lambda request: Answer(503)
    done = run(
        f"""
        os.umask({umask})
        record(5)
        client.flush(0.5)
        for place, _, names in os.walk(os.environ["SESSIONBAT_SPOOL_DIR"]):
            say(oct(os.stat(place).st_mode & 0o700), [os.stat(place + "/" + n).st_mode & 0o777
                for n in names if n.endswith(".segment")])
        """,
        endpoint.url,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["0o700 []", f"0o700 [{0o600}]"]
    endpoint.behave = receipt
    assert deliver_the_rest(endpoint.url) == 5


@pytest.mark.parametrize("spool", ["relative", "./deep/er", "../beside"])
def test_the_host_changes_its_directory_and_deletes_it(
    endpoint: Endpoint, spool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative spool directory is the one of the client's construction."""
    base = f"{os.environ['SESSIONBAT_SPOOL_DIR']}/home"
    endpoint.behave = lambda request: Answer(503)
    done = run(
        f"""
        os.chdir("/")
        record(5)
        client.flush(0.5)
        gone = {base!r} + "/gone"
        os.mkdir(gone)
        os.chdir(gone)
        os.rmdir(gone)
        record(5)
        client.flush(0.3)
        counts()
        """,
        endpoint.url,
        before=f"os.makedirs({base!r})\nos.chdir({base!r})\n"
        f"os.environ['SESSIONBAT_SPOOL_DIR'] = {spool!r}",
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    monkeypatch.setenv("SESSIONBAT_SPOOL_DIR", os.path.normpath(f"{base}/{spool}"))
    endpoint.behave = receipt
    assert deliver_the_rest(endpoint.url) == 10


@pytest.mark.parametrize("up", [True, False], ids=["endpoint-up", "endpoint-down"])
def test_every_descriptor_is_closed_under_us(endpoint: Endpoint, up: bool) -> None:
    """As a daemon does: the host's next files get our numbers, and nothing is written to them."""
    if not up:
        endpoint.behave = lambda request: Answer(503)
    done = run(
        """
        record(3)
        client.flush(1)
        until(lambda: client.stats().spooled, seconds=1)
        os.closerange(3, 256)
        files = [open(f"{os.environ['SESSIONBAT_SPOOL_DIR']}/host{n}", "w+b") for n in range(8)]
        for file in files:
            file.write(b"host")
            file.flush()
        record(5)
        time.sleep(0.4)  # longer than the spool's delay
        client.flush(1)
        record(5)
        client.flush(1)
        counts()
        say({os.fstat(file.fileno()).st_size for file in files})
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stdout) == (0, "{4}"), done.stderr
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 13}


DAEMON = """
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.chdir("/")
os.umask(0)
os.closerange(3, 256)
record(5, "daemon")
client.flush(5)
say(counts().delivered, counts().spooled)
"""


@pytest.mark.parametrize("up", [True, False], ids=["endpoint-up", "endpoint-down"])
def test_a_daemon_that_forks_twice(endpoint: Endpoint, up: bool) -> None:
    """Made and recorded before it becomes a daemon; each process delivers its own."""
    if not up:
        endpoint.behave = lambda request: Answer(503)
    code = f"record(5)\nclient.flush(0.5)\n{DAEMON}"
    done = run(code if up else code.replace("flush(5)", "flush(0.5)"), endpoint.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("5 0" if up else "0 5")
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 5, "daemon": 5}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can")
@pytest.mark.parametrize("recorded_before", [True, False])
def test_privileges_are_dropped(endpoint: Endpoint, recorded_before: bool) -> None:
    """``setuid`` after the client was made: no new file in root's spool, nothing raised."""
    endpoint.behave = lambda request: Answer(503)
    done = run(
        f"""
        if {recorded_before}:
            record(5)
            client.flush(0.5)
        os.setgid(65534)
        os.setuid(65534)
        record(5)
        client.flush(0.5)
        say(counts().pending + counts().spooled)
        """,
        endpoint.url,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ("10" if recorded_before else "5")
    lost = "dropped" in done.stderr
    endpoint.behave = receipt
    assert deliver_the_rest(endpoint.url) + (0 if not lost else 5) >= 5


def test_a_host_that_seeds_its_random_numbers_draws_alone(endpoint: Endpoint) -> None:
    """Neither ids nor waits between tries take from the shared generator."""
    endpoint.behave = lambda request: Answer(503)
    done = run(
        """
        import random
        random.seed(1)
        alone = [random.random() for _ in range(5)]
        random.seed(1)
        beside = []
        for _ in range(5):
            record(3)
            client.flush(0.3)
            beside.append(random.random())
        say(alone == beside)
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stdout) == (0, "True"), done.stderr


@pytest.fixture
def hanging_up() -> Iterator[str]:
    """An endpoint that ends the connection in the middle of what it is sent."""
    listener = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1000)
                connection.shutdown(socket.SHUT_WR)

    threading.Thread(target=hang_up, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_a_host_that_dies_of_sigpipe_does_not_die_of_ours(hanging_up: str) -> None:
    """``signal.signal(SIGPIPE, SIG_DFL)``, as command line tools have it."""
    done = run(
        """
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        record(4, "x" * 900_000)
        client.flush(1)
        from sessionbat._delivery import threads
        masked = []
        def write_to_nobody():
            one, other = __import__("socket").socketpair()
            other.close()
            try:
                one.send(b"x")
            except BrokenPipeError:
                masked.append(True)
        threads.start_thread("worker", write_to_nobody).join()
        say(masked, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        """,
        hanging_up,
    )
    assert (done.returncode, done.stdout) == (0, "[True] set()"), done


def test_nothing_is_left_for_the_collector(endpoint: Endpoint) -> None:
    """A host with ``gc.disable()`` does not grow by recording: no cycles."""
    done = run(
        "import gc\nrecord(100)\ngc.collect()\ngc.disable()\nrecord(3000)\n"
        "client.flush(10)\nsay(gc.collect() < 100)",
        endpoint.url,
    )
    assert (done.returncode, done.stdout) == (0, "True"), done.stderr
