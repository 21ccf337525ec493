"""Wait for a condition, with a deadline: the one place where tests pass time."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable

STEP_S = 0.01
# A probe that takes longer than this counts as no answer; the next one is made at once.
_PROBE_S = 5.0


def until(condition: Callable[[], object], timeout_s: float = 30.0, what: str = "the condition", step_s: float = STEP_S) -> None:
    """Return once the condition holds; fail with what was waited for when it does not in time. Costly looks have a `step_s`."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not hold within {timeout_s} s"
        pause.wait(step_s)


async def until_async(condition: Callable[[], object], timeout_s: float = 30.0, what: str = "the condition") -> None:
    """The same on an event loop, which goes on meanwhile."""
    await asyncio.to_thread(until, condition, timeout_s, what)


async def until_true(condition: Callable[[], Awaitable[object]], timeout_s: float = 60.0) -> None:
    """Return once a condition that must be asked for over the network holds."""
    async with asyncio.timeout(timeout_s):
        while True:
            if await condition():
                return
            await asyncio.sleep(STEP_S)


def until_ready(url: str, timeout_s: float = 90.0) -> None:
    """Return once the server at a URL says that it is ready: its process being there says nothing, it may not listen yet."""
    until(lambda: _is_ready(url), timeout_s, f"{url}/readyz answering 200")


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=_PROBE_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
