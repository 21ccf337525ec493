"""The client as an async library: opens jobs, sends images, yields labels as they come, closes each job with the exact number.

    async with Client("http://127.0.0.1:8080") as client:
        async for label in client.classify(["pictures"]):
            print(label.name, label.label or label.error)

Every image of the sources gets exactly one outcome. Memory is some 0.3 KB an image for the books, and what is being sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

from convnet_kafka.client import fastlane
from convnet_kafka.client.api import Api
from convnet_kafka.client.classification import Classification, JobOptions, lane_of
from convnet_kafka.client.errors import DeadlineExceeded, ServerAway
from convnet_kafka.client.given import Given
from convnet_kafka.client.label import Filter, Label
from convnet_kafka.client.options import DEFAULT_SERVER, ClientOptions
from convnet_kafka.client.progress import Progress
from convnet_kafka.client.retry import patiently
from convnet_kafka.client.sources import Sources
from convnet_kafka.client.stream import LabelStream
from convnet_kafka.errors import SettingsError
from convnet_kafka.messages import Lane


class Client:
    """A connection to one ingest server, as an async context manager. Leaving it closes the jobs whose iteration ended early.

    Args:
        server: address of the server, or of what stands before several.
        options: how to behave.
        key: the API key, where the server asks for one.
    """

    def __init__(self, server: str = DEFAULT_SERVER, options: ClientOptions | None = None, *, key: str | None = None) -> None:
        self._options = options or ClientOptions()
        self._api = Api(server, key, tracing=self._options.tracing)
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

    def classify(
        self,
        sources: Given,
        *,
        job: str | None = None,
        lane: str = Lane.BULK,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Classification:
        """Send images and get their labels; nothing happens before it is iterated over.

        Args:
            sources: folders, files, patterns, tar and zip archives, addresses that fsspec knows, open files, (name, bytes), or anything
                that can be iterated over for these (docs/client.md; sources.py says how images are named).
            job: send into this job instead of a new one: with the same sources, what it has already is not done twice. A picture that
                has changed under its name needs a new job.
            lane: `fast` for some images that cannot wait behind everybody's: within the key's rate, and while the lane stays quick.
                A job that is gone on with keeps the lane it has.
            timeout: seconds for all of it; then iterating ends with DeadlineExceeded, and what was accepted stays accepted.
            on_progress: told where it stands, on the event loop, twice a second and at the end. What it raises ends the iteration.

        Raises:
            SettingsError: there is no such lane.
        """
        wanted = JobOptions(job, timeout, on_progress, lane_of(lane))
        classification = Classification(self._api, Sources(sources), self._options, wanted)
        # A client may live for days: what is over, and its books, must not stay with it.
        self._classifications = [one for one in self._classifications if not one.is_over]
        self._classifications.append(classification)
        return classification

    async def classify_now(self, sources: Given, *, timeout: float = 30.0) -> list[Label]:  # noqa: ASYNC109 - partly the server's own
        """The outcomes of at most 100 images, on the fast lane, past whatever waits in jobs; in the order of the sources.

        The server is asked again when it is away or busy. Labels that it does not have in time are read from the job it names.

        Args:
            sources: as `classify` takes them.
            timeout: seconds for all of it. An image without a result by then has the error `missing`, and its detail names the job.

        Raises:
            SourceError: there is nothing to send.
            SettingsError: these are too many images.
            ServerError: the server refused, or was away all the time.
        """
        given = Sources(sources)
        given.start()
        try:
            await asyncio.to_thread(given.check, strict=self._options.strict)
            return await fastlane.classify(self._api, given, timeout, self._options)
        finally:
            given.stop()

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
        labels = fastlane.labels_of(answer, self.server)
        if labels:
            return labels[0]
        raise ServerAway(
            f"no label within {timeout_s:g} s: are classifiers running, and is there a model? Read it later from job {answer.get('job')}"
        )

    async def results(
        self,
        job: str,
        *,
        wait: bool = True,
        failed: bool | None = None,
        below: float | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - of all reads together, not of one
    ) -> AsyncGenerator[list[Label], None]:
        """The results of a job from its start, in lists. An image that was replayed comes again with a higher revision.

        Args:
            job: the job.
            wait: until the job is complete; otherwise only what there is now.
            failed: True for images without a label only, False for those with one; None for all.
            below: only labels with a lower confidence, 0 to 1.
            timeout: seconds for all of it, or None.

        Raises:
            JobUnknown, JobExpired: there is no such job, or none any more.
            DeadlineExceeded: the time given was over first.
            ServerError: the server was away for longer than the policy allows.
        """
        if below is not None and not 0 <= below <= 1:
            raise SettingsError(f"`below` is a confidence from 0 to 1, not {below}")
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        stream = LabelStream(self._api, job, self._options.retry, Filter(failed, below))
        async with aclosing(stream.until_complete() if wait else stream.so_far()) as lists:
            while True:
                try:
                    async with asyncio.timeout_at(end):
                        labels = await anext(lists, None)
                except TimeoutError:
                    raise DeadlineExceeded(f"the job is not complete within {timeout:g} s: read on with another call") from None
                if labels is None:
                    return
                yield labels

    async def labels(
        self, job: str, *, wait: bool = True, failed: bool | None = None, below: float | None = None
    ) -> AsyncGenerator[Label, None]:
        """The same one by one."""
        async with aclosing(self.results(job, wait=wait, failed=failed, below=below)) as lists:
            async for labels in lists:
                for label in labels:
                    yield label

    async def status(self, job: str) -> dict[str, Any]:
        """The job as docs/http.md shows it.

        Raises:
            JobUnknown, JobExpired: there is no such job, or none any more.
            ServerError: the server cannot be reached, or was busy for longer than the policy allows.
        """
        return await patiently(lambda: self._api.job_status(job), self._options.retry, must_answer=True)

    async def cancel(self, job: str) -> dict[str, Any]:
        """Cancel what has no result yet: it gets the result `cancelled`, without being decoded. Saying it twice changes nothing.

        Returns:
            the job as docs/http.md shows it.

        Raises:
            JobUnknown, JobExpired: there is no such job, or none any more.
            ServerError: the server cannot be reached, or was busy for longer than the policy allows.
        """
        return await patiently(lambda: self._api.cancel_job(job), self._options.retry, must_answer=True)

    async def close(self, job: str, images: int) -> None:
        """Say how many images a job has that was sent by several clients; the largest number ever said counts.

        Raises:
            ServerError: as `status`.
        """
        await patiently(lambda: self._api.close_job(job, images), self._options.retry, must_answer=True)
