"""What a check finds: whether that is well, what was seen, and what to do. A secret never stands in one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How it stands. Stable: scripts branch on it."""

    PASS = "pass"  # noqa: S105 - a word
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report.

    Attributes:
        status: how it stands.
        found: what was seen, to what it was done.
        do: what to do; empty when there is nothing to do.
        check: name of the check that found it; set by who runs it.
    """

    status: Status
    found: str
    do: str = ""
    check: str = ""


# A check gives any number of findings; one that gives none had nothing to say here.
Findings = Iterator[Finding]


def well(found: str) -> Finding:
    """All is as it must be."""
    return Finding(Status.PASS, found)


def warn(found: str, do: str) -> Finding:
    """It works, and somebody should know."""
    return Finding(Status.WARN, found, do)


def fail(found: str, do: str) -> Finding:
    """It does not work, or will lose something."""
    return Finding(Status.FAIL, found, do)


def skip(why: str) -> Finding:
    """It could not be looked at here, which is no fault."""
    return Finding(Status.SKIP, why)
