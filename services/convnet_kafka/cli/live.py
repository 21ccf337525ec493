"""Shows how far a job is, on stderr: two live lines on a terminal, a plain line now and then in a log, JSON lines when asked for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from convnet_kafka.cli.progress import duration, print_event
from convnet_kafka.client.progress import Pace, Progress, Watch

_TERMINAL_EVERY_S = 0.2
_LOG_EVERY_S = 10.0
_JSON_EVERY_S = 2.0
_WIDEST = 100


@asynccontextmanager
async def shown(
    progress: Callable[[], Progress], console: Console, count: Callable[[], int | None], *, as_json: bool = False
) -> AsyncIterator[None]:
    """Show progress while the block runs.

    Args:
        progress: where it stands now.
        console: stderr.
        count: how many images there are altogether, None when nobody knows; may take its time, runs in a thread.
        as_json: JSON lines instead.
    """
    view = View(progress)
    counting = asyncio.create_task(_count(view, count))
    if as_json:
        showing = asyncio.create_task(_as_json(view))
    else:
        showing = asyncio.create_task(_on_terminal(view, console) if console.is_terminal else _in_log(view, console))
    try:
        yield
    finally:
        for task in (showing, counting):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class View:
    """What is shown: the job's own figures, and what follows from seeing them change.

    Args:
        progress: where it stands now.
    """

    def __init__(self, progress: Callable[[], Progress]) -> None:
        self._progress = progress
        self._pace = Pace()
        self._watch = Watch()
        self.counted: int | None = None
        self.now = progress()
        self.rate = 0.0
        self.look()

    def look(self) -> str | None:
        """Take new figures; a sentence when something should be said about them."""
        self.now = self._progress()
        self.rate = self._pace.rate(self.now)
        return self._watch.hint(self.now)

    @property
    def total(self) -> int | None:
        """Images altogether, None when nobody knows yet."""
        return self.now.found if self.now.found_all else self.counted

    @property
    def seconds_left(self) -> float | None:
        """None when nobody knows."""
        return self._pace.seconds_left(self.now, self.total, self.rate)

    def line(self) -> str:
        """All in one line, for a log."""
        now, total, left = self.now, self.total, self.seconds_left
        of = f" of {total:,}" if total is not None else ""
        rest = f", about {duration(left)} left" if left is not None else ""
        return f"{now.accepted:,} uploaded, {now.labelled:,}{of} labelled, {now.failed:,} failed, {self.rate:,.0f} images/s{rest}"

    def fields(self) -> dict[str, object]:
        """All as JSON has it."""
        now, left = self.now, self.seconds_left
        return {
            "total": self.total,
            "uploaded": now.accepted,
            "labelled": now.labelled,
            "failed": now.failed,
            "images_per_s": round(self.rate, 1),
            "seconds": round(now.seconds, 1),
            "seconds_left": None if left is None else round(left, 1),
        }

    def __rich__(self) -> RenderableType:
        now, total = self.now, self.total
        top = Table.grid(expand=True, padding=(0, 1))
        top.add_column(ratio=1)
        top.add_column(justify="right", no_wrap=True)
        done = f"{min(1.0, now.done / total):.0%}" if total else ""
        left = self.seconds_left
        top.add_row(
            # A bar of an unknown length moves to and fro.
            ProgressBar(total=max(1, total) if total is not None else None, completed=now.done, pulse=total is None),
            Text.assemble((done, "bold"), "" if left is None else f"  {_clock(left)} left"),
        )
        counts = Text.assemble(
            f"{now.accepted:,} uploaded  ",
            (f"{now.labelled:,}", "green"),
            f" of {total:,} labelled  " if total is not None else " labelled  ",
            (f"{now.failed:,} failed  ", "red" if now.failed else "dim"),
            (f"{self.rate:,.0f}/s", "dim"),
            overflow="ellipsis",
            no_wrap=True,
        )
        return Group(top, counts)


async def _count(view: View, count: Callable[[], int | None]) -> None:
    # A source that cannot be counted is told of by whoever sends it.
    with contextlib.suppress(OSError):
        view.counted = await asyncio.to_thread(count)


async def _as_json(view: View) -> None:
    while True:
        await asyncio.sleep(_JSON_EVERY_S)
        hint = view.look()
        print_event("progress", **view.fields())
        if hint:
            print_event("note", text=hint)


async def _in_log(view: View, console: Console) -> None:
    while True:
        await asyncio.sleep(_LOG_EVERY_S)
        hint = view.look()
        console.print(view.line(), soft_wrap=True)
        if hint:
            console.print(hint, soft_wrap=True)


async def _on_terminal(view: View, console: Console) -> None:
    console.width = min(console.width, _WIDEST)
    with Live(view, console=console, transient=True, auto_refresh=False) as live:
        while True:
            if hint := view.look():
                live.console.print(hint, style="yellow")
            live.refresh()
            await asyncio.sleep(_TERMINAL_EVERY_S)


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds as a clock shows them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
