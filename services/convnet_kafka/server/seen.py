"""What has been seen of a job's results: which came first, how many images have one, and how many there will be.

Pure bookkeeping, no Kafka and no waiting. Results are unique by (image, revision) and the first in the partition wins, so every
reader in every pod comes to the same answer. A job of a million images takes some 30 MB.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from convnet_kafka.replies import ID_BYTES, place_of

# An image's first two bytes choose its group, the rest is what the group holds.
_PREFIX = 2
_REST = ID_BYTES - _PREFIX
_GROUPS = 1 << (8 * _PREFIX)
# Measured with tracemalloc: a group's key, its bytes object and their place in the dictionary.
_GROUP_COST = 110


class ImageSet:
    """A set of image ids in little memory: 14 bytes each once there are many, where a Python set takes over 100.

    Ids that begin alike lie one behind the other in one bytes object. They are hashes, so at a million each object holds some 15, and
    looking through it costs less than making a Python object of an id.
    """

    __slots__ = ("_groups", "count")

    def __init__(self) -> None:
        self._groups: dict[bytes, bytes] = {}
        self.count = 0

    def __contains__(self, image: bytes) -> bool:
        group = self._groups.get(image[:_PREFIX])
        return group is not None and _holds(group, image[_PREFIX:])

    def add(self, ids: bytes) -> list[int]:
        """Add ids, 16 bytes each; gives the numbers of those that were there. One loop for all: it is most of what a result costs."""
        groups, there = self._groups, []
        get = groups.get
        for at in range(0, len(ids), ID_BYTES):
            prefix, rest = ids[at : at + _PREFIX], ids[at + _PREFIX : at + ID_BYTES]
            group = get(prefix)
            if group is None:
                groups[prefix] = rest
            elif rest in group and _holds(group, rest):
                there.append(at // ID_BYTES)
            else:
                groups[prefix] = group + rest
        self.count += len(ids) // ID_BYTES - len(there)
        return there

    @property
    def size_bytes(self) -> int:
        """About how much memory this takes."""
        return _GROUP_COST * len(self._groups) + _REST * self.count


def _holds(group: bytes, rest: bytes) -> bool:
    at = group.find(rest)
    while at % _REST > 0:  # across two ids; -1 % _REST is more than 0 too
        if at < 0:
            return False
        at = group.find(rest, at + 1)
    return True


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

    __slots__ = (
        "_count_repeats",
        "_failed",
        "_failures",
        "_images",
        "_next",
        "_only_revised",
        "_repeats",
        "_revised",
        "_revisions",
        "covered",
        "start",
        "total",
    )

    def __init__(self, start: int, count_repeats: Callable[[int], None] = lambda _count: None) -> None:
        self._count_repeats = count_repeats
        self.start = start
        self.covered = start
        self.total: int | None = None
        self._images = ImageSet()
        # Images whose first result is a failure; how many are failed now is counted.
        self._failures = ImageSet()
        self._failed = 0
        # Places of results that were not the first of their kind, ascending: what is asked again gets the same answer.
        self._repeats = array("Q")
        self._next = 0
        # Results of replays, few: each that was seen, the highest of each image and whether it failed, and images without another result.
        self._revisions: set[bytes] = set()
        self._revised: dict[bytes, tuple[int, bool]] = {}
        self._only_revised: set[bytes] = set()

    def observe(self, offset: int, ids: bytes, revision: int, *, failed: bool) -> Sequence[int]:
        """Look at the results of one record. Gives the numbers of those that are the first of their image and revision, and so count.

        Records are looked at in the order of their offsets; one that was looked at before gets the same answer again.

        Args:
            offset: of the record.
            ids: of its images, 16 bytes each.
            revision: of its results.
            failed: whether they are failures.
        """
        count = len(ids) // ID_BYTES
        first = place_of(offset + 1) - count
        if offset < self._next:
            return [number for number in range(count) if not self._is_repeat(first + number)]
        self._next = offset + 1
        repeats = self._first_results(ids, failed=failed) if not revision else self._replays(ids, revision, failed=failed)
        if not repeats:
            return range(count)
        self._repeats.extend([first + number for number in repeats])
        self._count_repeats(len(repeats))
        return _without(count, repeats)

    def close(self, images: int) -> None:
        """Look at one close record."""
        self.total = max(self.total or 0, images)

    @property
    def progress(self) -> JobProgress:
        """How far the job is, up to `covered`."""
        # An image that has only replays (its first result expired) counts too.
        return JobProgress(self._images.count + len(self._only_revised), self._failed, self.total)

    @property
    def size_bytes(self) -> int:
        """About how much memory this takes."""
        replays = 300 * len(self._revisions)
        return 1000 + self._images.size_bytes + self._failures.size_bytes + 8 * len(self._repeats) + replays

    def _is_repeat(self, place: int) -> bool:
        at = bisect_left(self._repeats, place)
        return at < len(self._repeats) and self._repeats[at] == place

    def _first_results(self, ids: bytes, *, failed: bool) -> list[int]:
        """Enter results of revision 0; gives the numbers of those whose image had one."""
        repeats = self._images.add(ids)
        if self._only_revised or failed:
            keys = _keys(ids)
            for number in _without(len(keys), repeats):
                self._only_revised.discard(keys[number])
                if failed:
                    self._failures.add(keys[number])
                    self._failed += keys[number] not in self._revised
        return repeats

    def _replays(self, ids: bytes, revision: int, *, failed: bool) -> list[int]:
        """Enter results of a replay; gives the numbers of those that were seen already."""
        return [number for number, key in enumerate(_keys(ids)) if not self._first_replay(key, revision, failed=failed)]

    def _first_replay(self, key: bytes, revision: int, *, failed: bool) -> bool:
        result = key + revision.to_bytes(8, "big")
        if result in self._revisions:
            return False
        self._revisions.add(result)
        if key not in self._images:
            self._only_revised.add(key)
        highest, was_failed = self._revised.get(key) or (0, key in self._failures)
        if revision > highest:
            self._revised[key] = (revision, failed)
            self._failed += failed - was_failed
        return True


def _keys(ids: bytes) -> list[bytes]:
    return [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]


def _without(count: int, gone: Sequence[int]) -> list[int]:
    """The numbers from 0 to before `count` that are not among these."""
    left_out = set(gone)
    return [number for number in range(count) if number not in left_out]


class SeenJobs:
    """The jobs last asked for, least recently used forgotten first, bounded in bytes.

    Args:
        limit_bytes: memory that jobs without a reader may keep.
        count_repeats: called with the number of results that came before, of every record of theirs that has any.
    """

    def __init__(self, limit_bytes: int, count_repeats: Callable[[int], None] = lambda _count: None) -> None:
        self._limit_bytes = limit_bytes
        self._count_repeats = count_repeats
        self._jobs: OrderedDict[str, SeenResults] = OrderedDict()
        # Sizes when they were looked at last, and the jobs that may have grown since: a look costs what is read, not what is remembered.
        self._sizes: dict[str, int] = {}
        self._changing: set[str] = set()
        self._total = 0

    def get(self, job: str, start: int) -> SeenResults:
        """What has been seen of a job; nothing yet when it is new here or was forgotten."""
        seen = self._jobs.get(job)
        if seen is None:
            seen = self._jobs[job] = SeenResults(start, self._count_repeats)
        self._jobs.move_to_end(job)
        self._changing.add(job)
        return seen

    def clear(self) -> None:
        """Forget all."""
        self._jobs.clear()
        self._sizes.clear()
        self._changing.clear()
        self._total = 0

    def shrink(self, in_use: set[SeenResults]) -> None:
        """Forget jobs that nobody reads until the rest fits."""
        for job in list(self._changing):
            seen = self._jobs[job]
            size = seen.size_bytes
            self._total += size - self._sizes.get(job, 0)
            self._sizes[job] = size
            if seen not in in_use:
                self._changing.discard(job)
        too_much = self._total - self._limit_bytes
        gone = []
        for job, seen in self._jobs.items():
            if too_much <= 0:
                break
            if seen not in in_use:
                gone.append(job)
                too_much -= self._sizes[job]
        for job in gone:
            del self._jobs[job]
            self._total -= self._sizes.pop(job)
