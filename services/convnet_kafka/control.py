"""What the services tell one another through the topic `control`: model cards, aliases, cancelled jobs (docs/wire.md).

Owns the records and what they add up to; no connection, no thread. Of each key the last record counts, and one without a value takes
it away. Whoever reads the topic keeps a `ControlState`; nothing in a record may end a reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson
import structlog

from convnet_kafka.errors import NewerWireVersion, WireError
from convnet_kafka.messages import WIRE_VERSION_HEADER, AnyHeaders, Headers, checked_headers

logger = structlog.get_logger(__name__)

_MODEL, _ALIASES, _JOB, _WARM_UP = "model/", "aliases", "job/", "warm-up"
_JOB_DIGITS = 32
# Some 200 bytes each: what a caller who cancels without end may cost every process, 10 MB. The oldest are let go first.
MAX_CANCELLED = 50_000


class ControlKind(StrEnum):
    """What a record is about; its header `kind`."""

    MODEL = "model"
    ALIASES = "aliases"
    CANCELLED = "cancelled"
    WARM_UP = "warm-up"


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What everybody may know of one version in the model registry.

    Attributes:
        version: 1 or more.
        classes: class names.
        height: pixels the network takes.
        width: pixels the network takes.
        channels: 1 grey, 3 RGB.
        network: which architecture.
        accuracy: by artefact, on its held-out images, 0 to 1.
        served: the artefact that is served.
        created_at_ms: milliseconds since the epoch.
    """

    version: int
    classes: tuple[str, ...]
    height: int
    width: int
    channels: int
    network: str
    accuracy: Mapping[str, float]
    served: str
    created_at_ms: int

    kind = ControlKind.MODEL

    @property
    def key(self) -> str:
        """The record's key."""
        return f"{_MODEL}{self.version}"

    def to_json(self) -> bytes:
        """The record's value."""
        return orjson.dumps(self)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> ModelRecord:
        """Read a parsed value; raises KeyError, TypeError or ValueError when it is none."""
        return cls(
            version=_number(fields["version"]),
            classes=tuple(str(name) for name in fields["classes"]),
            height=_number(fields["height"]),
            width=_number(fields["width"]),
            channels=_number(fields["channels"]),
            network=str(fields["network"]),
            accuracy={str(name): float(value) for name, value in fields["accuracy"].items()},
            served=str(fields["served"]),
            created_at_ms=_number(fields["created_at_ms"]),
        )


@dataclass(frozen=True, slots=True)
class AliasesRecord:
    """Which version answers to which name.

    Attributes:
        stable: the version that classifies, or None.
        canary: the version under trial, or None.
        canary_percent: share of the jobs whose images the canary classifies, 0 to 100.
        shadow: the version that predicts beside the stable one without being heard, or None.
    """

    stable: int | None = None
    canary: int | None = None
    canary_percent: int = 0
    shadow: int | None = None

    kind = ControlKind.ALIASES
    key = _ALIASES

    def to_json(self) -> bytes:
        """The record's value."""
        return orjson.dumps(self)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> AliasesRecord:
        """Read a parsed value; raises KeyError, TypeError or ValueError when it is none."""
        stable, canary, shadow = (None if fields.get(name) is None else _number(fields[name]) for name in ("stable", "canary", "shadow"))
        return cls(stable, canary, _number(fields.get("canary_percent", 0)), shadow)


@dataclass(frozen=True, slots=True)
class CancelledJob:
    """A job whose images need no labels any more.

    Attributes:
        job: the job's random part, 32 hex digits.
        expires_at_ms: when the job's life is over, milliseconds since the epoch; the record may be taken away then.
    """

    job: str
    expires_at_ms: int

    kind = ControlKind.CANCELLED

    @property
    def key(self) -> str:
        """The record's key."""
        return f"{_JOB}{self.job}"

    def to_json(self) -> bytes:
        """The record's value."""
        return orjson.dumps({"expires_at_ms": self.expires_at_ms})


ControlRecord = ModelRecord | AliasesRecord | CancelledJob


@dataclass(frozen=True, slots=True)
class Gone:
    """A record without a value: what this key said holds no more."""

    key: str


