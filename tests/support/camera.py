"""A stream of pictures at a steady pace through the client library, and its books: what was told of each, when, and what readers see.

Knows nothing of what is behind the address.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from convnet_kafka.client import Client
from convnet_kafka.client.label import Label
from convnet_kafka.client.options import ClientOptions
from convnet_kafka.client.retry import RetryPolicy

# A broker, a server and the way in may be away one after the other; a client that gives up proves nothing.
PATIENCE_S = 300.0
# Pictures are made ready in steps of this.
STEP_S = 0.05


@dataclass
class Books:
    """What was seen of one stream.

    Attributes:
        job: its id.
        sent: pictures, by name: the class that each is of.
        told: outcomes, by name.
        repeated: names that were told more than once.
        times: when labels came (monotonic), one for each arrival.
        ended: when the last picture was handed to the client.
    """

    job: str = ""
    sent: dict[str, str] = field(default_factory=dict)
    told: dict[str, Label] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    ended: float = 0.0

    @property
    def longest_gap_s(self) -> float:
        """Longest time without a label while pictures were sent."""
        times = [each for each in self.times if each <= self.ended] + [self.ended]
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)

    def gap_s(self, begun: float, ended: float) -> float:
        """Longest time without a label between two moments (monotonic)."""
        times = [begun, *(each for each in self.times if begun < each < ended), ended]
        return max(later - earlier for earlier, later in pairwise(times))

    @property
    def right(self) -> float:
        """The part of the pictures whose label is their class."""
        return sum(label.label == self.sent[name] for name, label in self.told.items()) / len(self.sent)

    def balance(self) -> None:
        """Fail unless every picture that was sent was told once, with a label."""
        assert self.repeated == []
        assert self.told.keys() == self.sent.keys(), f"{len(self.told)} told of {len(self.sent)} sent"
        failed = {name: f"{label.error}: {label.detail}" for name, label in self.told.items() if label.error}
        assert failed == {}


class Camera:
    """Sends pictures from a thread of its own while the test does something else; as a context manager it ends by sending the last one.

    Args:
        url: where to.
        key: API key.
        pictures: classes and contents, sent by turns.
        pace: pictures a second.
        least: pictures at least.
        connections: uploads at once.
    """

    def __init__(
        self, url: str, key: str | None, pictures: Sequence[tuple[str, bytes]], *, pace: float, least: int = 1, connections: int = 2
    ) -> None:
        self._url = url
        self._key = key
        self._pictures = pictures
        self._pace = pace
        self._least = least
        self._options = ClientOptions(connections, RetryPolicy(give_up_s=PATIENCE_S))
        self._last = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="camera")
        self._running: Future[None] | None = None
        self.books = Books()

    def __enter__(self) -> Self:
        self._running = self._thread.submit(lambda: asyncio.run(self._stream()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            # The test has failed already; what is left to send would only hold up its message.
            self._least = 0
        self._last.set()
        if self._running is not None and error is None:
            self._running.result(PATIENCE_S + self._least / self._pace)
        self._thread.shutdown(wait=error is None, cancel_futures=True)

    def labelled(self, count: int) -> bool:
        """Whether so many labels have come; raises what ended the stream, if something did."""
        if self._running is not None and self._running.done():
            self._running.result()
        return len(self.books.told) >= count

    async def _stream(self) -> None:
        async with Client(self._url, options=self._options, key=self._key) as client:
            classification = client.classify(self._paced())
            async for labels in classification.batches():
                self.books.times.append(time.monotonic())
                for label in labels:
                    if label.name in self.books.told:
                        self.books.repeated.append(label.name)
                    self.books.told[label.name] = label
                self.books.job = classification.job or ""

    async def _paced(self) -> AsyncIterator[tuple[str, bytes]]:
        begun, number = time.monotonic(), 0
        while number < self._least or not self._last.is_set():
            due = begun + number / self._pace
            if due - time.monotonic() > STEP_S:
                await asyncio.sleep(due - time.monotonic())
            kind, content = self._pictures[number % len(self._pictures)]
            name = f"{number:06d}.png"
            self.books.sent[name] = kind
            number += 1
            yield name, content
        self.books.ended = time.monotonic()


def read_again(url: str, key: str | None, job: str) -> tuple[dict[str, tuple[str | None, str | None]], list[str]]:
    """Page through a job from its start: the result of each image by its id, and the images that were shown more than once."""
    shown: Counter[str] = Counter()
    results: dict[str, tuple[str | None, str | None]] = {}
    cursor = ""
    while True:
        page = _page(f"{url}/v1/jobs/{job}/labels?limit=5000&wait=2{cursor}", key)
        for label in page["labels"]:
            shown[label["image"]] += 1
            results[label["image"]] = (label.get("label"), label.get("error"))
        if not page["labels"]:
            return results, [image for image, times in shown.items() if times > 1]
        cursor = f"&cursor={page['cursor']}"


def _page(url: str, key: str | None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        page: dict[str, Any] = json.load(answer)
        return page


def status_of(url: str, key: str | None = None) -> int:
    """The status of a GET; 0 when there was no answer."""
    try:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
