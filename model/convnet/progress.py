"""How long work tells what it is doing, without knowing who listens (a terminal, a log, nobody)."""

from __future__ import annotations

from typing import Protocol

from convnet.model_card import EpochResult


class Progress(Protocol):
    """A listener. Called from one thread at a time; `done` may come from another one than the rest."""

    def stage(self, what: str, total: int) -> None:
        """A part of the work begins: `total` units of it, for example images."""
        ...

    def done(self, units: int) -> None:
        """So many units of the present stage are done, counted from its beginning."""
        ...

    def note(self, text: str) -> None:
        """Something the user should know, one line."""
        ...

    def epoch(self, number: int, epochs: int, result: EpochResult, seconds_left: float) -> None:
        """Epoch `number` of `epochs` (from 1) ended so; the rest takes about `seconds_left`."""
        ...


class Silent:
    """A listener that says nothing."""

    def stage(self, what: str, total: int) -> None:
        """Say nothing."""

    def done(self, units: int) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def epoch(self, number: int, epochs: int, result: EpochResult, seconds_left: float) -> None:
        """Say nothing."""
