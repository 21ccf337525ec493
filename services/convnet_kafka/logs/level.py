"""How much is logged, changed while a process runs: SIGUSR1 has it log everything, SIGUSR2 as much as it began with.

    kubectl exec POD -- sh -c 'kill -USR1 1'

Idempotent on purpose, unlike a step up or down: whoever sends it need not know what was before.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

logger = structlog.get_logger(__name__)

MORE, AS_BEFORE = signal.SIGUSR1, signal.SIGUSR2


class LevelSwitch:
    """Knows the level that this process began with: the one that is set when this is made."""

    def __init__(self) -> None:
        self._began_with = logging.getLogger().level

    def follow_signals(self) -> None:
        """Change the level on signals from now on. For the main thread."""
        for number in (MORE, AS_BEFORE):
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (MORE, AS_BEFORE))

    def change(self, number: int) -> None:
        """What one of the two signals asks for. Safe in a signal's handler."""
        level = logging.DEBUG if number == MORE else self._began_with
        logging.getLogger().setLevel(level)
        # Told by another thread: this one may have been interrupted in the middle of writing a line.
        threading.Thread(target=_tell, args=(level,), name="log-level", daemon=True).start()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.change(number)


@contextmanager
def held_back() -> Iterator[None]:
    """Processes that are started meanwhile are not ended by a signal that comes before they follow it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (MORE, AS_BEFORE))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (MORE, AS_BEFORE))


def _tell(level: int) -> None:
    # A warning, so that it is told whatever the level is now.
    logger.warning("log level changed", to=logging.getLevelName(level).lower())