def control_headers(kind: ControlKind) -> Headers:
    """The headers of a record of the topic."""
    return [("wire", WIRE_VERSION_HEADER), ("kind", kind.encode())]


def model_key(version: int) -> str:
    """The key of a version's card."""
    return f"{_MODEL}{version}"


def job_key(job: str) -> str:
    """The key of a cancelled job."""
    return f"{_JOB}{job}"


WARM_UP_KEY = _WARM_UP


def parse_control(headers: AnyHeaders | None, key: bytes | str | None, value: bytes | None) -> ControlRecord | Gone | None:
    """Read a record of the topic; None for a kind that this version does not know.

    Raises:
        NewerWireVersion: written by a newer version.
        WireError: not a record of ours.
    """
    checked_headers(headers)
    try:
        name = key.decode("ascii") if isinstance(key, bytes) else key or ""
        if value is None:
            return Gone(name)
        if name.startswith(_JOB):
            return CancelledJob(_job(name), _number(orjson.loads(value)["expires_at_ms"]))
        if name == _ALIASES:
            return AliasesRecord.from_fields(orjson.loads(value))
        if name.startswith(_MODEL):
            return _model(name, orjson.loads(value))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise WireError(f"not a control record ({error}): key {key!r}, value {(value or b'')[:80]!r}") from error
    return None


def _model(key: str, fields: Mapping[str, Any]) -> ModelRecord:
    model = ModelRecord.from_fields(fields)
    if model.key != key:
        raise ValueError(f"it is about version {model.version}")
    return model


def _job(key: str) -> str:
    job = key.removeprefix(_JOB)
    if len(job) != _JOB_DIGITS or bytes.fromhex(job).hex() != job:
        raise ValueError("the key names no job")
    return job


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a number from 0")
    return value


@dataclass(slots=True)
class ControlState:
    """What the topic says so far. One thread applies records; others look things up, one lookup at a time.

    Attributes:
        models: cards by version; replaced by another dictionary with each change, never changed itself.
        aliases: None before the first record.
        cancelled: when the life of each cancelled job is over, milliseconds since the epoch, by the job's random part.
    """

    models: Mapping[int, ModelRecord] = field(default_factory=dict)
    aliases: AliasesRecord | None = None
    cancelled: dict[str, int] = field(default_factory=dict)

    def apply(self, headers: AnyHeaders | None, key: bytes | str | None, value: bytes | None) -> None:
        """Take in one record. What cannot be read is told and passed over: the topic is not worth a stop."""
        try:
            record = parse_control(headers, key, value)
        except NewerWireVersion as error:
            logger.warning("a record of the control topic is passed over; upgrade to read it", key=str(key), reason=str(error))
            return
        except WireError as error:
            logger.warning("a record of the control topic is passed over", reason=str(error))
            return
        if isinstance(record, CancelledJob):
            self.cancel(record)
        elif isinstance(record, AliasesRecord):
            self.aliases = record
        elif isinstance(record, ModelRecord):
            self.models = {**self.models, record.version: record}
        elif isinstance(record, Gone):
            self._take_away(record.key)

    def cancel(self, record: CancelledJob) -> None:
        """Note a cancelled job; past `MAX_CANCELLED` the oldest are forgotten, and their images are classified after all."""
        self.cancelled[record.job] = record.expires_at_ms
        while len(self.cancelled) > MAX_CANCELLED:
            self.cancelled.pop(next(iter(self.cancelled)), None)

    def expired(self, before_ms: int) -> list[str]:
        """Cancelled jobs whose life was over before this time."""
        return [job for job, expires_at_ms in list(self.cancelled.items()) if expires_at_ms < before_ms]

    def forget(self, jobs: Iterable[str]) -> None:
        """Forget cancelled jobs here."""
        for job in jobs:
            self.cancelled.pop(job, None)

    def _take_away(self, key: str) -> None:
        if key == _ALIASES:
            self.aliases = None
        elif key.startswith(_JOB):
            self.cancelled.pop(key.removeprefix(_JOB), None)
        elif key.startswith(_MODEL):
            self.models = {version: model for version, model in self.models.items() if model.key != key}
