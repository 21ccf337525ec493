"""Child processes that are started again when they die, and ended in good order. Nothing here knows what they do."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from convnet_kafka.local.childlogs import ChildLogs
from convnet_kafka.local.process import spawn_bound

# One that lived for this long was well; what happened then is new.
_STABLE_S = 10.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_POLL_S = 0.02


@dataclass
class Child:
    """One child of the stack.

    Attributes:
        name: for people, and in `Stack.processes`.
        arguments: of the `convnet-kafka` command.
        environment: added to ours.
        health_url: where it says whether it is alive and ready.
    """

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    health_url: str
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    started_at: float = 0.0
    pause_s: float = _FIRST_PAUSE_S
    start_again_at: float | None = None
    watched: bool = field(default=True)

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def start(self, logs: ChildLogs) -> None:
        """Start its process, which the system ends when ours ends."""
        with logs.open(self.name) as output:
            self.process = spawn_bound(
                [sys.executable, "-m", "convnet_kafka", *self.arguments],
                # We are gone without a word: nobody is there to wait for a clean end, and none is needed (kill -9 loses nothing).
                death_signal=signal.SIGKILL,
                output=output,
                env={**os.environ, **self.environment},
            )
        self.started_at = time.monotonic()
        self.start_again_at = None

    def look_after(self, logs: ChildLogs, *, restart: bool) -> None:
        """Notice its death, and start it again when its pause is over."""
        now = time.monotonic()
        if self.process is None or not self.watched or self.is_running:
            return
        if self.start_again_at is not None:
            if now >= self.start_again_at:
                self.start(logs)
            return
        self.deaths += 1
        how = how_it_ended(self.process.returncode)
        if not restart:
            self.watched = False
            logs.note(self.name, how)
            return
        self.pause_s = _FIRST_PAUSE_S if now - self.started_at > _STABLE_S else min(2 * self.pause_s, _LONGEST_PAUSE_S)
        self.start_again_at = now + self.pause_s
        logs.note(self.name, f"{how}; it is started again in {self.pause_s:.0f} s" if self.pause_s >= 1 else f"{how}; it is started again")


def how_it_ended(status: int) -> str:
    """An exit status in words."""
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(-status).name}"
    return f"ended by itself with exit code {status}"


def end(children: Iterable[Child], deadline_s: float, on_kill: Callable[[Child], None]) -> None:
    """End all at once: SIGTERM, and SIGKILL past the deadline. Returns when none is left.

    Args:
        children: whose processes to end.
        deadline_s: seconds they have together.
        on_kill: told of each that had to be killed.
    """
    running = [child for child in children if child.process is not None]
    for child in running:
        if child.process is not None and child.is_running:
            child.process.terminate()
    deadline = time.monotonic() + deadline_s
    try:
        while any(child.is_running for child in running) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
    finally:
        # Also when the wait is interrupted: whoever is in a hurry wants them gone.
        for child in running:
            if child.process is not None and child.is_running:
                on_kill(child)
                child.process.kill()
            if child.process is not None:
                child.process.wait()
