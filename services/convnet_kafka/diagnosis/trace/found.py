"""What was found of a job and its images. Plain values, which `--json` gives as they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from convnet_kafka.messages import LabelRecord


@dataclass(frozen=True, slots=True)
class JobPlace:
    """A job, and where its results are.

    Attributes:
        id: the random part, 32 hex digits.
        tenant: whose it is; None when only the random part was given.
        opened_at_ms: when; None likewise.
        starts: by partition of the labels topic the offset to read from.
        since_ms: nothing of the job was written before, milliseconds since the epoch.
    """

    id: str
    tenant: str | None
    opened_at_ms: int | None
    starts: dict[int, int]
    since_ms: int


@dataclass(frozen=True, slots=True)
class Answered:
    """Who made a result: a classifier's process, its how-manyeth batch, and how many images that had."""

    replica: str
    batch: int
    images: int

    @classmethod
    def parse(cls, text: str) -> Answered | None:
        """Read the header `by`; None when it is not as we write it."""
        replica, _, rest = text.partition("/")
        batch, _, images = rest.partition("/")
        return cls(replica, int(batch), int(images)) if replica and batch.isdecimal() and images.isdecimal() else None


@dataclass(frozen=True, slots=True)
class ResultAt:
    """A result in the labels topic.

    Attributes:
        topic: the labels topic.
        partition: of it.
        offset: of its record.
        at_ms: when the broker took it.
        result: what it says.
        by: who made it; None where the record does not say.
    """

    topic: str
    partition: int
    offset: int
    at_ms: int
    result: LabelRecord
    by: Answered | None


@dataclass(frozen=True, slots=True)
class ImageAt:
    """An image in a topic of images: `at_ms` is when a server handed it to Kafka."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    submitted_at_ms: int
    revision: int
    name: str
    tenant: str
    content_type: str
    size: int
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class LetterAt:
    """A dead letter: `place` is how `convnet-kafka dlq` names it, `source` where the image lay."""

    place: str
    at_ms: int
    revision: int
    reason: str
    detail: str
    attempts: int
    source: str


@dataclass(slots=True)
class JobFound:
    """A job's results.

    Attributes:
        job: which.
        results: how many images have one, the repeated ones left out.
        labelled: those with a label.
        failed: by error code.
        repeated: results that came again, and count for nothing.
        replayed: images with a revision above 0.
        models: images by the version that answered.
        replicas: images by the process that answered; empty where records do not say.
        waits_ms: from submission to result.
        first_ms: when the first result was made.
        last_ms: and the last.
        total: images of the job as it was closed; None while it is open.
        cancelled: whether it was cancelled.
        letters: dead letters by reason.
        unread: records that were not read in time; 0 when all were.
    """

    job: JobPlace
    results: int = 0
    labelled: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    replayed: int = 0
    models: Counter[int] = field(default_factory=Counter)
    replicas: Counter[str] = field(default_factory=Counter)
    waits_ms: list[int] = field(default_factory=list)
    first_ms: int | None = None
    last_ms: int | None = None
    total: int | None = None
    cancelled: bool = False
    letters: Counter[str] = field(default_factory=Counter)
    unread: int = 0


@dataclass(slots=True)
class ImageFound:
    """One image's way.

    Attributes:
        job: its job.
        image: its id, or as it was asked for when nothing was found.
        name: what the sender called it.
        records: where it lay to be classified, once for each time it was sent.
        results: all of it, in the order of the log: of each revision the first counts.
        letters: its dead letters.
        waiting: records before it that its lane's group has not done, by place; only of records without a result.
        owner: the member that holds its partition now.
        cancelled: whether its job was cancelled.
        unread: whether time ran out before all was read.
    """

    job: JobPlace
    image: str
    name: str = ""
    records: list[ImageAt] = field(default_factory=list)
    results: list[ResultAt] = field(default_factory=list)
    letters: list[LetterAt] = field(default_factory=list)
    waiting: int | None = None
    owner: str = ""
    cancelled: bool = False
    unread: bool = False

    @property
    def final(self) -> ResultAt | None:
        """The result that counts: of the highest revision the first."""
        highest = max((each.result.revision for each in self.results), default=0)
        return next((each for each in self.results if each.result.revision == highest), None)

    @property
    def state(self) -> str:
        """`labelled`, `failed`, `waiting`, `passed` (the group is past it and it has no result), or `unknown`."""
        if self.final is not None:
            return "failed" if self.final.result.error else "labelled"
        if not self.records:
            return "unknown"
        return "waiting" if self.waiting is not None else "passed"
