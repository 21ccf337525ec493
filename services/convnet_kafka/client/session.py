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


