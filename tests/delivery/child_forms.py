"""Programs with children of every form: ``python child_forms.py FORM METHOD``.

Prints how many events all of its processes have recorded. Nothing here flushes or closes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import child_work

CHILDREN = 3
TASKS = 8


class Subclass(multiprocessing.Process):
    def run(self) -> None:
        child_work.work(0)


def started_and_joined(children: list[Any], status: int = 0) -> int:
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert {child.exitcode for child in children} == {status}, children
    return len(children) * 3


def processes(context: Any, target: Callable[[int], object] = child_work.work, **how: Any) -> int:
    status = how.pop("status", 0)
    children = [context.Process(target=target, args=(n,), **how) for n in range(CHILDREN)]
    return started_and_joined(children, status)


def executor(context: Any, **how: Any) -> int:
    with ProcessPoolExecutor(2, mp_context=context, **how) as workers:
        return len(list(workers.map(child_work.work, range(TASKS)))) * 3


def pool(context: Any, **how: Any) -> int:
    workers = context.Pool(2, **how)
    done = workers.map(child_work.work, range(TASKS), chunksize=1)
    workers.close()
    workers.join()
    return len(done) * 3


def terminated_pool(context: Any) -> int:
    """Leaving the block kills the workers."""
    with context.Pool(2) as workers:
        done = workers.map(child_work.work_early, range(2), chunksize=1)
        done += workers.map(child_work.work_to_the_end, range(TASKS), chunksize=1)
    return len(done)


def terminated_processes(context: Any) -> int:
    told = context.SimpleQueue()
    children = [context.Process(target=hang, args=(told,)) for _ in range(CHILDREN)]
    for child in children:
        child.start()
    for _ in children:
        told.get()
    for child in children:
        child.terminate()
        child.join()
    return CHILDREN


def hang(told: Any) -> None:
    child_work.work_early(0)
    told.put("recorded")
    multiprocessing.Event().wait(60)


def loky(context: Any) -> int:
    from joblib import Parallel, delayed

    return len(Parallel(n_jobs=2)(delayed(child_work.work)(n) for n in range(TASKS))) * 3


def forked(context: Any) -> int:
    """Children of ``os.fork`` that leave at once, without a word to anybody."""
    for number in range(CHILDREN):
        pid = os.fork()
        if pid == 0:
            child_work.work_early(number)
            child_work.work_to_the_end(number)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    return CHILDREN * 2


def nested(context: Any) -> int:
    """A child with children of its own."""
    return started_and_joined([context.Process(target=have_children) for _ in range(2)]) * 4


def have_children() -> None:
    child_work.work(0)
    processes(multiprocessing.get_context("fork"))


def while_sending(context: Any) -> int:
    """Fork again and again, while the parent's worker has something to send."""
    count = 0
    for _ in range(10):
        child_work.work(0)
        count += 3 + processes(context)
    return count


def billiard_pool(context: Any) -> int:
    """Kills a worker as soon as it says that it has done its share."""
    from billiard.pool import Pool

    workers = Pool(2, maxtasksperchild=2)
    done = workers.map(child_work.work, range(TASKS), chunksize=1)
    workers.close()
    workers.join()
    return len(done) * 3


def billiard_processes(context: Any) -> int:
    from billiard import Process

    return started_and_joined([Process(target=child_work.work, args=(n,)) for n in range(CHILDREN)])


FORMS: dict[str, Callable[[Any], int]] = {
    "process": processes,
    "executor": executor,
    "pool": pool,
    "terminated-pool": terminated_pool,
    "terminated-processes": terminated_processes,
    "loky": loky,
    "forked": forked,
    "failing": lambda context: processes(context, child_work.fail, status=1),
    "leaving": lambda context: processes(context, child_work.leave, status=3),
    "nested": nested,
    "daemon": lambda context: processes(context, daemon=True),
    "subclass": lambda _: started_and_joined([Subclass() for _ in range(CHILDREN)]),
    "outlasting-thread": lambda context: processes(context, child_work.end_in_a_thread),
    "thread-pool": lambda context: processes(context, child_work.first_in_a_thread),
    "finalizers": lambda context: processes(context, child_work.record_in_finalizers),
    "recycled-pool": lambda context: pool(context, maxtasksperchild=2),
    "while-sending": while_sending,
    "billiard-pool": billiard_pool,
    "billiard-process": billiard_processes,
}


if __name__ == "__main__":
    form, method = sys.argv[1:]
    multiprocessing.set_start_method(method)
    print(FORMS[form](multiprocessing.get_context(method)))
