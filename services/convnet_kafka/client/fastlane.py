"""A few images on the fast lane: asks again while the server is away, and reads from the job what was not labelled in time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from convnet_kafka.client.api import Api
from convnet_kafka.client.errors import BrokenAnswer, SourceError
from convnet_kafka.client.label import MISSING, NOT_ACCEPTED, Label, failure
from convnet_kafka.client.options import ClientOptions
from convnet_kafka.client.packing import Batch, pack
from convnet_kafka.client.retry import Patience
from convnet_kafka.client.sources import Sources
from convnet_kafka.client.stream import Complete, LabelStream
from convnet_kafka.client.uploads import MOST_FAST_IMAGES
from convnet_kafka.errors import ServerError, SettingsError

_LONGEST_WAIT_S = 60.0


def labels_of(answer: Mapping[str, Any], server: str) -> list[Label]:
    """The labels in an answer.

    Raises:
        BrokenAnswer: it is not as docs/http.md says.
    """
    try:
        return [Label.parse(item) for item in answer["labels"]]
    except (KeyError, TypeError) as error:
        raise BrokenAnswer(f"the answer of {server} on the fast lane is not as docs/http.md says") from error


async def classify(api: Api, sources: Sources, timeout_s: float, options: ClientOptions) -> list[Label]:
    """The outcome of every image, in the order of the sources.

    Args:
        api: the server.
        sources: at most 100 images.
        timeout_s: for all of it.
        options: how patient to be, within that time.

    Raises:
        SourceError: there is nothing to send, or something cannot be read and `strict` is set.
        SettingsError: these are more than 100.
        ServerError: the server refused, or was away all the time.
    """
    end = asyncio.get_running_loop().time() + timeout_s
    batch, outcomes = await asyncio.to_thread(_read, sources)
    if options.strict and outcomes:
        first = next(iter(outcomes.values()))
        raise SourceError(f"{first.name} cannot be sent: {first.detail}")
    order = [*outcomes, *batch.names]
    await _Few(api, batch, outcomes, end, options).run(timeout_s)
    return [outcomes[name] for name in order]


def _read(sources: Sources) -> tuple[Batch, dict[str, Label]]:
    """All images, and failures by name."""
    whole = Batch()
    failures: dict[str, Label] = {}
    while True:
        packed = pack(sources, MOST_FAST_IMAGES + 1 - len(whole), 2**62)
        failures |= {label.name: label for label in packed.failures}
        whole.names += packed.batch.names
        whole.members += packed.batch.members
        whole.size += packed.batch.size
        if len(whole) + len(failures) > MOST_FAST_IMAGES:
            raise SettingsError(f"one call of the fast lane takes {MOST_FAST_IMAGES} images: send more with `classify`")
        if not packed.batch.names:
            break
    if not whole.names and not failures:
        raise sources.nothing_found()
    return whole, failures


class _Few:
    """One call's images until each has its outcome. Owned by one event loop."""

    def __init__(self, api: Api, batch: Batch, outcomes: dict[str, Label], end: float, options: ClientOptions) -> None:
        self._api = api
        self._left = batch
        self._outcomes = outcomes
        self._end = end
        self._retry = options.retry

    async def run(self, timeout_s: float) -> None:
        """Fill the outcomes."""
        patience = Patience(replace(self._retry, give_up_s=min(self._retry.give_up_s, timeout_s)))
        while self._left.names:
            try:
                answer = await self._ask()
            except TimeoutError:
                self._give_up("the server did not answer in time")
                return
            except ServerError as error:
                await patience.wait(error)
                continue
            await self._settle(answer, timeout_s)
            if self._left.names:
                await self._retry.sleep(patience.pause_s(self._left.attempts))

    async def _ask(self) -> dict[str, Any]:
        wait_s = max(0.0, min(_LONGEST_WAIT_S, self._end - asyncio.get_running_loop().time()))
        # Its own time to read and to acknowledge comes on top of the wait for labels, and the caller's deadline before both.
        async with asyncio.timeout_at(self._end + 1.0):
            return await self._api.classify_all(self._left, wait_s)

    async def _settle(self, answer: Mapping[str, Any], timeout_s: float) -> None:
        """Enter an answer, and read what is missing from its job; leaves what has to be sent again."""
        sent = set(self._left.names)
        unknown: dict[str, str] = {}
        self._take(labels_of(answer, self._api.url))
        try:
            for problem in answer["problems"]:
                name, detail = problem["name"], str(problem.get("detail") or "")
                if name in sent and problem["status"] == "refused":
                    self._outcomes[name] = failure(name, str(problem["code"]), detail)
                elif name in sent:
                    unknown[name] = detail
            job = str(answer["job"])
        except (KeyError, TypeError) as error:
            raise BrokenAnswer(f"the answer of {self._api.url} on the fast lane is not as docs/http.md says") from error
        waiting = sent - self._outcomes.keys() - unknown.keys()
        if waiting:
            await self._follow(job, waiting, timeout_s)
        again = self._left.only(unknown.keys() - self._outcomes.keys())
        if again.names and asyncio.get_running_loop().time() >= self._end:
            self._left = again
            self._give_up(f"sent {again.attempts} times and not acknowledged")
            return
        self._left = again

    async def _follow(self, job: str, waiting: set[str], timeout_s: float) -> None:
        try:
            async with asyncio.timeout_at(self._end):
                async for item in LabelStream(self._api, job, self._retry).follow():
                    if isinstance(item, Complete):
                        break
                    self._take(item)
                    if waiting <= self._outcomes.keys():
                        return
        except TimeoutError:
            pass  # told image by image
        detail = f"no label within {timeout_s:g} s; it may come yet: read job {job}"
        self._outcomes.update({name: failure(name, MISSING, detail) for name in waiting if name not in self._outcomes})

    def _take(self, labels: list[Label]) -> None:
        names = set(self._left.names)
        for label in labels:
            known = self._outcomes.get(label.name)
            if label.name in names and (known is None or label.revision >= known.revision):
                self._outcomes[label.name] = label

    def _give_up(self, why: str) -> None:
        self._outcomes.update({name: failure(name, NOT_ACCEPTED, why) for name in self._left.names})
        self._left = Batch()
