"""Job ids: signed capabilities that carry all a server needs to know of a job, so that no server has to remember it.

Owns no connection and no state. Knows the keys; never logs a token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from convnet_kafka.errors import ConvnetKafkaError, KafkaUnavailable
from convnet_kafka.messages import Lane, now_ms

# version, random part, opened at (ms), partition, offset, labels topic's UUID; the tenant's UTF-8 follows, then the signature.
_LAYOUT = struct.Struct(">B16sQIQ16s")
# The version says the lane too: a server that does not know of lanes must not put such a job's images into the other one.
_LANES = {1: Lane.BULK, 2: Lane.FAST}
_VERSIONS = {lane: version for version, lane in _LANES.items()}
# HMAC-SHA256 cut to 128 bits (RFC 2104, section 5): as hard to guess as the random part itself.
_SIGNATURE_BYTES = 16
MIN_KEY_BYTES = 32
# A clock of another pod may be ahead by a little; a job opened later than that was never ours.
_CLOCK_SKEW_MS = 300_000


class JobError(ConvnetKafkaError):
    """A job id that gives no access."""


class JobUnknown(JobError):
    """The id is forged, damaged, or another tenant's; which of them is not told."""


class JobExpired(JobError):
    """The job's life is over."""


class JobOfAnotherCluster(JobError):
    """The labels topic was made anew since the job was opened: its results are gone."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a job id says.

    Attributes:
        id: the random part, 32 hex digits; the only part that stands in headers, logs and traces.
        tenant: whose job it is.
        opened_at_ms: milliseconds since the epoch.
        partition: partition of the labels topic that holds its results.
        offset: no result of the job lies before this offset of that partition.
        topic_id: UUID of the labels topic, 16 bytes.
        lane: where its images wait.
    """

    id: str
    tenant: str
    opened_at_ms: int
    partition: int
    offset: int
    topic_id: bytes
    lane: Lane = Lane.BULK


class JobSigner:
    """Opens jobs and reads their ids.

    Args:
        keys: one or two secrets of at least 32 bytes; the first signs, all are accepted, so that they can be rotated.
        topic_id: gives the labels topic's UUID, 16 bytes, or nothing while Kafka has not told it.
        life_ms: milliseconds a job lives.
    """

    def __init__(self, keys: Sequence[bytes], topic_id: Callable[[], bytes], life_ms: int) -> None:
        if not keys or any(len(key) < MIN_KEY_BYTES for key in keys):
            raise ValueError(f"signing keys must have {MIN_KEY_BYTES} bytes or more")
        self._keys = tuple(keys)
        self._topic_id = topic_id
        self._life_ms = life_ms

    def open(self, tenant: str, partition: int, offset: int, lane: Lane = Lane.BULK) -> Job:
        """A new job whose results will lie in this partition, at this offset or later.

        Raises:
            KafkaUnavailable: the labels topic is not known yet.
        """
        return Job(secrets.token_hex(16), tenant, now_ms(), partition, offset, self._known_topic_id(), lane)

    def token(self, job: Job) -> str:
        """The id that the caller gets: URL-safe, about 100 characters."""
        body = _LAYOUT.pack(_VERSIONS[job.lane], bytes.fromhex(job.id), job.opened_at_ms, job.partition, job.offset, job.topic_id)
        body += job.tenant.encode()
        return base64.urlsafe_b64encode(body + _signature(self._keys[0], body)).rstrip(b"=").decode()

    def parse(self, token: str, tenant: str) -> Job:
        """Check an id and read it.

        Raises:
            JobUnknown: not signed by us, or not this tenant's.
            JobExpired: its life is over.
            JobOfAnotherCluster: it belongs to a labels topic that is gone.
            KafkaUnavailable: the labels topic is not known yet.
        """
        body = self._verified(token)
        version, random, opened_at_ms, partition, offset, topic_id = _LAYOUT.unpack_from(body)
        job = Job(random.hex(), body[_LAYOUT.size :].decode(), opened_at_ms, partition, offset, topic_id, _LANES[version])
        if job.tenant != tenant or opened_at_ms > now_ms() + _CLOCK_SKEW_MS:
            raise _unknown()
        if now_ms() > self.expires_at_ms(job):
            raise JobExpired("this job has expired: its labels can no longer be read; open a new job and send the images again")
        if topic_id != self._known_topic_id():
            raise JobOfAnotherCluster("this job was opened on another Kafka, or its labels topic was made anew: open a new job")
        return job

    def expires_at_ms(self, job: Job) -> int:
        """When the job's life ends, milliseconds since the epoch."""
        return job.opened_at_ms + self._life_ms

    def _known_topic_id(self) -> bytes:
        topic_id = self._topic_id()
        if not topic_id:
            raise KafkaUnavailable("Kafka has not told about the labels topic yet: try again in a moment")
        return topic_id

    def _verified(self, token: str) -> bytes:
        raw = _decoded(token)
        if raw is None:
            raise _unknown()
        body, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
        if len(body) < _LAYOUT.size or body[0] not in _LANES:
            raise _unknown()
        # Every key is tried, in constant time each, so that the answer's time tells nothing.
        genuine = [hmac.compare_digest(_signature(key, body), signature) for key in self._keys]
        if not any(genuine):
            raise _unknown()
        return body


def random_part(token: str) -> str:
    """The part of an id that gives no access, for logs; empty when it has none. Whether the id is genuine is not looked at."""
    raw = _decoded(token)
    return _LAYOUT.unpack_from(raw)[1].hex() if raw is not None and len(raw) >= _LAYOUT.size else ""


def unverified(token: str) -> Job | None:
    """What an id says, its signature not looked at; None when it is none. For who reads Kafka itself, and so sees every job anyway."""
    raw = _decoded(token)
    if raw is None or len(raw) < _LAYOUT.size + _SIGNATURE_BYTES or raw[0] not in _LANES:
        return None
    version, random, opened_at_ms, partition, offset, topic_id = _LAYOUT.unpack_from(raw)
    try:
        tenant = raw[_LAYOUT.size : -_SIGNATURE_BYTES].decode()
    except UnicodeDecodeError:
        return None
    return Job(random.hex(), tenant, opened_at_ms, partition, offset, topic_id, _LANES[version])


def _decoded(token: str) -> bytes | None:
    try:
        return base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, hashlib.sha256)[:_SIGNATURE_BYTES]


def _unknown() -> JobUnknown:
    return JobUnknown("there is no such job: check the id, or open one with POST /v1/jobs")
