"""The records on the wire: what is in an image and its headers, and what one result says (docs/wire.md).

Owns no connection and knows nothing of HTTP; how results lie in the labels topic stands in `replies.py`. Within a wire version fields
and headers are only added, never changed. Everything on the hot path is a plain function or a slotted dataclass: a record is built and
read in a microsecond or two.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import orjson

from convnet_kafka.errors import NewerWireVersion, WireError

WIRE_VERSION = 1
WIRE_VERSION_HEADER = str(WIRE_VERSION).encode()

# Bounds on what a sender chooses: with the fixed headers they stay far under the 64 KiB that a dead letter may add to an image.
MAX_NAME_BYTES = 1024
MAX_CONTENT_TYPE_BYTES = 100
MAX_TENANT_BYTES = 64
MAX_DETAIL_BYTES = 500
# Kafka numbers partitions in 32 bits, signed; a larger number could not even be handed to a producer.
MAX_PARTITION = 2**31 - 1
# W3C Trace Context, version 00; what does not look like this is passed over.
_TRACEPARENT = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

# Uploads whose headers a reader of images remembers: a batch holds images of a few of them.
_UPLOADS_KEPT = 1000

Headers = list[tuple[str, bytes]]
# Class names and their probabilities, the best first.
Top = tuple[tuple[str, float], ...]
# What confluent-kafka gives: a list of pairs, or what a caller set as a dictionary.
AnyHeaders = Mapping[str, bytes | str | None] | Iterable[tuple[str, bytes | str | None]]


class Lane(StrEnum):
    """Which queue an image waits in."""

    BULK = "bulk"
    FAST = "fast"


class FailureCode(StrEnum):
    """Why an accepted image has no label. Stable: clients may branch on it."""

    UNDECODABLE = "undecodable"
    TOO_LARGE = "too-large"
    UNSUPPORTED = "unsupported"
    MODEL_ERROR = "model-error"
    QUARANTINED = "quarantined"
    CANCELLED = "cancelled"


def image_id(job: str, name: str, content: bytes) -> str:
    """The id of an image: the same name and bytes within a job always give the same id, whoever sends them, and how often.

    Args:
        job: the job's random part, 32 hex digits.
        name: the image's name as the sender gave it, any Unicode.
        content: the encoded file, untouched.

    Returns:
        32 hex digits: 128-bit BLAKE2b (RFC 7693) keyed by the job's 16 random bytes, over the name's length in 4 bytes big endian, the
        name in UTF-8, and the content.
    """
    return _image_id(_keyed(job), name.encode(), content)


def _keyed(job: str) -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16, key=bytes.fromhex(job))


def _image_id(keyed: hashlib.blake2b, name: bytes, content: bytes) -> str:
    digest = keyed.copy()
    digest.update(len(name).to_bytes(4, "big") + name)
    digest.update(content)
    return digest.hexdigest()


def now_ms() -> int:
    """Milliseconds since the epoch, the wire's only clock."""
    return time.time_ns() // 1_000_000


Found = Mapping[str, bytes | str | None]


def checked_headers(headers: AnyHeaders | None) -> Found:
    """Headers by name, checked for the wire version.

    Raises:
        NewerWireVersion: written by a newer version.
        WireError: not a record of ours.
    """
    found: dict[str, bytes | str | None] = headers if isinstance(headers, dict) else dict(headers or ())
    if found.get("wire") == WIRE_VERSION_HEADER:
        return found
    version = header_bytes(found.get("wire"))
    if version is None or not version.isdigit():
        raise WireError("the record has no header 'wire' with a version number: it was not written by convnet-kafka (docs/wire.md)")
    if int(version) > WIRE_VERSION:
        raise NewerWireVersion(f"the record has wire version {version.decode()}, this software reads up to {WIRE_VERSION}: upgrade it")
    return found


def header_bytes(value: bytes | str | None) -> bytes | None:
    """A header's value as confluent-kafka reads it; a caller may also have set text."""
    return value.encode() if isinstance(value, str) else value


