"""The books of one job: every name once, from sent to accepted or refused to labelled. What closes the job comes from here.

An image counts as accepted when an answer says so or when its label arrives, whichever is first; never twice, however often it was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from enum import IntEnum

from convnet_kafka.client.label import Label


class State(IntEnum):
    """What is known of a name."""

    SENT = 0
    ACCEPTED = 1
    LABELLED = 2
    GIVEN_UP = 3
    LOST = 4


class Outcomes:
    """Names and what became of them. Owned by one event loop.

    Args:
        shared: others have sent into this job, so labels of images that were not sent by us are kept until we know that they are not ours.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self._states: dict[str, State] = {}
        self._revisions: dict[str, int] = {}
        self._shared = shared
        self._earlier: dict[str, Label] = {}
        self._stored_after_all = 0
        self._waiting = 0
        self._all_labelled = asyncio.Event()
        self.accepted = 0
        self.labelled = 0
        self.failed = 0

    @property
    def in_job(self) -> int:
        """Distinct images that are known to be in the job: ours, also those that were given up, and others' whose result was seen."""
        return self.accepted + self._stored_after_all + len(self._earlier)

    @property
    def waiting(self) -> int:
        """Accepted images without a label."""
        return self._waiting

    def missing(self) -> list[str]:
        """Names of accepted images without a label."""
        return [name for name, state in self._states.items() if state is State.ACCEPTED]

    def undecided(self) -> list[str]:
        """Names that were sent, or were about to be, and of which nothing more is known."""
        return [name for name, state in self._states.items() if state is State.SENT]

    def sent(self, names: Iterable[str]) -> None:
        """These are about to be sent for the first time."""
        self._states.update(dict.fromkeys(names, State.SENT))

    def accepted_by_server(self, names: Sequence[str]) -> list[Label]:
        """An answer says that Kafka holds these. Returns labels that had come before we knew the images to be ours."""
        states, known = self._states, []
        for name in names:
            if states[name] is State.SENT or states[name] is State.GIVEN_UP:
                states[name] = State.ACCEPTED
                self.accepted += 1
                self._waiting += 1
                if name in self._earlier:
                    known.append(self._earlier.pop(name))
        return self.record(known)

    def unlabelled(self, names: Iterable[str]) -> set[str]:
        """Those of the names that have no label yet."""
        return {name for name in names if self._states[name] is not State.LABELLED}

    def given_up(self, labels: Sequence[Label]) -> list[Label]:
        """These were refused, or could not be read or sent. Returns those that have no other outcome already."""
        final = []
        for label in labels:
            state = self._states.get(label.name)
            if state is None or state is State.SENT:
                self._states[label.name] = State.GIVEN_UP
                final.append(label)
        self.failed += len(final)
        return final

    def record(self, labels: Sequence[Label]) -> list[Label]:
        """These came from the server. Returns those to tell the caller: ours, and each revision of an image once."""
        states, fresh = self._states, []
        for label in labels:
            name = label.name
            state = states.get(name)
            if state is None:
                if self._shared:
                    self._earlier[name] = label
                continue
            if state is State.GIVEN_UP or state is State.LOST:
                # Its outcome has been told, and an image has one. That it is in the job after all counts for the close.
                states[name] = State.LABELLED
                self._stored_after_all += state is State.GIVEN_UP
                continue
            if state is State.LABELLED:
                if label.revision <= self._revisions.get(name, 0):
                    continue
            else:
                states[name] = State.LABELLED
                if state is State.ACCEPTED:
                    self._waiting -= 1
                else:
                    # It was stored, whatever the answer to its upload will be.
                    self.accepted += 1
                self.labelled += label.error is None
                self.failed += label.error is not None
            if label.revision:
                self._revisions[name] = label.revision
            fresh.append(label)
        self._tell()
        return fresh

    def lost(self, names: Sequence[str]) -> None:
        """No label will come for these."""
        for name in names:
            self._states[name] = State.LOST
        self._waiting -= len(names)
        self.failed += len(names)
        self._tell()

    async def all_labelled(self) -> None:
        """Wait until every accepted image has its label. For use when nothing more is sent."""
        self._tell()
        while self._waiting:
            await self._all_labelled.wait()
            self._tell()

    def _tell(self) -> None:
        if self._waiting:
            self._all_labelled.clear()
        else:
            self._all_labelled.set()
