"""A place that the doctor looks at, and what it says of it."""

from __future__ import annotations

from collections.abc import Sequence

from convnet_kafka.diagnosis.doctor.checks import examine
from convnet_kafka.diagnosis.doctor.findings import Finding, Status
from convnet_kafka.diagnosis.doctor.installation import Installation
from convnet_kafka.settings import KafkaSettings, TopicSettings

NOWHERE = "127.0.0.1:1"
# What is there answers in milliseconds, but for a machine that is busy with other tests.
PATIENCE_S = 15.0


def place(bootstrap_servers: str = NOWHERE, *, kafka: dict[str, object] | None = None, **other: object) -> Installation:
    """A place whose settings come from the test alone."""
    settings = KafkaSettings(**({"bootstrap_servers": bootstrap_servers} | (kafka or {})))  # type: ignore[arg-type]
    return Installation(**({"kafka": settings, "topics": TopicSettings(), "patience_s": PATIENCE_S} | other))  # type: ignore[arg-type]


def lines(findings: Sequence[Finding], status: Status) -> str:
    """What was found of one status, one line each, with what to do."""
    return "\n".join(f"{finding.check}: {finding.found} -> {finding.do}" for finding in findings if finding.status is status)


def examined(where: Installation, *names: str) -> list[Finding]:
    return list(examine(where, names))


def failures(where: Installation, *names: str) -> str:
    return lines(examined(where, *names), Status.FAIL)


def warnings(where: Installation, *names: str) -> str:
    return lines(examined(where, *names), Status.WARN)
