"""Sends everything the sources have, in many short requests over a few connections, each again until every image has its answer.

Short requests (32 MB or 5 s), so that new servers get work and no proxy's limit or grace period is met.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from convnet_kafka.client.api import Api, UploadAnswer
from convnet_kafka.client.errors import SourceError
from convnet_kafka.client.label import NOT_ACCEPTED, TOO_LARGE, Label, failure
from convnet_kafka.client.mailbox import Mailbox
from convnet_kafka.client.outcomes import Outcomes
from convnet_kafka.client.packing import Batch, Packed, pack
from convnet_kafka.client.retry import Patience, RetryPolicy
from convnet_kafka.client.sources import Sources
from convnet_kafka.errors import ServerError
from convnet_kafka.messages import Lane

LONGEST_REQUEST_S = 5.0
_MOST_BYTES = 32 * 1000 * 1000
_FEWEST_BYTES = 64 * 1024
# The first request is small, so that classifiers have work at once; each good one doubles the next.
_FIRST_IMAGES = 256
_FIRST_BYTES = 2 * 1000 * 1000
# At 1 KB an image a request costs the server a millisecond or so: spread over this many it is nothing, and one lasts under a second.
_MOST_IMAGES = 4096
# As docs/http.md says of one request to a job on the fast lane.
MOST_FAST_IMAGES = 100
# An image that Kafka does not acknowledge within 15 s has had 8 times that before it is given up.
MOST_ATTEMPTS = 8
_TOO_SLOW, _PAYLOAD_TOO_LARGE = 408, 413


@dataclass(slots=True)
class RequestSize:
    """How much goes into the next request: grows while requests are quick, shrinks to what the line carries in 5 s.

    Attributes:
        images: most images.
        size: most bytes; the image that reaches it still goes in.
        ceiling: bytes that nobody on the way has refused.
        most_images: images that the server takes at most.
    """

    images: int = _FIRST_IMAGES
    size: int = _FIRST_BYTES
    ceiling: int = _MOST_BYTES
    most_images: int = _MOST_IMAGES

    def took(self, size: int, seconds: float) -> None:
        """A request of so many bytes was answered after so many seconds."""
        if seconds < LONGEST_REQUEST_S / 4:
            self.images = min(self.most_images, self.images * 2)
            self.size = min(self.ceiling, self.size * 2)
        elif seconds > LONGEST_REQUEST_S / 2:
            self.size = max(_FEWEST_BYTES, min(self.size, int(size / seconds * LONGEST_REQUEST_S / 2)))
            self.images = max(1, self.images // 2)

    def refused(self, size: int) -> None:
        """A request of so many bytes was too large for somebody on the way."""
        self.ceiling = max(_FEWEST_BYTES, min(self.ceiling, size // 2))
        self.size = min(self.size, self.ceiling)


class Uploads:
    """The sending half of one job.

    Args:
        api: the server.
        sources: what to send.
        outcomes: the job's books.
        mailbox: where failures go.
        retry: how patient to be.
        connections: requests at once.
        strict: end with the first source that cannot be read, instead of naming it and going on.
        lane: of the job, as far as is known.
    """

    def __init__(
        self,
        api: Api,
        sources: Sources,
        outcomes: Outcomes,
        mailbox: Mailbox,
        retry: RetryPolicy,
        connections: int,
        *,
        strict: bool = False,
        lane: Lane = Lane.BULK,
    ) -> None:
        self._api = api
        self._sources = sources
        self._outcomes = outcomes
        self._mailbox = mailbox
        self._retry = retry
        self._connections = connections
        self._strict = strict
        self._stopping = asyncio.Event()
        # Not a method: an object that is held by its own parts keeps the job's books until somebody looks for garbage.
        self._pause = _interruptible(retry, self._stopping)
        self._patience = Patience(replace(retry, sleep=self._pause))
        self._size = RequestSize() if lane is Lane.BULK else RequestSize(images=MOST_FAST_IMAGES, most_images=MOST_FAST_IMAGES)
        self.found_all = False
        self.found = 0

    def stop(self) -> None:
        """Begin no further request; those in progress may end."""
        self._stopping.set()
        self._sources.stop()

    async def first(self) -> Batch:
        """Read the first batch, before there is a job to send it to; empty when no image can be read."""
        return await self._next()

    async def run(self, job: str, first: Batch) -> None:
        """Send the first batch and all others, and return when every image has its answer.

        Raises:
            ServerError: the server refused the job, or has not answered for as long as the policy allows.
            SourceError: something cannot be read, and that is not allowed.
        """
        async with asyncio.TaskGroup() as group:
            for batch in [first, *[None] * (self._connections - 1)]:
                group.create_task(self._connection(job, batch))

    async def _connection(self, job: str, batch: Batch | None) -> None:
        while True:
            batch = batch or await self._next()
            if not batch.names:
                return
            waiting = [batch]
            while waiting and not self._stopping.is_set():
                waiting.extend(await self._deliver(job, waiting.pop()))
            batch = None

    async def _next(self) -> Batch:
        """The next batch; without images at the end."""
        await self._mailbox.room()
        packed: Packed = await asyncio.to_thread(pack, self._sources, self._size.images, self._size.size, self._stopping.is_set)
        self.found += len(packed.batch) + len(packed.failures)
        self._mailbox.put(self._outcomes.given_up(packed.failures))
        if self._strict and packed.failures:
            first = packed.failures[0]
            raise SourceError(f"{first.name} cannot be sent: {first.detail} (without `strict` it would be named, and the rest sent)")
        if self._stopping.is_set() or not packed.batch.names:
            self.found_all = not self._stopping.is_set()
            return Batch()
        self._outcomes.sent(packed.batch.names)
        return packed.batch

    async def _deliver(self, job: str, batch: Batch) -> list[Batch]:
        """Send a batch once; returns what has to be sent again."""
        started = time.monotonic()
        try:
            answer = await self._api.upload(job, batch)
        except ServerError as error:
            if error.status == _PAYLOAD_TOO_LARGE:
                return self._too_large(batch, error)
            await self._patience.wait(error)
            if error.status == _TOO_SLOW and len(batch) > 1:
                self._size.refused(batch.size)
                return batch.halves()
            return [batch]
        self._size.took(batch.size, time.monotonic() - started)
        if len(answer.unknown) < len(batch):
            self._patience.success()
        again = self._settle(batch, answer)
        if again.names:
            await self._pause(self._patience.pause_s(again.attempts))
        return [again] if again.names else []

    def _settle(self, batch: Batch, answer: UploadAnswer) -> Batch:
        """Enter an answer into the books; returns the images whose fate it does not tell."""
        refused = [failure(name, code, detail) for name, (code, detail) in answer.refused.items()]
        if refused or answer.unknown:
            accepted = [name for name in batch.names if name not in answer.refused and name not in answer.unknown]
        else:
            accepted = batch.names
        self._mailbox.put(self._outcomes.accepted_by_server(accepted))
        self._mailbox.put(self._outcomes.given_up(refused))
        # One whose label has come is stored, whatever the answer says.
        again = batch.only(self._outcomes.unlabelled(answer.unknown)) if answer.unknown else Batch()
        if again.attempts < MOST_ATTEMPTS:
            return again
        self._give_up([failure(name, NOT_ACCEPTED, f"sent {again.attempts} times: {answer.unknown[name]}") for name in again.names])
        return Batch()

    def _too_large(self, batch: Batch, error: ServerError) -> list[Batch]:
        if len(batch) == 1:
            self._give_up([failure(batch.names[0], TOO_LARGE, str(error))])
            return []
        self._size.refused(batch.size)
        return batch.halves()

    def _give_up(self, labels: list[Label]) -> None:
        self._mailbox.put(self._outcomes.given_up(labels))


def _interruptible(retry: RetryPolicy, stopping: asyncio.Event) -> Callable[[float], Awaitable[None]]:
    """The policy's sleep, unless told to stop."""

    async def pause(seconds: float) -> None:
        waits = {asyncio.ensure_future(retry.sleep(seconds)), asyncio.ensure_future(stopping.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    return pause
