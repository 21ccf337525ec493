"""The client for code without an event loop: the same calls, with the loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from convnet_kafka.client.classification import Classification
from convnet_kafka.client.given import Given
from convnet_kafka.client.label import Label
from convnet_kafka.client.options import DEFAULT_SERVER, ClientOptions
from convnet_kafka.client.progress import Progress
from convnet_kafka.client.session import Client
from convnet_kafka.messages import Lane

T = TypeVar("T")


def classify(
    sources: Given,
    server: str = DEFAULT_SERVER,
    options: ClientOptions | None = None,
    *,
    key: str | None = None,
    lane: str = Lane.BULK,
) -> Iterator[Label]:
    """Send images and yield the outcome of each, as it comes. Leaving the loop early closes the job with what was accepted.

    Args:
        sources: as `Client.classify` takes them.
        server: address of the server.
        options: how to behave.
        key: the API key, where the server asks for one.
        lane: as for `Client.classify`.

    Raises:
        SourceError: there is nothing to send.
        ServerError: the server refused, or was away for longer than the policy allows.
    """
    with SyncClient(server, options, key=key) as client:
        yield from client.classify(sources, lane=lane)


class SyncClient:
    """`Client` as an ordinary context manager; every call means what it means there. For one thread at a time.

    Args:
        server: address of the server, or of what stands before several.
        options: how to behave.
        key: the API key, where the server asks for one.
    """

    def __init__(self, server: str = DEFAULT_SERVER, options: ClientOptions | None = None, *, key: str | None = None) -> None:
        self._client = Client(server, options, key=key)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="convnet-client", daemon=True)
        self._thread.start()
        self.call(self._client.__aenter__())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        try:
            self.call(self._client.__aexit__(kind, error, trace))
            self.call(loop.shutdown_asyncgens())
            self.call(loop.shutdown_default_executor())
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
            self._loop = self._thread = None

    @property
    def server(self) -> str:
        """Address of the server."""
        return self._client.server

    def classify(
        self,
        sources: Given,
        *,
        job: str | None = None,
        lane: str = Lane.BULK,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> SyncClassification:
        """As `Client.classify`; `on_progress` is called in the client's thread."""
        return SyncClassification(self, self._client.classify(sources, job=job, lane=lane, timeout=timeout, on_progress=on_progress))

    def classify_now(self, sources: Given, *, timeout: float = 30.0) -> list[Label]:
        """As `Client.classify_now`."""
        return self.call(self._client.classify_now(sources, timeout=timeout))

    def classify_one(self, content: bytes, name: str = "image", *, timeout_s: float = 5.0) -> Label:
        """As `Client.classify_one`."""
        return self.call(self._client.classify_one(content, name, timeout_s=timeout_s))

    def results(
        self, job: str, *, wait: bool = True, failed: bool | None = None, below: float | None = None, timeout: float | None = None
    ) -> Iterator[list[Label]]:
        """As `Client.results`."""
        return self.iterate(self._client.results(job, wait=wait, failed=failed, below=below, timeout=timeout))

    def labels(self, job: str, *, wait: bool = True, failed: bool | None = None, below: float | None = None) -> Iterator[Label]:
        """As `Client.labels`."""
        for labels in self.results(job, wait=wait, failed=failed, below=below):
            yield from labels

    def status(self, job: str) -> dict[str, Any]:
        """As `Client.status`."""
        return self.call(self._client.status(job))

    def cancel(self, job: str) -> dict[str, Any]:
        """As `Client.cancel`."""
        return self.call(self._client.cancel(job))

    def close(self, job: str, images: int) -> None:
        """As `Client.close`."""
        self.call(self._client.close(job, images))

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the client's loop and wait for it. Interrupted, it is cancelled there.

        Raises:
            RuntimeError: the client is used outside of its `with`.
        """
        if self._loop is None:
            work.close()
            raise RuntimeError("the client is used outside of its `with`")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Take from an async iterator on the client's loop, one item at a time; leaving early ends it there."""
        try:
            while (item := self.call(_next(items))) is not None:
                yield item
        finally:
            if self._loop is not None and (close := getattr(items, "aclose", None)) is not None:
                self.call(close())


class SyncClassification:
    """One job in progress, as `Classification`: iterate over it, or over its `batches`. Leaving early closes the job."""

    def __init__(self, client: SyncClient, classification: Classification) -> None:
        self._client = client
        self._classification = classification

    @property
    def job(self) -> str | None:
        """The job's id, once there is one."""
        return self._classification.job

    def __iter__(self) -> Iterator[Label]:
        for labels in self.batches():
            yield from labels

    def batches(self) -> Iterator[list[Label]]:
        """Outcomes in lists, as they arrive; cheaper than one by one."""
        return self._client.iterate(self._classification.batches())

    def progress(self) -> Progress:
        """Where it stands now."""
        return self._classification.progress()

    def cancel(self) -> None:
        """As `Classification.cancel`."""
        self._client.call(self._classification.cancel())

    def close(self) -> None:
        """As `Classification.aclose`."""
        self._client.call(self._classification.aclose())


async def _next(items: AsyncIterator[T]) -> T | None:
    return await anext(items, None)
