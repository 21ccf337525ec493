"""The records of the labels topic: results of one job, one or more in a record, and the record that closes a job (docs/wire.md).

Owns their headers, and how results are put into records and taken out again; what one result says stands in `messages.LabelRecord`.
A record costs everybody as much as some fifty results in it do, so those that belong together travel together. Opens no connection.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import orjson

from convnet_kafka.errors import WireError
from convnet_kafka.messages import (
    WIRE_VERSION_HEADER,
    AnyHeaders,
    Headers,
    LabelRecord,
    checked_headers,
    header_bytes,
    required_header,
    required_number,
)

# Of an image's id, as it stands in headers and in JSON, and as a number of 128 bits.
ID_DIGITS = 32
ID_BYTES = ID_DIGITS // 2
# Results in one record, and so places: a result's place in its partition is one number, by which readers say how far they are.
MOST_RESULTS = 1000
# A record that we write is closed with the result that reaches this: with its headers it stays far under Kafka's default bound of 1 MiB,
# and a reader that fetches a few hundred of them at once holds some MiB.
CLOSE_AT_BYTES = 64 * 1024

CLOSE_KIND = b"close"
FAILED_KIND = b"failed"


def place_of(offset: int) -> int:
    """The first place of a record.

    A record's results have its last places, whatever their number: so who has had the last one goes on with the next record, and need not
    look into this one again.
    """
    return offset * MOST_RESULTS


def offset_of(place: int) -> int:
    """The offset of the record in which a place lies."""
    return place // MOST_RESULTS


def label_headers(
    *, job: str, images: str, revision: int, tenant: str, failed: bool, traceparent: str | None = None, by: bytes = b""
) -> Headers:
    """What a reader needs to skip, de-duplicate, count or refuse results without parsing their JSON.

    Args:
        job: the job's random part, 32 hex digits.
        images: the ids of the record's results, 32 hex digits each, one behind the other, in the order of the lines.
        revision: of all of them.
        tenant: whose job it is.
        failed: True for results without a label.
        traceparent: of all of them, W3C trace context; None as a rule.
        by: which process made them, in which batch: `made_by`; empty for nobody's business.
    """
    headers: Headers = [
        ("wire", WIRE_VERSION_HEADER),
        ("job", job.encode()),
        ("image", images.encode()),
        ("revision", b"%d" % revision),
        ("tenant", tenant.encode()),
    ]
    if failed:
        headers.append(("kind", FAILED_KIND))
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode()))
    if by:
        headers.append(("by", by))
    return headers


def made_by(process: str, batch: int, images: int) -> bytes:
    """Who made results, for people who follow one: the process, the how-manyeth batch of it, and how many images that had."""
    return f"{process}/{batch}/{images}".encode()


def close_headers(*, job: str, tenant: str) -> Headers:
    """Headers of the record that tells how many images a job has; it lies among the job's results, and the largest number wins."""
    return [("wire", WIRE_VERSION_HEADER), ("kind", CLOSE_KIND), ("job", job.encode()), ("tenant", tenant.encode())]


def close_value(images: int) -> bytes:
    """Value of a close record."""
    return orjson.dumps({"images": images})


class Results:
    """Results that may travel together: of one job and tenant, one revision, one trace, all labels or all failures.

    Args:
        job: the job's random part, 32 hex digits.
        tenant: whose job it is.
        revision: of the images.
        failed: True for results without a label.
        traceparent: W3C trace context, or None.
        by: who made them, from `made_by`.
    """

    __slots__ = ("_by", "_failed", "_job", "_revision", "_tenant", "_traceparent", "images", "values")

    def __init__(self, job: str, tenant: str, revision: int, *, failed: bool, traceparent: str | None = None, by: bytes = b"") -> None:
        self._job = job
        self._tenant = tenant
        self._revision = revision
        self._failed = failed
        self._traceparent = traceparent
        self._by = by
        # Ids, and each one's JSON: filled by the owner.
        self.images: list[str] = []
        self.values: list[bytes] = []

    def records(self) -> Iterator[tuple[Headers, bytes]]:
        """Headers and value of as few records as hold them, in order.

        An id that is none is its sender's mistake. It travels alone, so that readers, who pass its record over, miss nothing else.
        """
        images, values = self.images, self.values
        if len(images) > 1 and not _are_ids(images):
            for image, value in zip(images, values, strict=True):
                yield self._record([image], [value])
            return
        first = size = 0
        for last, value in enumerate(values):
            size += len(value)
            if size >= CLOSE_AT_BYTES or last + 1 - first == MOST_RESULTS:
                yield self._record(images[first : last + 1], values[first : last + 1])
                first, size = last + 1, 0
        if first < len(values):
            yield self._record(images[first:], values[first:])

    def _record(self, images: list[str], values: list[bytes]) -> tuple[Headers, bytes]:
        together = "".join(images)
        headers = label_headers(
            job=self._job,
            images=together,
            revision=self._revision,
            tenant=self._tenant,
            failed=self._failed,
            traceparent=self._traceparent,
            by=self._by,
        )
        return headers, b"\n".join(values)


