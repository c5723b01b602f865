"""Doing jobs on all local cores, or on a Ray cluster. Results come as they are finished.

Ctrl-C or SIGTERM ends everything, and so does the end of the process that waits for the results, however it comes.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from hasten.core import signals
from hasten.core.errors import HastenError
from hasten.study.work import Job, Plain

ProgressCall = Callable[[str, float], None]
"""Told what is being done and the fraction done, 0 to 1."""
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
"""Processes use all cores; on networks and batches this small, threads within them only cost."""
UNSAID = "ignore::UserWarning:multiprocessing.resource_tracker"
"""Where this process is ended at once, Python's own helper frees its semaphores; that is nothing to warn of."""


def finished(jobs: Sequence[Job], ray_address: str | None = None) -> Iterator[Plain]:
    """Do all jobs and yield their results in the order in which they finish."""
    longest_first = sorted(jobs, key=lambda job: -job.cost_s)
    if ray_address is not None:
        return _on_ray(longest_first, ray_address)
    workers = min(_cores(), len(jobs))
    return (job.run() for job in longest_first) if workers < 2 else _in_processes(longest_first, workers)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_processes(jobs: Sequence[Job], workers: int) -> Iterator[Plain]:
    others = set(multiprocessing.active_children())
    os.environ.update(ONE_THREAD)  # inherited, and read when a library is loaded
    others_said = os.environ.get("PYTHONWARNINGS", "")
    if UNSAID not in others_said:
        os.environ["PYTHONWARNINGS"] = f"{others_said},{UNSAID}".lstrip(",")
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_live_and_die_with_the_parent)
    complete = False
    try:
        with signals.held():  # inherited too: Ctrl-C and SIGTERM are for this process, which ends the others
            futures = [pool.submit(_run, job) for job in jobs]
        for future in as_completed(futures):
            yield _value(future.result())
        complete = True
    except BrokenProcessPool:
        raise HastenError("a process that worked on the study was killed, perhaps for want of memory") from None
    finally:
        for child in set(multiprocessing.active_children()) - others:
            if not complete:
                child.kill()  # what it has begun is not wanted any more
        pool.shutdown(cancel_futures=True)


def _on_ray(jobs: Sequence[Job], address: str) -> Iterator[Plain]:
    try:
        import ray
    except ImportError:
        raise HastenError("--ray needs Ray: pip install 'hasten[ray]'") from None
    try:
        ray.init(
            address=address, runtime_env={"env_vars": ONE_THREAD}, log_to_driver=False, logging_level=logging.ERROR
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise HastenError(f"--ray {address}: {error}") from None
    waiting = []
    try:
        remote = ray.remote(num_cpus=1, max_retries=2)(_run)
        waiting = [remote.remote(job) for job in jobs]
        while waiting:
            done, waiting = ray.wait(waiting)
            yield _value(ray.get(done[0]))
    finally:
        for job in waiting:
            ray.cancel(job, force=True)
        ray.shutdown()


def _run(job: Job) -> Plain | str:
    """A job's results, or what was wrong with it: not every error survives the way between processes."""
    try:
        return job.run()
    except HastenError as error:
        return str(error)


def _value(outcome: Plain | str) -> Plain:
    if isinstance(outcome, str):
        raise HastenError(outcome)
    return outcome


def _live_and_die_with_the_parent() -> None:
    """Do not go on working for a parent that was killed."""
    threading.Thread(target=_die_with_the_parent, daemon=True).start()


def _die_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
