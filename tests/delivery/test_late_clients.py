"""The first client of a process, made when the process is ending: nothing is lost in silence."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from sessionbat.testing import Answer, Endpoint, receipt
from tests.faults.host import deliver_the_rest, on_disk, stored

pytestmark = [pytest.mark.timeout(90), pytest.mark.slow]  # processes of their own

LAST = """
import sys
def last():
    from sessionbat import SessionBat
    client = SessionBat(app="test-app", endpoint=sys.argv[1])
    client.session(session_id="s").interaction().llm(model="m", input="late")
"""

LATE = {
    "atexit": "import atexit; atexit.register(last)",
    "atexit, threads loaded": "import atexit, threading; atexit.register(last)",
    "atexit, package loaded": "import atexit, sessionbat; atexit.register(last)",
    "atexit, in a module": """
        import atexit, types
        def run():
            exec("import sessionbat; last()", {"last": last, "__name__": "plugin"})
        atexit.register(run)
        """,
    "atexit, after the end of another client": """
        import atexit
        atexit.register(last)
        from sessionbat import SessionBat
        SessionBat(app="other", endpoint="http://127.0.0.1:9").close()
        """,
    "weakref.finalize": """
        import weakref
        class Watched: pass
        watched = Watched()
        weakref.finalize(watched, last)
        """,
    "threading's exit": "import threading; threading._register_atexit(last)",
    "a thread after main": """
        import threading
        def outlast():
            threading.main_thread().join()
            last()
        threading.Thread(target=outlast).start()
        """,
    "finalizer of multiprocessing": """
        from multiprocessing import util
        util.Finalize(None, last, exitpriority=1)
        """,
    "late finalizer of multiprocessing": """
        from multiprocessing import util
        util.Finalize(None, last, exitpriority=-5000)
        """,
    "finalizer of a child": """
        import multiprocessing
        def work():
            from multiprocessing import util
            util.Finalize(None, last, exitpriority=1)
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start(); child.join()
        """,
    "late finalizer of a child": """
        import multiprocessing
        def work():
            from multiprocessing import util
            util.Finalize(None, last, exitpriority=-5000)
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start(); child.join()
        """,
    "threading's exit in a child": """
        import multiprocessing
        def work():
            import threading
            threading._register_atexit(last)
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start(); child.join()
        """,
    # Python imports nothing any more by then, so the client cannot be made as late as its event.
    "__del__": """
        from sessionbat import SessionBat
        client = SessionBat(app="test-app", endpoint=sys.argv[1])
        class Late:
            def __del__(self):
                client.session(session_id="s").interaction().llm(model="m", input="late")
        late = Late()
        """,
}


@pytest.mark.parametrize("hang", [False, True], ids=["up", "hanging"])
@pytest.mark.parametrize("moment", LATE)
def test_the_first_event_of_a_process_that_is_ending_is_delivered_or_on_disk(
    endpoint: Endpoint, moment: str, hang: bool
) -> None:
    if hang:
        endpoint.behave = lambda request: Answer(hang=True)
    done = subprocess.run(
        [sys.executable, "-c", LAST + textwrap.dedent(LATE[moment]), endpoint.url],
        env=os.environ, capture_output=True, text=True, timeout=40, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len({*on_disk(), *endpoint.acknowledged}) == 1
    endpoint.behave = receipt
    endpoint.release()
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"late": 1}


def test_an_import_at_a_normal_time_is_not_taken_for_the_end(endpoint: Endpoint) -> None:
    """Also in a program that has not loaded ``threading``: no event costs a write to disk."""
    code = """
        def main():
            last()
            from sessionbat._delivery import worker
            [found] = worker._workers.values()
            print(found._writes_through)
        main()
        """
    done = subprocess.run(
        [sys.executable, "-c", LAST + textwrap.dedent(code), endpoint.url],
        capture_output=True, text=True, timeout=40, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("False\n", "")
