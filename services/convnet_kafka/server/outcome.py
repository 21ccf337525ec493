"""What became of the images of one request: how many Kafka holds, and every one that it does not, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

NOT_ACKNOWLEDGED = "not-acknowledged"


class RefusalCode(StrEnum):
    """Why an image was refused for good. Stable: clients may branch on it."""

    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too-large"
    EMPTY = "empty"
    BAD_NAME = "bad-name"
    NOT_A_FILE = "not-a-file"
    DAMAGED = "damaged"


class Refusal(NamedTuple):
    """An image, or something in an archive that is none, that will never be accepted."""

    name: str
    code: RefusalCode
    detail: str


class Unknown(NamedTuple):
    """An image that Kafka may or may not hold: sending it again is harmless and right."""

    name: str
    detail: str


@dataclass(slots=True)
class Outcome:
    """Counts, and all that was not accepted.

    Attributes:
        accepted: images that Kafka holds with all in-sync replicas.
        refused: final refusals.
        unknown: images to be sent again.
    """

    accepted: int = 0
    refused: list[Refusal] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As docs/http.md shows it."""
        return {**self.counts(), "problems": self.problems()}

    def counts(self) -> dict[str, Any]:
        """The three numbers alone."""
        return {"accepted": self.accepted, "refused": len(self.refused), "unknown": len(self.unknown)}

    def problems(self) -> list[dict[str, str]]:
        """Every image that is not accepted."""
        refused = [{"name": item.name, "status": "refused", "code": item.code.value, "detail": item.detail} for item in self.refused]
        unknown = [{"name": item.name, "status": "unknown", "code": NOT_ACKNOWLEDGED, "detail": item.detail} for item in self.unknown]
        return refused + unknown
