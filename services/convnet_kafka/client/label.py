"""What a caller gets for each image: its label, or why it has none; and which of them a caller wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

# Why an image has no label although no classifier refused it. The other codes come from the server and the classifiers (docs/http.md).
UNREADABLE = "unreadable"
TOO_LARGE = "too-large"
BAD_NAME = "bad-name"
NOT_ACCEPTED = "not-accepted"
MISSING = "missing"


class Label(NamedTuple):
    """The outcome of one image. A named tuple: half the price of a frozen dataclass, and a row of a table as it stands.

    Attributes:
        name: the image's name within its job.
        label: class name, or None when it has no label.
        confidence: probability of the label, 0 to 1, or None.
        error: stable code of why it has no label, or None when it has one.
        detail: what was wrong, for people, or None.
        model: version of the model that answered; None when no model was asked.
        revision: 0, or more after an operator replayed the image; the highest counts.
        image: the image's id, 32 hex digits; None when no server accepted it.
        top: the most probable classes, each with its probability, best first; None unless classifiers are set to name them, or the label
            is `uncertain`.
    """

    name: str
    label: str | None
    confidence: float | None
    error: str | None
    detail: str | None
    model: int | None
    revision: int
    image: str | None
    top: tuple[tuple[str, float], ...] | None = None

    @classmethod
    def parse(cls, item: Mapping[str, Any]) -> Label:
        """Read a line of the stream or an item of a page.

        Raises:
            KeyError: it is not a label.
        """
        get = item.get
        top = get("top")
        return cls(
            item["name"],
            get("label"),
            get("confidence"),
            get("error"),
            get("detail"),
            get("model"),
            item["revision"],
            item["image"],
            tuple((name, probability) for name, probability in top) if top is not None else None,
        )


def printable(text: str) -> str:
    """Any text for people's eyes: what cannot be seen, moves a terminal's cursor, or turns the reading direction round, is written out."""
    return text if text.isprintable() else "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def failure(name: str, code: str, detail: str) -> Label:
    """The outcome of an image that no server accepted."""
    return Label(name, None, None, code, detail, None, 0, None)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which results are wanted; all by default.

    Attributes:
        failed: only images without a label (True) or with one (False).
        below: only labels less sure than this, 0 to 1.
    """

    failed: bool | None = None
    below: float | None = None

    @property
    def query(self) -> dict[str, str]:
        """As the server reads it."""
        failed = {} if self.failed is None else {"failed": "true" if self.failed else "false"}
        return failed | ({} if self.below is None else {"below": f"{self.below:g}"})

    @property
    def passes_all(self) -> bool:
        """Whether nothing is filtered."""
        return self.failed is None and self.below is None

    def passes(self, label: Label) -> bool:
        """Whether a result is wanted."""
        if self.failed is not None and (label.error is not None) is not self.failed:
            return False
        return self.below is None or (label.confidence is not None and label.confidence < self.below)


EVERYTHING = Filter()
