"""One job in progress: opens it, sends, reads its labels, closes it with the exact number, and hands all outcomes to whoever iterates."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from convnet_kafka.client.api import Api
from convnet_kafka.client.errors import DeadlineExceeded, JobCancelled
from convnet_kafka.client.label import MISSING, NOT_ACCEPTED, Label, failure
from convnet_kafka.client.mailbox import Mailbox
from convnet_kafka.client.options import ClientOptions
from convnet_kafka.client.outcomes import Outcomes
from convnet_kafka.client.packing import Batch
from convnet_kafka.client.progress import Progress
from convnet_kafka.client.retry import patiently
from convnet_kafka.client.sources import Sources
from convnet_kafka.client.stream import Complete, LabelStream
from convnet_kafka.client.uploads import LONGEST_REQUEST_S, Uploads
from convnet_kafka.errors import ServerError, SettingsError
from convnet_kafka.messages import Lane

# For the last word to a server that may be gone.
_FAREWELL_S = 5.0
# Between two calls of a progress callback.
_REPORT_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What a caller wants of one job.

    Attributes:
        job: send into this job instead of a new one.
        timeout_s: seconds for all of it, or None.
        on_progress: told where it stands, on the event loop, twice a second and at the end.
        lane: where the images of a new job wait; one that is gone on with keeps its own.
    """

    job: str | None = None
    timeout_s: float | None = None
    on_progress: Callable[[Progress], None] | None = None
    lane: Lane = Lane.BULK


def lane_of(name: str) -> Lane:
    """The lane of this name.

    Raises:
        SettingsError: there is none.
    """
    if name not in set(Lane):
        raise SettingsError(f"there is no lane {name!r}: it can be {' or '.join(Lane)}")
    return Lane(name)


class Classification:
    """One job in progress: iterate over it for labels, one by one or (cheaper) in lists with `batches`.

    Made by `Client.classify`. When iterating ends early, the job is closed with what was accepted, at the latest by the client's end.
    """

    def __init__(self, api: Api, sources: Sources, options: ClientOptions, wanted: JobOptions) -> None:
        self._api = api
        self._sources = sources
        self._retry = options.retry
        self._strict = options.strict
        self._wanted = wanted
        self._outcomes = Outcomes(shared=wanted.job is not None)
        self._mailbox = Mailbox()
        self._uploads = Uploads(
            api, sources, self._outcomes, self._mailbox, options.retry, options.connections, strict=options.strict, lane=wanted.lane
        )
        self._task: asyncio.Task[None] | None = None
        self._sent_all = asyncio.Event()
        self._cancelled = False
        self._closed = -1
        self._started = time.monotonic()
        self.job = wanted.job

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do for it: it has ended, and its job, if there is one, is closed with what was accepted."""
        return self._task is not None and self._task.done() and (self.job is None or self._closed >= self._outcomes.in_job)

    async def __aiter__(self) -> AsyncIterator[Label]:
        """The outcome of every image."""
        async for labels in self.batches():
            for label in labels:
                yield label

    async def batches(self) -> AsyncIterator[list[Label]]:
        """The same in lists, as they arrive.

        Raises:
            SourceError: there is nothing to send (nothing was sent), or something cannot be read and `strict` is set.
            DeadlineExceeded: the time given was over first.
            ServerError: the server refused, or was away for longer than the policy allows; `job` names the job if there is one.
        """
        if self._task is None:
            self._started = time.monotonic()
            self._sources.start()
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

    async def cancel(self) -> None:
        """Send nothing more and cancel what has no result yet.

        Iterating goes on until every accepted image has its result, for most of them the failure `cancelled`; images that were not
        sent yet have no outcome.

        Raises:
            ServerError: the server refused, or was away for longer than the policy allows.
        """
        self._cancelled = True
        self._uploads.stop()
        job = self.job
        if job is not None:
            await patiently(lambda: self._api.cancel_job(job), self._retry)

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
        wanted = self._wanted
        try:
            async with asyncio.timeout(wanted.timeout_s) as limit:
                await asyncio.to_thread(self._sources.check, strict=self._strict)
                await self._run()
            self._report()
        except BaseExceptionGroup as group:
            self._mailbox.end(_first(group))
        except Exception as error:  # noqa: BLE001 - raised where the caller iterates
            self._mailbox.end(self._deadline_exceeded() if limit.expired() else error)
        else:
            self._mailbox.end()
        finally:
            self._uploads.stop()

    def _deadline_exceeded(self) -> DeadlineExceeded:
        now = self.progress()
        return DeadlineExceeded(f"not done within {self._wanted.timeout_s:g} s: {now}")

    def _report(self) -> None:
        if self._wanted.on_progress is not None:
            self._wanted.on_progress(self.progress())

    async def _keep_reporting(self) -> None:
        while True:
            self._report()
            await asyncio.sleep(_REPORT_EVERY_S)

    async def _run(self) -> None:
        first = await self._uploads.first()
        if not first.names and not self._uploads.found and not self._cancelled:
            raise self._sources.nothing_found()
        if not first.names:
            return
        job = self.job
        if job is None:
            job = self.job = await patiently(lambda: self._api.open_job(self._wanted.lane), self._retry, must_answer=True)
        async with asyncio.TaskGroup() as group:
            going_on = [group.create_task(self._read(job))]
            if self._wanted.on_progress is not None:
                going_on.append(group.create_task(self._keep_reporting()))
            await self._send(job, first)
            await self._outcomes.all_labelled()
            if self._cancelled:
                await self._give_up_the_rest(job)
            for task in going_on:
                task.cancel()

    async def _send(self, job: str, first: Batch) -> None:
        try:
            await self._uploads.run(job, first)
        except* JobCancelled:
            # By us, or by somebody else: the results of what was accepted come all the same.
            self._cancelled = True
            self._uploads.stop()
        await self._close(job)
        self._sent_all.set()

    async def _give_up_the_rest(self, job: str) -> None:
        """Tell what was on its way when the job was cancelled, and of which nothing was heard: last, as a result may have come for it."""
        detail = "the job was cancelled before a server had accepted it"
        self._mailbox.put(self._outcomes.given_up([failure(name, NOT_ACCEPTED, detail) for name in self._outcomes.undecided()]))
        await self._close(job)

    async def _close(self, job: str) -> None:
        images = self._outcomes.in_job
        if self._closed < images:
            await patiently(lambda: self._api.close_job(job, images), self._retry)
            self._closed = images

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


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the tasks of a group; the others follow from it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
