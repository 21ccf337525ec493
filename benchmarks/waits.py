"""Waiting in a benchmark: on a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

DEADLINE_S = 120.0


def wait(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S, every_s: float = 0.02) -> None:
    """Until it is true.

    Raises:
        ClickException: it is not within the deadline.
    """
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            raise click.ClickException(f"waited {deadline_s:.0f} s in vain for {what}")
        time.sleep(every_s)
