"""The client as an async library: opens a job, sends images, yields labels as they come, closes the job with the exact number.

    async with Client("http://127.0.0.1:8080") as client:
        async for label in client.classify(["pictures"]):
            print(label.name, label.label or label.error)

Every image of the sources gets exactly one outcome. Memory is some 0.3 KB an image for the books, and what is being sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from convnet_kafka.client.api import Api, BrokenAnswer
from convnet_kafka.client.label import MISSING, Label, failure
from convnet_kafka.client.mailbox import Mailbox
from convnet_kafka.client.outcomes import Outcomes
from convnet_kafka.client.packing import Batch
from convnet_kafka.client.progress import Progress
from convnet_kafka.client.retry import Patience, RetryPolicy
from convnet_kafka.client.sources import Sources
from convnet_kafka.client.stream import Complete, LabelStream
from convnet_kafka.client.uploads import LONGEST_REQUEST_S, Uploads
from convnet_kafka.errors import ServerError, SettingsError

DEFAULT_SERVER = "http://127.0.0.1:8080"
# One request is being read from disk, one is on the line, one waits for Kafka.
DEFAULT_CONNECTIONS = 3
# For the last word to a server that may be gone.
_FAREWELL_S = 5.0


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How a client behaves.

    Attributes:
        connections: uploads at once, 1 to 64.
        retry: how patient it is with a server that is away or busy.
    """

    connections: int = DEFAULT_CONNECTIONS
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        if not 1 <= self.connections <= 64:
            raise SettingsError(f"connections must be 1 to 64, not {self.connections}")


class Classification:
    """One job in progress: iterate over it for labels, one by one or (cheaper) in lists with `batches`.

    Made by `Client.classify`. When iterating ends early, the job is closed with what was accepted, at the latest by the client's end.
    """

    def __init__(self, api: Api, sources: Sources, options: ClientOptions, job: str | None) -> None:
        self._api = api
        self._sources = sources
        self._retry = options.retry
        self._outcomes = Outcomes(shared=job is not None)
        self._mailbox = Mailbox()
        self._uploads = Uploads(api, sources, self._outcomes, self._mailbox, options.retry, options.connections)
        self._task: asyncio.Task[None] | None = None
        self._sent_all = asyncio.Event()
        self._closed = -1
        self._started = time.monotonic()
        self.job = job

    async def __aiter__(self) -> AsyncIterator[Label]:
        """The outcome of every image."""
        async for labels in self.batches():
            for label in labels:
                yield label

    async def batches(self) -> AsyncIterator[list[Label]]:
        """The same in lists, as they arrive.

        Raises:
            SourceError: there is nothing to send; nothing was sent.
            ServerError: the server refused, or was away for longer than the policy allows; `job` names the job if there is one.
        """
        if self._task is None:
            self._sources.check()
            self._started = time.monotonic()
            self._task = asyncio.create_task(self._supervise())
        while (labels := await self._mailbox.get()) is not None:
            yield labels

    def progress(self) -> Progress:
        """Where it stands now."""
        books = self._outcomes
        return Progress(
            found=self._uploads.found,
            found_all=self._uploads.found_all,
            accepted=books.accepted,
            labelled=books.labelled,
            failed=books.failed,
            seconds=time.monotonic() - self._started,
        )

    async def aclose(self) -> None:
        """End early: no further request is begun, those in progress may end, and the job is closed with what was accepted.

        Does nothing when everything has been said. Takes at most some 10 s.
        """
        task = self._task
        if task is None:
            return
        self._uploads.stop()
        self._mailbox.discard()
        sent_all = asyncio.create_task(self._sent_all.wait())
        try:
            await asyncio.wait({task, sent_all}, timeout=LONGEST_REQUEST_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sent_all.cancel()
            task.cancel()
        await asyncio.wait({task})
        if self.job is not None and self._closed < self._outcomes.in_job:
            # Best effort: who reads the job later sees all its labels anyway, only not where they end.
            with contextlib.suppress(ServerError, TimeoutError):
                async with asyncio.timeout(_FAREWELL_S):
                    await self._api.close_job(self.job, self._outcomes.in_job)

    async def _supervise(self) -> None:
        """Run to the end and tell whoever iterates how it went."""
        try:
            await self._run()
        except BaseExceptionGroup as group:
            self._mailbox.end(_first(group))
        except Exception as error:  # noqa: BLE001 - raised where the caller iterates
            self._mailbox.end(error)
        else:
            self._mailbox.end()

    async def _run(self) -> None:
        first = await self._uploads.first()
        if not first.names and not self._uploads.found:
            raise self._sources.nothing_found()
        if not first.names:
            return
        job = self.job = self.job or await self._open()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read(job))
            await self._send(job, first)
            await self._outcomes.all_labelled()
            reading.cancel()

    async def _open(self) -> str:
        """Open a job. A server that cannot be reached at all is told at once: more often than not it is the address."""
        patience = Patience(self._retry)
        while True:
            try:
                return await self._api.open_job()
            except ServerError as error:
                if error.status is None:
                    raise
                await patience.wait(error)

    async def _send(self, job: str, first: Batch) -> None:
        await self._uploads.run(job, first)
        await self._close(job)
        self._sent_all.set()

    async def _close(self, job: str) -> None:
        patience = Patience(self._retry)
        images = self._outcomes.in_job
        while self._closed < images:
            try:
                await self._api.close_job(job, images)
                self._closed = images
            except ServerError as error:
                await patience.wait(error)

    async def _read(self, job: str) -> None:
        """Take labels in until cancelled."""
        stream = LabelStream(self._api, job, self._retry)
        async with aclosing(stream.follow()) as items:
            ends = 0
            async for item in items:
                if isinstance(item, Complete):
                    await self._sent_all.wait()
                    if not self._outcomes.waiting:
                        return
                    ends += 1
                    await self._not_complete(job, stream, ends)
                else:
                    self._mailbox.put(self._outcomes.record(item))
                    await self._mailbox.room()

    async def _not_complete(self, job: str, stream: LabelStream, ends: int) -> None:
        """The server has said all and yet we wait: the job was closed too early by whoever sent into it before, or the number was wrong."""
        if ends == 1:
            return  # Said before all was sent; our own close came since.
        await self._close(job)
        if ends == 3:
            stream.from_start()
        elif ends > 3:
            self._lose(job)
        await self._retry.sleep(self._retry.first_pause_s)

    def _lose(self, job: str) -> None:
        names = self._outcomes.missing()
        self._outcomes.lost(names)
        detail = f"the server says that the job is complete and has no result for it: `convnet-kafka results {job}` may know more"
        self._mailbox.put([failure(name, MISSING, detail) for name in names])


