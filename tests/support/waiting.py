"""Wait for a condition, with a deadline: the one place where tests pass time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

STEP_S = 0.01


def until(condition: Callable[[], object], timeout_s: float = 30.0, what: str = "the condition") -> None:
    """Return once the condition holds; fail with what was waited for when it does not in time."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not hold within {timeout_s} s"
        pause.wait(STEP_S)


async def until_async(condition: Callable[[], object], timeout_s: float = 30.0, what: str = "the condition") -> None:
    """The same on an event loop, which goes on meanwhile."""
    await asyncio.to_thread(until, condition, timeout_s, what)
