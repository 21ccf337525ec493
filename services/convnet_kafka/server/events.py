"""One result on its way to its readers, and the forms it takes there: each form is made once and shared by all who follow the job.

Pure values: no waiting, no Kafka. The stored JSON is passed on as it is; only a record in an unusual form is parsed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import orjson

# Of `confidence` in a result that has none: no result is below any bound by it.
_NO_CONFIDENCE = float("inf")


# Not frozen: freezing doubles the cost of making one, and one is made for every result.
@dataclass(slots=True)
class LabelEvent:
    """One result.

    Attributes:
        place: where it lies in the labels partition; the cursor after it.
        value: the LabelRecord's JSON object, one line.
        failed: True for a result without a label.
    """

    place: int
    value: bytes
    failed: bool = False
    _ndjson: bytes | None = field(default=None, init=False, repr=False, compare=False)
    _sse: bytes | None = field(default=None, init=False, repr=False, compare=False)
    _confidence: float | None = field(default=None, init=False, repr=False, compare=False)

    def ndjson(self) -> bytes:
        """A line of NDJSON."""
        if self._ndjson is None:
            self._ndjson = line(self) + b"\n"
        return self._ndjson

    def sse(self) -> bytes:
        """An event of an SSE stream, whose id is the cursor."""
        if self._sse is None:
            place = self.place
            self._sse = b'id: %d\nevent: label\ndata: {"cursor":"%d",%b\n\n' % (place, place, self.value[1:])
        return self._sse

    def confidence(self) -> float:
        """Of a label, 0 to 1; infinite when the result has none. Parsed when first asked for."""
        if self._confidence is None:
            value = None if self.failed else orjson.loads(self.value).get("confidence")
            self._confidence = float(value) if isinstance(value, int | float) else _NO_CONFIDENCE
        return self._confidence


Wanted: TypeAlias = Callable[[LabelEvent], bool]


def line(event: LabelEvent) -> bytes:
    """A label as the caller gets it: the stored object with its cursor in front, never parsed on the way."""
    return b'{"cursor":"%d",' % event.place + event.value[1:]


def wanted(*, failed: bool | None, below: float | None) -> Wanted | None:
    """What lets through the results a caller asks for; None for everything.

    Args:
        failed: only failures (True) or only labels (False).
        below: only labels with a lower confidence.
    """
    if failed is None and below is None:
        return None
    bound = 0.0 if below is None else below

    def passes(event: LabelEvent) -> bool:
        return (failed is None or event.failed is failed) and (below is None or event.confidence() < bound)

    return passes
