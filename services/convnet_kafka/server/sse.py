"""The forms of a stream of labels: NDJSON, and Server-Sent Events (WHATWG HTML, section 9.2). Who writes them stands in `streams.py`.

Bytes only. In SSE an event's id is the cursor after it, so that a browser resumes by itself with `Last-Event-ID`.
"""

from __future__ import annotations

import random
from typing import Protocol

import orjson

from convnet_kafka.server.events import LabelEvent
from convnet_kafka.server.seen import JobProgress

NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"
# Browsers come back after so long: spread, so that those of a server that went away do not come all at once.
RETRY_MS = (1000, 3000)


class StreamFormat(Protocol):
    """How what a stream says is written.

    Attributes:
        content_type: of the answer.
        tells_progress: True when how far the job is has a form.
    """

    content_type: str
    tells_progress: bool

    def hello(self) -> bytes:
        """What comes first."""

    def labels(self, events: list[LabelEvent]) -> bytes:
        """Results."""

    def progress(self, progress: JobProgress) -> bytes:
        """How far the job is."""

    def heartbeat(self, cursor: int | None) -> bytes:
        """That the stream is alive; with a cursor, that all up to there was looked at."""

    def end(self, why: str, cursor: int | None, total: int | None) -> bytes:
        """That nothing more comes, and why."""


class Ndjson:
    """One JSON object a line; an empty line is a heartbeat."""

    content_type = NDJSON
    tells_progress = False

    def hello(self) -> bytes:
        """Nothing: the headers say it."""
        return b""

    def labels(self, events: list[LabelEvent]) -> bytes:
        """A line each."""
        return b"".join([event.ndjson() for event in events])

    def progress(self, _progress: JobProgress) -> bytes:
        """Nothing: a line would be taken for a label."""
        return b""

    def heartbeat(self, _cursor: int | None) -> bytes:
        """An empty line."""
        return b"\n"

    def end(self, why: str, cursor: int | None, total: int | None) -> bytes:
        """The last line."""
        return end_value(why, cursor, total) + b"\n"


class ServerSentEvents:
    """Events named `label`, `progress` and `end`; comments are heartbeats."""

    content_type = EVENT_STREAM
    tells_progress = True

    def hello(self) -> bytes:
        """How long to wait before connecting again."""
        return b"retry: %d\n\n" % random.randint(*RETRY_MS)  # noqa: S311 - spreads load, hides nothing

    def labels(self, events: list[LabelEvent]) -> bytes:
        """An event each."""
        return b"".join([event.sse() for event in events])

    def progress(self, progress: JobProgress) -> bytes:
        """Counts of images; without an id, so that it moves no cursor."""
        value = {"labelled": progress.labelled, "failed": progress.failed, "total": progress.total}
        return b"event: progress\ndata: " + orjson.dumps(value) + b"\n\n"

    def heartbeat(self, cursor: int | None) -> bytes:
        """A comment. An id without data dispatches no event and moves the cursor all the same."""
        return b":\n\n" if cursor is None else b":\nid: %d\n\n" % cursor

    def end(self, why: str, cursor: int | None, total: int | None) -> bytes:
        """The last event."""
        identity = b"" if cursor is None else b"id: %d\n" % cursor
        return identity + b"event: end\ndata: " + end_value(why, cursor, total) + b"\n\n"


def format_of(accept: str) -> StreamFormat | None:
    """The form of stream that an `Accept` header asks for, or None for a page."""
    if EVENT_STREAM in accept:
        return ServerSentEvents()
    return Ndjson() if NDJSON in accept else None


def end_value(why: str, cursor: int | None, total: int | None) -> bytes:
    """What the end of a stream says, as JSON."""
    return orjson.dumps({"end": why, "cursor": cursor_text(cursor), "total": total})


def cursor_text(cursor: int | None) -> str | None:
    """A cursor as callers get it: text, for no JSON reader may round it."""
    return None if cursor is None else str(cursor)
