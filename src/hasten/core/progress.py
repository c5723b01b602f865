"""Progress of the Python API's long calls, shown where a person looks on: in a notebook or at a terminal."""

from __future__ import annotations

import html
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.errors import LiveError
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

ProgressCall = Callable[[str, float | None], None]
"""Told what is being done and the fraction done, 0 to 1; None where nobody knows."""

DELAY_S = 0.5
"""What is done sooner shows nothing."""
EVERY_S = 0.2
BLOCKS = 30
"""A bar of text is so long."""

_turn = threading.Lock()
"""Held by what shows its progress: what it calls shows none."""


@contextmanager
def shown(what: str) -> Iterator[ProgressCall]:
    """Show what is told within the block; nothing in another's block, in a worker, and where nobody looks on."""
    if not _turn.acquire(blocking=False):
        yield _unseen
        return
    try:
        place = _place()
        if place is None:
            yield _unseen
        else:
            with _drawn(place, what) as tell:
                yield tell
    finally:
        _turn.release()


@contextmanager
def alone() -> Iterator[None]:
    """Within the block only the caller shows progress, in its own way."""
    with _turn:
        yield


def terminal_bar(console: Console) -> Progress:
    """A line with text, bar and time, gone when all is done."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def compiling_first(what: str) -> str:
    """``what``, and why it takes longer where no compiled kernels are kept from an earlier run."""
    from hasten.core.compiled import cache_folder

    folder = cache_folder()
    kept = folder is not None and folder.is_dir()
    return what if kept else f"{what} (compiling the simulator first; that is kept for the next time)"


def _unseen(what: str, done: float | None) -> None:
    """Nobody looks on."""


Place = Callable[[], AbstractContextManager[ProgressCall]]


def _place() -> Place | None:
    """Where a person looks on; None: nowhere."""
    if multiprocessing.parent_process() is not None:
        return None
    if _in_notebook():
        return _notebook
    return _terminal if Console(stderr=True).is_terminal else None


def _in_notebook() -> bool:
    """Whether this is a Jupyter kernel, whatever draws its notebook; IPython at a terminal has none."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


@contextmanager
def _drawn(place: Place, what: str) -> Iterator[ProgressCall]:
    """Draw what was told last, again and again, on a thread: the work need not say anything for the clock to go on."""
    latest: list[tuple[str, float | None]] = [(what, None)]
    ended = threading.Event()

    def draw() -> None:
        if ended.wait(DELAY_S):
            return
        try:
            with place() as show:
                while not ended.wait(EVERY_S):
                    show(*latest[0])
                show(*latest[0])
        except LiveError:  # the program draws at this terminal itself
            return

    thread = threading.Thread(target=draw, name="hasten progress", daemon=True)
    thread.start()

    def tell(what: str, done: float | None) -> None:
        latest[0] = what, done

    try:
        yield tell
        latest[0] = latest[0][0], 1.0
    finally:
        ended.set()
        thread.join()


@contextmanager
def _terminal() -> Iterator[ProgressCall]:
    with terminal_bar(Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done: bar.update(
            task, description=what, total=None if done is None else 1.0, completed=done or 0.0
        )


@contextmanager
def _notebook() -> Iterator[ProgressCall]:
    """One output that is drawn anew and stays; without widgets, so that every kind of notebook shows and keeps it."""
    from IPython.display import display

    began_s = time.monotonic() - DELAY_S
    output = display(_picture("", None, DELAY_S), raw=True, display_id=True)  # type: ignore[no-untyped-call]
    yield lambda what, done: output.update(_picture(what, done, time.monotonic() - began_s), raw=True)


def _picture(what: str, done: float | None, spent_s: float) -> dict[str, str]:
    """The bar as a notebook shows it, by kind of text."""
    minutes, seconds = divmod(int(spent_s), 60)
    clock = f"{minutes}:{seconds:02d}"
    filled = 0 if done is None else round(BLOCKS * min(max(done, 0.0), 1.0))
    value = "" if done is None else f' value="{done:.3f}"'
    return {
        "text/plain": f"{what} {'█' * filled}{'░' * (BLOCKS - filled)} {clock}",
        "text/html": f"<progress{value}></progress> <code>{clock}</code> {html.escape(what)}",
    }
