"""Looks at which alerts fire, and knows which ones did: a test waits for both, the fire and its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, Self

from support.waiting import until

_LOOK_S = 0.5


def name_of(alert: dict[str, Any]) -> str:
    """An alert's name, with its window where it has several: `ConvnetLatencyBudgetBurns 1h`."""
    labels = alert["labels"]
    return f"{labels['alertname']} {labels['window']}" if "window" in labels else str(labels["alertname"])


class AlertWatch:
    """Looks every half second while entered.

    Args:
        firing: names of the alerts that fire now.

    Attributes:
        now: those of the last look.
    """

    def __init__(self, firing: Callable[[], set[str]]) -> None:
        self._firing = firing
        self.now: set[str] = set()
        # When each was first seen to fire, monotonic seconds.
        self._since: dict[str, float] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alert-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    def begin(self, names: Collection[str], timeout_s: float) -> None:
        """Wait until none of these fires, of whatever was before, and forget that any did."""
        self._until(lambda: not self.now & set(names), timeout_s, f"quiet of {', '.join(names)}")
        for name in names:
            self._since.pop(name, None)

    def fires(self, names: Collection[str], timeout_s: float) -> dict[str, float]:
        """Wait until all of these fire, or have fired since `begin`; gives the monotonic time at which each did first."""
        self._until(lambda: set(names) <= self._since.keys(), timeout_s, f"{', '.join(names)} firing")
        return {name: self._since[name] for name in names}

    def over(self, names: Collection[str], timeout_s: float) -> None:
        """Wait until none of these fires."""
        self._until(lambda: not self.now & set(names), timeout_s, f"the end of {', '.join(names)}")

    def none(self, timeout_s: float) -> None:
        """Wait until nothing fires at all."""
        self._until(lambda: not self.now, timeout_s, "the end of every alert")

    def _until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        def holds() -> bool:
            assert self._thread.is_alive(), "the watch has ended: Prometheus does not answer"
            return condition()

        try:
            until(holds, timeout_s, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; now: {sorted(self.now)}; since then: {sorted(self._since)}") from error

    def _run(self) -> None:
        while not self._end.wait(_LOOK_S):
            now, at = self._firing(), time.monotonic()
            for name in now:
                self._since.setdefault(name, at)
            self.now = now
