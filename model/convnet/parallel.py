"""Map a function over inputs in threads, results in order; ending early (an error, Ctrl-C) leaves no queue of work behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Input = TypeVar("Input")
Result = TypeVar("Result")

# Handed out ahead of the consumer: enough that no thread waits for work, few enough that the end of an interrupted run is near.
_AHEAD = 4


def in_threads(function: Callable[[Input], Result], inputs: Iterable[Input], threads: int, name: str) -> Iterator[Result]:
    """Yield `function(each)` in the order of `inputs`; what it raises is raised here."""
    with ThreadPoolExecutor(threads, name) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for each in inputs:
                waiting.append(pool.submit(function, each))
                if len(waiting) > _AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