def _are_ids(images: Sequence[str]) -> bool:
    try:
        unhexlify("".join(images))
    except ValueError:
        return False
    return set(map(len, images)) == {ID_DIGITS}


# Not frozen: freezing triples the cost of making one.
@dataclass(slots=True)
class ReplyHeaders:
    """The headers of a record in the labels topic.

    Attributes:
        job: the job's random part, 32 hex digits.
        tenant: whose job it is.
        ids: those of the results in the record, 16 bytes each, in order; None in the record that closes the job.
        revision: of the results; 0 for a close.
        failed: True for results without a label.
    """

    job: str
    tenant: str
    ids: bytes | None
    revision: int
    failed: bool

    @property
    def images(self) -> list[str]:
        """The ids as text; none in a close."""
        digits = (self.ids or b"").hex()
        return [digits[at : at + ID_DIGITS] for at in range(0, len(digits), ID_DIGITS)]

    @classmethod
    def parse(cls, headers: AnyHeaders | None) -> ReplyHeaders:
        """Read the headers of a record of the labels topic.

        Raises:
            NewerWireVersion: written by a newer version.
            WireError: not a record of ours.
        """
        found = checked_headers(headers)
        get = found.get
        job, tenant, kind, revision = _in_common(get("job"), get("tenant"), get("kind"), get("revision"))
        if kind == CLOSE_KIND:
            return cls(job, tenant, None, 0, False)
        return cls(job, tenant, _ids(required_header(found, "image")), revision, kind == FAILED_KIND)


_Header = bytes | str | None


# They repeat from record to record of a job, and parsing them would be most of what a record of a single result costs.
@lru_cache(maxsize=64)
def _in_common(job: _Header, tenant: _Header, kind: _Header, revision: _Header) -> tuple[str, str, bytes | None, int]:
    """What the records of a job have in common; a close has no revision.

    Raises:
        WireError: one is missing, or not as it must be.
    """
    found = {"job": job, "tenant": tenant, "revision": revision}
    known = header_bytes(kind)
    return (
        required_header(found, "job"),
        required_header(found, "tenant"),
        known,
        0 if known == CLOSE_KIND else required_number(found, "revision"),
    )


def _ids(digits: str) -> bytes:
    """Ids as bytes.

    Raises:
        WireError: they are none, or too many.
    """
    try:
        ids = unhexlify(digits)
    except ValueError:
        ids = b""
    if not ids or len(ids) % ID_BYTES or len(ids) > MOST_RESULTS * ID_BYTES:
        raise WireError(f"a result for {digits[:40]!r}, which is no image id: it has 32 hex digits (docs/wire.md)")
    return ids


def values_in(value: bytes | None, count: int) -> list[bytes]:
    """The JSON objects of a record, each one line that begins with `{"` and ends with `}`, so that a member can be put in front.

    A line break would end a result early in NDJSON and in SSE. What is written as we write it is only looked at from outside; an object
    in an unusual form is written anew.

    Args:
        value: of the record.
        count: how many results its headers name.

    Raises:
        WireError: they are not as many, or one of them is no JSON object, or an empty one.
    """
    found = value or b""
    if count == 1 and found[:2] == b'{"' and found[-1] == 0x7D and b"\n" not in found and b"\r" not in found:
        return [found]
    if found[:2] == b'{"' and found[-1] == 0x7D and b"\r" not in found and found.count(b"\n") == found.count(b'}\n{"') == count - 1:
        return found.split(b"\n")
    lines = found.splitlines() if count > 1 else [found]
    if len(lines) != count:
        raise WireError(f"a record of {count} results has {len(lines)} lines (docs/wire.md)")
    return [_one_line(line) for line in lines]


def _one_line(value: bytes) -> bytes:
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict) or not parsed:
        raise WireError(f"a result whose value is no JSON object: {value[:80]!r} (docs/wire.md)")
    return orjson.dumps(parsed)


def labels_in(headers: AnyHeaders | None, value: bytes | None) -> list[LabelRecord]:
    """All results of a record; none in the record that closes a job.

    Raises:
        NewerWireVersion: written by a newer version.
        WireError: not a record of ours.
    """
    found = ReplyHeaders.parse(headers)
    if found.ids is None:
        return []
    return [LabelRecord.from_json(each) for each in values_in(value, len(found.ids) // ID_BYTES)]


def parse_close(value: bytes | None) -> int:
    """The number of images in a close record.

    Raises:
        WireError: not a close record.
    """
    try:
        images = orjson.loads(value or b"")["images"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise WireError(f"not a close record: {(value or b'')[:80]!r}") from error
    if not isinstance(images, int) or images < 0:
        raise WireError(f"a close record with images={images!r}, not a number from 0")
    return images
