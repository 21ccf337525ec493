"""Which image ended or hung its process: told to the next owner of its partition by the metadata of the committed offset.

Decides, and owns no Kafka. A new owner marks its position before it begins what lay there when it came; an owner that finds such a mark
handles the records that could have been in flight one by one, each marked before it is begun. Two deaths with the same record alone set
that image aside. A mark is passed over when it is not ours, or of a version that we do not know (docs/architecture.md has the format).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import orjson

from convnet_kafka.classifier.results import Failed
from convnet_kafka.messages import FailureCode

# In the metadata it says whose note this is, and how it reads.
KEY = "convnet-kafka"
VERSION = 1
# As far as a process that died without a note can have come past its last commit. What is in flight: pipeline.MAX_IMAGES_IN_FLIGHT less
# one, and a batch, 2,303 records with the largest `max_batch` that may be set, 1,024. And what was settled since, of at most some 12,000 a
# second: lanes commit every 0.2 s (2,400), notice it after a read and send it before the next, either of which may wait for a batch
# (2,048). That is 6,751, by default, with batches of 256, 4,447; the rest is for the commit's way. Each batch of them costs one that is
# waited for, some milliseconds, when a partition comes. Where it came further (`commit_interval_s` is set to more, say), the owner after it
# dies further on, and the one after that finds its note.
WATCHED_RECORDS = 8192
DEATHS_ALONE = 2
# A process that dies for a reason of its own does so soon after its start, most of all where it is started again and again. Before a record
# is tried alone for the last time its process must have lived for so long.
LAST_TRY_AFTER_S = 3.0


@dataclass(frozen=True, slots=True)
class Note:
    """What the metadata of a committed offset says.

    Attributes:
        attempt: owners in a row that have begun here, 1 or more.
        until: the records from the committed offset to before this one could have been in flight.
        alone: the offset of a record that was worked on with nothing else, or None.
        tries: how often it was begun alone; 0 when none is.
    """

    attempt: int
    until: int
    alone: int | None = None
    tries: int = 0

    def text(self) -> str:
        """As it is committed; under 100 bytes, of 4096 that a broker allows."""
        fields: dict[str, int] = {KEY: VERSION, "attempt": self.attempt, "until": self.until}
        if self.alone is not None:
            fields |= {"alone": self.alone, "tries": self.tries}
        return orjson.dumps(fields).decode()

    @classmethod
    def parse(cls, text: str | None) -> Note | None:
        """Read metadata; None when it is empty, not ours, or of another version."""
        try:
            fields = orjson.loads(text or "")
        except orjson.JSONDecodeError:
            return None
        if not isinstance(fields, dict) or fields.get(KEY) != VERSION:
            return None
        attempt, until, alone, tries = (fields.get(name) for name in ("attempt", "until", "alone", "tries"))
        if not (isinstance(attempt, int) and isinstance(until, int)):
            return None
        if isinstance(alone, int) and isinstance(tries, int):
            return cls(attempt, until, alone, tries)
        return cls(attempt, until)


class Stage(Enum):
    """How a record is to be handled."""

    FREE = 0
    """Nobody can have had it before: nothing is noted."""
    WATCHED = 1
    """It lay there when the partition came: noted before it is begun, and handled like any other."""
    ALONE = 2
    """It could have been in flight when a process died: noted by its offset, and handled with nothing else."""


class Watch:
    """What one owner has to note of one partition, until it is past everything that a former owner can have begun.

    Args:
        note: what was found at the committed offset, if anything.
        committed: that offset, negative when there is none.
        end: the partition's end when it came.

    Attributes:
        suspects: records that could have been in flight when a process died, and are to be handled alone.
    """

    def __init__(self, note: Note | None, committed: int, end: int) -> None:
        self._found = note
        self._end = end
        self._alone_until = min(note.until, end) if note is not None else 0
        self._until: int | None = None
        self._survived = -1
        self.suspects = max(self._alone_until - max(committed, 0), 0)

    @classmethod
    def of(cls, committed: int, metadata: str, end: int) -> Watch | None:
        """The watch over a partition, or None when nothing in it can have been begun by others.

        Args:
            committed: the committed offset, negative when there is none.
            metadata: what was committed with it.
            end: the partition's end now.
        """
        if end <= max(committed, 0):
            return None
        note = Note.parse(metadata)
        return cls(note if note is not None and note.until > committed else None, committed, end)

    def stage(self, offset: int) -> Stage:
        """How the record at this offset is to be handled; asked in the order of offsets."""
        if offset < self._alone_until:
            return Stage.ALONE
        if self._until is None:
            self._until = min(offset + WATCHED_RECORDS, self._end)
        return Stage.WATCHED if offset < self._until else Stage.FREE

    def over(self, position: int) -> bool:
        """Whether nothing is left to watch once everything before this position has its result."""
        return position >= (self._end if self._until is None else self._until)

    def deaths(self, offset: int) -> int:
        """How often a process died with this record alone, and none survived it."""
        if offset <= self._survived:
            return 0
        return self._found.tries if self._found is not None and self._found.alone == offset else 0

    def guilty(self, offset: int) -> bool:
        """Whether the image at this offset is to be set aside, unseen."""
        return self.deaths(offset) >= DEATHS_ALONE

    def watched(self, until: int) -> str:
        """The note to leave before the records up to before `until` are begun together."""
        return Note(1, until).text()

    def alone(self, offset: int) -> str:
        """The note to leave before the record at this offset is begun alone."""
        return Note(self._attempt, self._alone_until, offset, self.deaths(offset) + 1).text()

    def survived(self, offset: int) -> str:
        """The note once the record at this offset is worked on, its result on its way to Kafka: what comes now is not its fault."""
        self._survived = offset
        return Note(self._attempt, self._alone_until).text()

    def resting(self, position: int) -> str:
        """The note while nothing is in flight: what was found and is not cleared up yet, or none."""
        if position >= self._alone_until:
            return ""
        deaths = self.deaths(position)
        return Note(max(self._attempt - 1, 1), self._alone_until, position if deaths else None, deaths).text()

    @property
    def _attempt(self) -> int:
        return self._found.attempt + 1 if self._found is not None else 1


def set_aside(deaths: int) -> Failed:
    """The result of an image that ended or hung its process so often with nothing else in flight."""
    return Failed(
        FailureCode.QUARANTINED,
        f"its process ended or hung {deaths} times while it worked on this image alone; it is not tried again",
        deaths,
    )
