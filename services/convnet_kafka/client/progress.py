"""How far a job is, and showing it: a live line on a terminal, a plain one now and then in a log, always on stderr."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

_TERMINAL_EVERY_S = 0.2
_LOG_EVERY_S = 10.0
# Longer than any start of a classifier.
_QUIET_S = 30.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job stands.

    Attributes:
        found: images found so far, the unreadable ones included.
        found_all: there are no more.
        accepted: images that Kafka holds.
        labelled: images that have a label.
        failed: images that will have none.
        seconds: since it began.
    """

    found: int
    found_all: bool
    accepted: int
    labelled: int
    failed: int
    seconds: float

    @property
    def rate(self) -> float:
        """Images with an outcome a second, since the beginning."""
        return (self.labelled + self.failed) / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        return f"{self.accepted:,} uploaded, {self.labelled:,} labelled, {self.failed:,} failed, {self.rate:,.0f} images/s"


class Watch:
    """Notices that labels have stopped coming, once each time."""

    def __init__(self) -> None:
        self._done = -1
        self._since = 0.0
        self._told = False

    def hint(self, now: Progress) -> str | None:
        """A sentence when accepted images wait and none has had its label for a while."""
        done = now.labelled + now.failed
        if done != self._done:
            self._done, self._since, self._told = done, now.seconds, False
        if self._told or now.accepted <= now.labelled or now.seconds - self._since < _QUIET_S:
            return None
        self._told = True
        return (
            f"no label for {_QUIET_S:.0f} s: are classifiers running, and is there a model? The images are safe in Kafka; "
            "Ctrl-C leaves them there and says how to go on"
        )


@asynccontextmanager
async def shown(progress: Callable[[], Progress], console: Console, count: Callable[[], int | None]) -> AsyncIterator[None]:
    """Show progress while the block runs.

    Args:
        progress: where it stands now.
        console: stderr.
        count: how many images there are altogether, None when nobody knows; may take its time, runs in a thread.
    """
    task = asyncio.create_task(_on_terminal(progress, console, count) if console.is_terminal else _in_log(progress, console))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _in_log(progress: Callable[[], Progress], console: Console) -> None:
    watch = Watch()
    while True:
        await asyncio.sleep(_LOG_EVERY_S)
        now = progress()
        console.print(str(now), soft_wrap=True)
        if hint := watch.hint(now):
            console.print(hint, soft_wrap=True)


async def _on_terminal(progress: Callable[[], Progress], console: Console, count: Callable[[], int | None]) -> None:
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(True))
    total: int | None = None
    counting = asyncio.create_task(asyncio.to_thread(count))
    watch = Watch()
    with Bars(*columns, console=console, transient=True) as bars:
        bar = bars.add_task("", total=None)
        while True:
            now = progress()
            if total is None and counting.done() and counting.exception() is None:
                total = counting.result()
            whole = now.found if now.found_all else total
            bars.update(bar, total=whole, completed=now.labelled + now.failed, description=str(now))
            if hint := watch.hint(now):
                bars.console.print(hint)
            await asyncio.sleep(_TERMINAL_EVERY_S)
