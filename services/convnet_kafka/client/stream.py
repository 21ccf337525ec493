"""Reads the labels of a job as they come, and goes on where it was after anything that breaks."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson

from convnet_kafka.client.api import Api
from convnet_kafka.client.errors import BrokenAnswer
from convnet_kafka.client.label import EVERYTHING, Filter, Label
from convnet_kafka.client.retry import Patience, RetryPolicy
from convnet_kafka.errors import ServerError

# A label is some 250 bytes and at most 2 KB (messages.py); a line that goes on past this is no label.
_LONGEST_LINE = 256 * 1024
_PAGE = 10_000
# Empty pages in a row, each of them with a newer cursor: on a busy partition there is always a newer one.
_MOST_EMPTY = 20


@dataclass(frozen=True, slots=True)
class Complete:
    """The server has said all: as many images have results as the job was closed with.

    Attributes:
        total: that number.
    """

    total: int | None


@dataclass(slots=True)
class _Lines:
    """What some lines of the stream said."""

    labels: list[Label] = field(default_factory=list)
    end: dict[str, Any] | None = None
    broken: bytes | None = None


class LabelStream:
    """The results of one job, from the start.

    Args:
        api: the server.
        job: the job.
        retry: how patient to be when the server is away.
        only: which results are wanted. A server that does not know a filter gives all, so it is applied here too.
    """

    def __init__(self, api: Api, job: str, retry: RetryPolicy, only: Filter = EVERYTHING) -> None:
        self._api = api
        self._job = job
        self._retry = retry
        self._only = only
        self._patience = Patience(retry)
        self._cursor: str | None = None
        # Class names come once with every label; one object of each is enough.
        self._classes: dict[str, str] = {}

    def from_start(self) -> None:
        """Read everything once more with the next connection."""
        self._cursor = None

    async def follow(self) -> AsyncGenerator[list[Label] | Complete, None]:
        """Labels in the order of their results, in lists as they arrive, then `Complete`; iterating further connects again.

        Raises:
            ServerError: the job is unknown or expired, or the server has been away for as long as the policy allows.
        """
        while True:
            told, end = False, None
            try:
                async with self._api.labels_stream(self._job, self._cursor, self._only) as content:
                    rest = b""
                    async for chunk in content.iter_any():
                        lines = (rest + chunk).split(b"\n")
                        rest = lines.pop()
                        read = self._parse(lines)
                        if lines and read.broken is None:
                            self._patience.success()
                        if read.labels:
                            told = True
                            if wanted := self._wanted(read.labels):
                                yield wanted
                        if read.broken is not None or len(rest) > _LONGEST_LINE:
                            raise BrokenAnswer(
                                f"the labels stream from {self._api.url} has a line that is none: {read.broken or rest[:80]!r}"
                            )
                        end = read.end
                        if end is not None:
                            break
                    else:
                        raise BrokenAnswer(f"the labels stream from {self._api.url} broke off")
            except ServerError as error:
                await self._patience.wait(error)
                continue
            if end is not None and end["end"] == "complete":
                yield Complete(end.get("total"))
            elif not told:
                # A server that sends everybody away at once is not asked again at once.
                await self._retry.sleep(self._patience.pause_s(0))

    async def until_complete(self) -> AsyncGenerator[list[Label], None]:
        """Labels as they arrive until the server has said all.

        Raises:
            ServerError: as `follow`.
        """
        async with aclosing(self.follow()) as items:
            async for item in items:
                if isinstance(item, Complete):
                    return
                yield item

    async def so_far(self) -> AsyncGenerator[list[Label], None]:
        """The labels there are now, page by page, without waiting for more.

        Raises:
            ServerError: as `follow`.
        """
        empty = 0
        while True:
            try:
                page = await self._api.labels_page(self._job, self._cursor, _PAGE, self._only)
                labels = [Label.parse(item) for item in page["labels"]]
            except (KeyError, TypeError) as error:
                raise BrokenAnswer(f"the page of labels from {self._api.url} is not as docs/http.md says") from error
            except ServerError as error:
                await self._patience.wait(error)
                continue
            self._patience.success()
            before, self._cursor = self._cursor, page.get("cursor") or self._cursor
            if wanted := self._wanted(labels):
                yield wanted
            # A page may hold nothing because the server looked at others' results all the time it had.
            empty = 0 if labels else empty + 1
            if empty and (page.get("complete") or self._cursor == before or empty >= _MOST_EMPTY):
                return

    def _wanted(self, labels: list[Label]) -> list[Label]:
        return labels if self._only.passes_all else [label for label in labels if self._only.passes(label)]

    def _parse(self, lines: list[bytes]) -> _Lines:
        """Labels of whole lines; remembers how far they go."""
        found = _Lines()
        append, parse, loads, classes = found.labels.append, Label.parse, orjson.loads, self._classes
        cursor, traces = self._cursor, self._api.traces
        traced: list[str] = []
        for line in lines:
            if not line:
                continue
            try:
                item = loads(line)
                if "end" in item:
                    found.end = item
                    cursor = item.get("cursor") or cursor
                    break
                known = item.get("label")
                if known is not None:
                    item["label"] = classes.setdefault(known, known)
                append(parse(item))
                cursor = item["cursor"]
                if traces is not None and "traceparent" in item:
                    traced.append(item["traceparent"])
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
                found.broken = line
                break
        self._cursor = cursor
        if traces is not None and traced:
            traces.received(traced)
        return found
