"""How long work is shown: a bar on a terminal, plain lines in a log, JSON for a collector of logs; always on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from convnet.model_card import EpochResult
    from convnet.progress import Progress


def _epoch_line(number: int, epochs: int, result: EpochResult, seconds_left: float) -> str:
    left = f", about {duration(seconds_left)} left" if number < epochs else ""
    return (
        f"epoch {number} of {epochs}: accuracy {result.accuracy:.2%} training, {result.validation_accuracy:.2%} held out, "
        f"loss {result.loss:.4f}, {result.seconds:.1f} s{left}"
    )


def duration(seconds: float) -> str:
    """A time in words."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


@contextmanager
def shown_progress(*, as_json: bool = False) -> Iterator[Progress]:
    """A bar on a terminal, plain lines in a log, JSON lines when asked for; always on stderr."""
    if as_json:
        yield JsonLines()
        return
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("", total=None)

        class Bar(Lines):
            """The same notes above a moving bar."""

            def stage(self, what: str, total: int) -> None:
                bars.reset(task, total=total, description=what)

            def done(self, units: int) -> None:
                bars.update(task, completed=units)

            def note(self, text: str) -> None:
                console.print(text, markup=False, soft_wrap=True)

        yield Bar()


class Lines:
    """Progress as lines on stderr: each stage and epoch, and for long stages a line every ten seconds."""

    _EVERY_S = 10.0

    def __init__(self) -> None:
        self._what, self._total, self._told_at = "", 0, time.monotonic()

    def stage(self, what: str, total: int) -> None:
        """Remember what is being done."""
        self._what, self._total, self._told_at = what, total, time.monotonic()

    def done(self, units: int) -> None:
        """Say how far it is, seldom."""
        if units < self._total and time.monotonic() - self._told_at > self._EVERY_S:
            self._told_at = time.monotonic()
            self.note(f"{self._what}: {units} of {self._total}")

    def note(self, text: str) -> None:
        """Print a line."""
        click.echo(text, err=True)

    def epoch(self, number: int, epochs: int, result: EpochResult, seconds_left: float) -> None:
        """Print how the epoch ended."""
        self.note(_epoch_line(number, epochs, result, seconds_left))


class JsonLines(Lines):
    """The same as one JSON object a line, each with its `event`."""

    def done(self, units: int) -> None:
        """Say how far it is, seldom."""
        if units < self._total and time.monotonic() - self._told_at > self._EVERY_S:
            self._told_at = time.monotonic()
            print_event("progress", stage=self._what, done=units, total=self._total)

    def note(self, text: str) -> None:
        """Print a note."""
        print_event("note", text=text)

    def epoch(self, number: int, epochs: int, result: EpochResult, seconds_left: float) -> None:
        """Print how the epoch ended."""
        print_event("epoch", epoch=number, epochs=epochs, seconds_left=round(seconds_left, 1), **result.model_dump())


def print_event(event: str, **fields: object) -> None:
    """One JSON object on a line of stderr."""
    click.echo(json.dumps({"event": event} | fields), err=True)
