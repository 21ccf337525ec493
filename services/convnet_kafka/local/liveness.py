"""Ends children that say they are not alive, or say nothing for long, as Kubernetes does; whoever looks after them starts them again.

Owns one thread. A process that hangs in native code cannot end itself, and the image that hung it is found by its death.
"""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field

from convnet_kafka.local.childlogs import ChildLogs
from convnet_kafka.local.children import Child

LOOK_S = 2.0
PROBE_S = 2.0
# One that says nothing may only be slow, or stopped by somebody: as long as three of Kubernetes' default periods. One that answers that
# it is not alive has waited its own `stuck_after_s` before it says so.
SILENT_S = 30.0
_UNAVAILABLE = 503


@dataclass
class _Seen:
    """What is known of one process of a child; `answered_at` is 0 until its first answer: a start may take its time."""

    pid: int = 0
    answered_at: float = 0.0


@dataclass
class Liveness:
    """Watches the children of a stack.

    Attributes:
        children: whom to watch.
        logs: where a kill is told.
        look_s: seconds between looks.
        silent_s: seconds without an answer.
    """

    children: Sequence[Child]
    logs: ChildLogs
    look_s: float = LOOK_S
    silent_s: float = SILENT_S
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start watching."""
        self._thread = threading.Thread(target=self._run, name="liveness", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching: from now on nobody is killed by us."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=PROBE_S * (len(self.children) + 1))

    def look(self, child: Child) -> None:
        """Ask one child whether it is alive, and kill it when it is not."""
        process = child.process
        if process is None or process.poll() is not None:
            return
        seen = self._seen.setdefault(child.name, _Seen())
        if seen.pid != process.pid:
            seen.pid, seen.answered_at = process.pid, 0.0
        status = _asked(f"{child.health_url}/healthz")
        now = time.monotonic()
        reason = None
        if status == _UNAVAILABLE:
            reason = "says that it hangs"
        elif status is not None:
            seen.answered_at = now
        elif seen.answered_at and now > seen.answered_at + self.silent_s:
            reason = f"has not answered for {self.silent_s:.0f} s"
        if reason is not None and not self._stop.is_set():
            self.logs.note(child.name, f"{reason}; it is killed")
            process.kill()

    def _run(self) -> None:
        while not self._stop.wait(self.look_s):
            for child in self.children:
                self.look(child)


def _asked(url: str) -> int | None:
    """The status of an answer, or None when there was none."""
    try:
        with urllib.request.urlopen(url, timeout=PROBE_S) as answer:  # noqa: S310 - an http address of our own
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError):
        return None