def traceparent_of(value: bytes | str | None) -> str | None:
    """A `traceparent` as it is passed on, or None when there is none that is well-formed."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return text if text is not None and _TRACEPARENT.fullmatch(text) else None


def required_header(headers: Found, name: str) -> str:
    """One header as text."""
    value = headers.get(name)
    if value is None:
        raise WireError(f"the record has no header {name!r} (docs/wire.md)")
    try:
        return value if isinstance(value, str) else value.decode()
    except UnicodeDecodeError:
        raise WireError(f"the record's header {name!r} is not UTF-8 (docs/wire.md)") from None


def required_number(headers: Found, name: str) -> int:
    """One header as a non-negative decimal number."""
    value = header_bytes(headers.get(name))
    if value is None or not value.isdigit() or len(value) > 19:
        raise WireError(f"the record's header {name!r} is {(value or b'')[:40]!r}, not a number (docs/wire.md)")
    return int(value)


def image_base_headers(*, job: str, reply_partition: int, tenant: str, traceparent: str | None, submitted_at_ms: int) -> Headers:
    """The headers that all images of one upload share; `image_headers` adds what differs."""
    headers: Headers = [
        ("wire", WIRE_VERSION_HEADER),
        ("job", job.encode()),
        ("reply-partition", b"%d" % reply_partition),
        ("tenant", tenant.encode()),
        ("submitted-at", b"%d" % submitted_at_ms),
    ]
    if traceparent:
        headers.append(("traceparent", traceparent.encode()))
    return headers


def image_headers(base: Headers, *, image: str, name: str, content_type: str, revision: int = 0) -> Headers:
    """All headers of one image record."""
    headers = [*base, ("image", image.encode()), ("name", name.encode()), ("content-type", content_type.encode())]
    if revision:
        headers.append(("revision", b"%d" % revision))
    return headers


class ImageWriter:
    """Gives the images of one upload their ids and headers. Keeps what they share: 1.2 us an image of 500 bytes, most of it the hash.

    Args:
        job: the job's random part, 32 hex digits.
        reply_partition: the partition of the labels topic that results go to.
        tenant: whose images they are.
        submitted_at_ms: when they were accepted, milliseconds since the epoch.
    """

    __slots__ = ("_common", "_keyed")

    def __init__(self, *, job: str, reply_partition: int, tenant: str, submitted_at_ms: int) -> None:
        # The state of the hash after the key.
        self._keyed = _keyed(job)
        self._common = image_base_headers(
            job=job, reply_partition=reply_partition, tenant=tenant, traceparent=None, submitted_at_ms=submitted_at_ms
        )

    def write(self, name: str, content: bytes, content_type: str) -> tuple[str, Headers]:
        """The id of an image, as of `image_id`, and all headers of its record."""
        raw = name.encode()
        image = _image_id(self._keyed, raw, content)
        return image, [*self._common, ("image", image.encode()), ("name", raw), _content_type(content_type)]


@lru_cache(maxsize=64)
def _content_type(content_type: str) -> tuple[str, bytes]:
    return "content-type", content_type.encode()


# Not frozen: freezing triples the cost of making one (1.6 us of 2.4 us), and one is made for every image.
@dataclass(slots=True)
class ImageRecord:
    """One image waiting for its label.

    Attributes:
        job: the job's random part, 32 hex digits.
        image: the image's id, 32 hex digits.
        name: the name the sender gave it.
        content_type: as the sender said, never trusted; may be empty.
        reply_partition: the partition of the labels topic its result goes to.
        tenant: whose image it is.
        submitted_at_ms: when a server accepted it, milliseconds since the epoch.
        revision: 0, and one more each time an operator replays it.
        traceparent: W3C trace context, well-formed, or None.
        content: the encoded file, untouched.
    """

    job: str
    image: str
    name: str
    content_type: str
    reply_partition: int
    tenant: str
    submitted_at_ms: int
    revision: int
    traceparent: str | None
    content: bytes

    @classmethod
    def parse(cls, headers: AnyHeaders | None, value: bytes | None) -> ImageRecord:
        """Read a record of the topics `images`, `images.fast` or `images.dlq`.

        Raises:
            NewerWireVersion: written by a newer version; stop rather than guess.
            WireError: not a record of ours.
        """
        found = checked_headers(headers)
        reply_partition = required_number(found, "reply-partition")
        if reply_partition > MAX_PARTITION:
            raise WireError(f"the record's header 'reply-partition' is {reply_partition}: Kafka has no such partition (docs/wire.md)")
        return cls(
            job=required_header(found, "job"),
            image=required_header(found, "image"),
            name=required_header(found, "name"),
            content_type=(header_bytes(found.get("content-type")) or b"").decode("utf-8", "replace"),
            reply_partition=reply_partition,
            tenant=required_header(found, "tenant"),
            submitted_at_ms=required_number(found, "submitted-at"),
            revision=required_number(found, "revision") if "revision" in found else 0,
            traceparent=traceparent_of(found["traceparent"]) if "traceparent" in found else None,
            content=value or b"",
        )


class ImageReader:
    """Reads image records, for one thread. What an upload's images have in common is parsed once: half the cost of `ImageRecord.parse`."""

    __slots__ = ("_uploads",)

    def __init__(self) -> None:
        # Headers that are the same for all images of an upload, and what they say: job, reply partition, tenant, time, trace context.
        self._uploads: dict[tuple[bytes | str | None, ...], tuple[str, int, str, int, str | None]] = {}

    def read(self, headers: AnyHeaders | None, value: bytes | None) -> ImageRecord:
        """As `ImageRecord.parse`."""
        found = dict(headers or ())
        get = found.get
        upload = get("wire"), get("job"), get("reply-partition"), get("tenant"), get("submitted-at"), get("traceparent")
        known = self._uploads.get(upload)
        if known is None or "revision" in found:
            record = ImageRecord.parse(found, value)
            if len(self._uploads) >= _UPLOADS_KEPT:
                self._uploads.clear()
            self._uploads[upload] = record.job, record.reply_partition, record.tenant, record.submitted_at_ms, record.traceparent
            return record
        job, reply_partition, tenant, submitted_at_ms, traceparent = known
        image, name = required_header(found, "image"), required_header(found, "name")
        content_type = (header_bytes(get("content-type")) or b"").decode("utf-8", "replace")
        return ImageRecord(job, image, name, content_type, reply_partition, tenant, submitted_at_ms, 0, traceparent, value or b"")


