"""How far a job is, how fast it goes now, and whether it stands still. Shows nothing: that is for the commands."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

# The rate is that of the last so many seconds: since the beginning it would still count how long the first classifier took to start.
_WINDOW_S = 10.0
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
    def done(self) -> int:
        """Images with an outcome."""
        return self.labelled + self.failed

    @property
    def rate(self) -> float:
        """Images with an outcome a second, since the beginning."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        return f"{self.accepted:,} uploaded, {self.labelled:,} labelled, {self.failed:,} failed, {self.rate:,.0f} images/s"


class Pace:
    """How fast images get their outcomes now. Shown what it is judged by, a few times a second or seldom."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def rate(self, now: Progress) -> float:
        """Images with an outcome a second, over the last seconds."""
        seen = self._seen
        seen.append((now.seconds, now.done))
        while len(seen) > 2 and seen[1][0] < now.seconds - _WINDOW_S:
            seen.popleft()
        since, done = seen[0]
        return (now.done - done) / (now.seconds - since) if now.seconds > since else now.rate

    @staticmethod
    def seconds_left(now: Progress, total: int | None, rate: float) -> float | None:
        """Seconds until all have their outcome, None when nobody knows."""
        return None if total is None or rate <= 0 else max(0, total - now.done) / rate


class Watch:
    """Notices that labels have stopped coming, once each time."""

    def __init__(self) -> None:
        self._done = -1
        self._since = 0.0
        self._told = False

    def hint(self, now: Progress) -> str | None:
        """A sentence when accepted images wait and none has had its label for a while."""
        if now.done != self._done:
            self._done, self._since, self._told = now.done, now.seconds, False
        if self._told or now.accepted <= now.labelled or now.seconds - self._since < _QUIET_S:
            return None
        self._told = True
        return (
            f"no label for {_QUIET_S:.0f} s: are classifiers running, and is there a model? The images are safe in Kafka; "
            "Ctrl-C leaves them there and says how to go on"
        )
