"""What has been seen of a job's results: which came first, how many images have one, and how many there will be.

Pure bookkeeping, no Kafka and no waiting. Results are unique by (image, revision) and the first in the partition wins, so every
reader in every pod comes to the same answer.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

# Measured with tracemalloc: a 16-byte key, its offset and their place in the dictionary.
BYTES_PER_RESULT = 190


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is.

    Attributes:
        images: images that have a result.
        failed: of these, images whose latest result is a failure.
        total: images of the job, or None while it is open.
    """

    images: int
    failed: int
    total: int | None

    @property
    def labelled(self) -> int:
        """Images whose latest result is a label."""
        return self.images - self.failed

    def complete(self, expect: int | None = None) -> bool:
        """True when every image of the closed job, or as many as the reader expects, has a result."""
        wanted = [number for number in (self.total, expect) if number is not None]
        return bool(wanted) and self.images >= min(wanted)


class SeenResults:
    """The results of one job between its start and the offset this covers.

    Attributes:
        start: offset of the job's opening; no result lies before it.
        covered: every record before this offset has been looked at.
        total: largest number any close has said, or None.
    """

    __slots__ = ("_failed", "_first", "_revised", "covered", "start", "total")

    def __init__(self, start: int) -> None:
        self.start = start
        self.covered = start
        self.total: int | None = None
        self._first: dict[bytes, int] = {}
        self._revised: dict[bytes, int] = {}
        self._failed: set[bytes] = set()

    def observe(self, offset: int, image: str, revision: int, *, failed: bool) -> bool:
        """Look at one result; True when it is the first of its image and revision, and so is the one that counts.

        Results are looked at in the order of their offsets; one that was looked at before gets the same answer again.
        """
        key = bytes.fromhex(image)
        if not revision:
            first = self._first.setdefault(key, offset)
            if first == offset and failed and key not in self._revised:
                self._failed.add(key)
            return first == offset
        if self._first.setdefault(key + revision.to_bytes(8, "big"), offset) != offset:
            return False
        if revision > self._revised.get(key, 0):
            self._revised[key] = revision
            (self._failed.add if failed else self._failed.discard)(key)
        return True

    def close(self, images: int) -> None:
        """Look at one close record."""
        self.total = max(self.total or 0, images)

    @property
    def progress(self) -> JobProgress:
        """How far the job is, up to `covered`."""
        # Keys longer than 16 bytes are revisions; an image that has only revisions (its first result expired) counts once.
        plain = len(self._first) if not self._revised else len({key[:16] for key in self._first})
        return JobProgress(plain, len(self._failed), self.total)

    @property
    def size_bytes(self) -> int:
        """About how much memory this takes."""
        return 1000 + BYTES_PER_RESULT * len(self._first)


class SeenJobs:
    """The jobs last asked for, least recently used forgotten first, bounded in bytes.

    Args:
        limit_bytes: memory that jobs without a reader may keep.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._jobs: OrderedDict[str, SeenResults] = OrderedDict()

    def get(self, job: str, start: int) -> SeenResults:
        """What has been seen of a job; nothing yet when it is new here or was forgotten."""
        seen = self._jobs.get(job)
        if seen is None:
            seen = self._jobs[job] = SeenResults(start)
        self._jobs.move_to_end(job)
        return seen

    def shrink(self, in_use: set[SeenResults]) -> None:
        """Forget jobs that nobody reads until the rest fits."""
        total = sum(seen.size_bytes for seen in self._jobs.values())
        for job in list(self._jobs):
            if total <= self._limit_bytes:
                return
            if self._jobs[job] not in in_use:
                total -= self._jobs.pop(job).size_bytes