# Not frozen, as above.
@dataclass(slots=True)
class LabelRecord:
    """The one result of one image: a label, or a failure with its reason.

    Attributes:
        image: the image's id, 32 hex digits.
        name: the name the sender gave it.
        revision: 0, or more after replays; the highest counts.
        label: class name, or None when it failed.
        confidence: probability of the label, 0 to 1, or None when it failed.
        error: stable failure code, or None when it has a label.
        detail: what was wrong, for people; at most 500 bytes; or None.
        model: version of the model that answered; None when no model was asked.
        lane: the lane it came through.
        submitted_at_ms: when a server accepted the image, milliseconds since the epoch.
        labelled_at_ms: when the classifier published this result.
        instead_of: version of a canary that failed on this image, in whose place another model answered; None as a rule.
        top: the most probable classes, best first, where that is set or the label is `uncertain`; None otherwise.
        traceparent: W3C trace context of the classifier that published this, or the image's own where that has none; None as a rule.
    """

    image: str
    name: str
    revision: int
    label: str | None
    confidence: float | None
    error: FailureCode | None
    detail: str | None
    model: int | None
    lane: Lane
    submitted_at_ms: int
    labelled_at_ms: int
    instead_of: int | None = None
    top: Top | None = None
    traceparent: str | None = None

    def to_json(self) -> bytes:
        """The record's value. One line, so that it is also a line of NDJSON."""
        value: dict[str, Any] = {"image": self.image, "name": self.name, "revision": self.revision}
        if self.error is None:
            value["label"] = self.label
            value["confidence"] = self.confidence
        else:
            value["error"] = self.error
            value["detail"] = self.detail
        value["model"] = self.model
        value["lane"] = self.lane
        value["submitted_at_ms"] = self.submitted_at_ms
        value["labelled_at_ms"] = self.labelled_at_ms
        if self.instead_of is not None:
            value["instead_of"] = self.instead_of
        if self.top is not None:
            value["top"] = self.top
        if self.traceparent is not None:
            value["traceparent"] = self.traceparent
        return orjson.dumps(value)

    @classmethod
    def from_json(cls, value: bytes | Mapping[str, Any]) -> LabelRecord:
        """Read a record's value, or a parsed line of the labels stream.

        Raises:
            WireError: not a label record.
        """
        try:
            fields = orjson.loads(value) if isinstance(value, bytes) else value
            error, top = fields.get("error"), fields.get("top")
            return cls(
                image=fields["image"],
                name=fields["name"],
                revision=fields["revision"],
                label=fields.get("label"),
                confidence=fields.get("confidence"),
                error=FailureCode(error) if error is not None else None,
                detail=fields.get("detail"),
                model=fields.get("model"),
                lane=Lane(fields["lane"]),
                submitted_at_ms=fields["submitted_at_ms"],
                labelled_at_ms=fields["labelled_at_ms"],
                instead_of=fields.get("instead_of"),
                top=tuple((name, probability) for name, probability in top) if top is not None else None,
                traceparent=fields.get("traceparent"),
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error_:
            raise WireError(f"not a label record ({error_}): {bytes(value)[:80] if isinstance(value, bytes) else value!r}") from error_


def clip(text: str, limit: int) -> str:
    """The text, cut to at most `limit` bytes of UTF-8 without splitting a character; ends in an ellipsis when cut."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return text if text.isascii() else encoded.decode()
    return encoded[: limit - 3].decode("utf-8", "ignore") + "…"
