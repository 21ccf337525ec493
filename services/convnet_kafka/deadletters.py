"""The dead letter on the wire: an image without a label, as it was sent, with the reason and where it lay (docs/wire.md).

Owns no connection. Classifiers write dead letters, `convnet-kafka dlq` reads them; both know them only through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from confluent_kafka import Message

from convnet_kafka.errors import WireError
from convnet_kafka.messages import MAX_DETAIL_BYTES, AnyHeaders, FailureCode, Headers, ImageRecord, clip

# What a dead letter adds to its image's headers; a replay takes them off again.
OWN_HEADERS = frozenset({"reason", "detail", "attempts", "source-topic", "source-partition", "source-offset", "model", "dropped-bytes"})


def dead_letter_headers(
    original: AnyHeaders,
    *,
    reason: FailureCode,
    detail: str,
    attempts: int,
    topic: str,
    partition: int,
    offset: int,
    model: int | None,
    dropped: int | None = None,
) -> Headers:
    """An image's own headers, and why and where it was given up; `dropped` is the size of a file that is not kept."""
    headers = [
        *_pairs(original),
        ("reason", reason.encode()),
        ("detail", clip(detail, MAX_DETAIL_BYTES).encode()),
        ("attempts", b"%d" % attempts),
        ("source-topic", topic.encode()),
        ("source-partition", b"%d" % partition),
        ("source-offset", b"%d" % offset),
        ("model", b"%d" % model if model is not None else b""),
    ]
    if dropped is not None:
        headers.append(("dropped-bytes", b"%d" % dropped))
    return headers


def replay_headers(letter: AnyHeaders, revision: int) -> Headers:
    """Headers that send an image again: its own ones, and its new revision."""
    kept = [(name, value) for name, value in _pairs(letter) if name not in OWN_HEADERS and name != "revision"]
    return [*kept, ("revision", b"%d" % revision)]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter as it lies in Kafka.

    Attributes:
        image: the image, its file included unless that was dropped.
        headers: all of them, as they stand in Kafka.
        reason: a `FailureCode`, or another one of a newer version.
        detail: why, for people.
        attempts: how often it was tried.
        source: where the image lay, `topic[partition] at offset`.
        model: version of the model that was asked, or None.
        dropped: size of the file in bytes when it was not kept, else None.
        partition: of the dead letter.
        offset: of the dead letter.
        at_ms: when it was written, milliseconds since the epoch.
    """

    image: ImageRecord
    headers: Headers
    reason: str
    detail: str
    attempts: int
    source: str
    model: int | None
    dropped: int | None
    partition: int
    offset: int
    at_ms: int

    @property
    def size(self) -> int:
        """Bytes of the image's file, kept or not."""
        return len(self.image.content) if self.dropped is None else self.dropped

    @property
    def place(self) -> str:
        """How `convnet-kafka dlq` names it: unique until it is purged."""
        return f"{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, message: Message) -> DeadLetter:
        """Read a record of the dead letters' topic.

        Raises:
            NewerWireVersion: written by a newer version.
            WireError: not a dead letter of ours.
        """
        pairs = _pairs(message.headers() or [])
        found = dict(pairs)
        if "reason" not in found:
            raise WireError("the record has no header 'reason': it is no dead letter (docs/wire.md)")
        return cls(
            image=ImageRecord.parse(message.headers(), message.value()),
            headers=pairs,
            reason=_text(found, "reason"),
            detail=_text(found, "detail"),
            attempts=_number(found, "attempts") or 0,
            source=f"{_text(found, 'source-topic')}[{_text(found, 'source-partition')}] at {_text(found, 'source-offset')}",
            model=_number(found, "model"),
            dropped=_number(found, "dropped-bytes"),
            partition=message.partition() or 0,
            offset=message.offset() or 0,
            at_ms=message.timestamp()[1],
        )


def _pairs(headers: AnyHeaders) -> Headers:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [(name, value if isinstance(value, bytes) else value.encode()) for name, value in pairs if value is not None]


def _text(headers: Mapping[str, bytes], name: str) -> str:
    return headers.get(name, b"").decode("utf-8", "replace")


def _number(headers: Mapping[str, bytes], name: str) -> int | None:
    value = headers.get(name, b"")
    return int(value) if value.isdigit() else None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant; what is not given selects all.

    Attributes:
        reasons: any of these.
        job: the job's random part, 32 hex digits.
        name: a shell pattern for the image's name (`*`, `?`, `[...]`; `*` matches `/` too).
        image: how the image's id begins, or the letter's place.
        since_ms: written at this time or later, milliseconds since the epoch.
        until_ms: written before this time.
    """

    reasons: frozenset[str] = frozenset()
    job: str | None = None
    name: str | None = None
    image: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()

    def takes(self, letter: DeadLetter) -> bool:
        """Whether this one is meant."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (self.job is None or letter.image.job == self.job)
            and (self.name is None or fnmatchcase(letter.image.name, self.name))
            and (self.image is None or self.image == letter.place or letter.image.image.startswith(self.image))
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
            and (self.until_ms is None or letter.at_ms < self.until_ms)
        )