class Client:
    """A connection to one ingest server, as an async context manager. Leaving it closes the jobs whose iteration ended early.

    Args:
        server: address of the server.
        options: how to behave.
    """

    def __init__(self, server: str = DEFAULT_SERVER, options: ClientOptions | None = None) -> None:
        self._options = options or ClientOptions()
        self._api = Api(server, self._options.connections)
        self._classifications: list[Classification] = []

    async def __aenter__(self) -> Self:
        await self._api.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            for classification in self._classifications:
                await classification.aclose()
        finally:
            await self._api.__aexit__(kind, error, trace)

    @property
    def server(self) -> str:
        """Address of the server."""
        return self._api.url

    def classify(self, paths: Sequence[str | os.PathLike[str]], *, job: str | None = None) -> Classification:
        """Send images and get their labels; nothing happens before it is iterated over.

        Args:
            paths: folders, files, and tar and zip archives (sources.py says how images are named).
            job: send into this job instead of a new one: with the same paths, what it has already is not done twice. A picture that
                has changed under its name needs a new job.
        """
        classification = Classification(self._api, Sources(paths), self._options, job)
        self._classifications.append(classification)
        return classification

    async def classify_one(self, content: bytes, name: str = "image", *, timeout_s: float = 5.0) -> Label:
        """The label of one image, on the fast lane, past whatever waits in jobs. Tried once.

        Args:
            content: the encoded file.
            name: stands in the label.
            timeout_s: seconds the server waits for the label.

        Raises:
            ServerError: the image was refused, or its label did not come in time.
        """
        answer = await self._api.classify(content, name, timeout_s)
        try:
            for item in answer["labels"]:
                return Label.parse(item)
        except (KeyError, TypeError) as error:
            raise BrokenAnswer(f"the answer of {self.server} to a single image is not as docs/http.md says") from error
        raise ServerError(
            f"no label within {timeout_s:g} s: are classifiers running, and is there a model? Read it later from job {answer.get('job')}"
        )

    async def results(self, job: str, *, wait: bool = True) -> AsyncIterator[list[Label]]:
        """The results of a job from its start, in lists. An image that was replayed comes again with a higher revision.

        Args:
            job: the job.
            wait: until the job is complete; otherwise only what there is now.

        Raises:
            ServerError: the job is unknown or expired, or the server was away for longer than the policy allows.
        """
        stream = LabelStream(self._api, job, self._options.retry)
        if not wait:
            async for labels in stream.so_far():
                yield labels
            return
        async for item in stream.follow():
            if isinstance(item, Complete):
                return
            yield item

    async def status(self, job: str) -> dict[str, Any]:
        """The job as docs/http.md shows it.

        Raises:
            ServerError: the job is unknown or expired, or the server did not answer.
        """
        return await self._api.job_status(job)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the tasks of a group; the others follow from it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
