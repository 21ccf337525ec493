"""From the body of a request to its `Intake`: one image, or a tar taken apart while it arrives. Never holds more than one image.

Once reading has begun a full queue is back-pressure on the socket; only limits and a damaged archive end it early, and then the
problem says how many images had been accepted.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import Counter

from convnet_kafka.messages import MAX_NAME_BYTES
from convnet_kafka.server.intake import Intake
from convnet_kafka.server.outcome import Outcome, Refusal, RefusalCode
from convnet_kafka.server.problems import Problem
from convnet_kafka.server.tar import TarError, TarParser

# A body that is still coming after this many times the upload's deadline ends with 408: its sender is stuck, or on purpose slow.
PATIENCE = 2
_PROBLEMS = {RefusalCode.UNSUPPORTED: "unsupported", RefusalCode.TOO_LARGE: "too-large"}


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What one body may be.

    Attributes:
        max_request_bytes: bytes of a tar.
        max_image_bytes: bytes of an image.
        max_images: images, and things that are none, in a tar.
        deadline_s: seconds until images that have not been handed to Kafka count as unknown.
    """

    max_request_bytes: int
    max_image_bytes: int
    max_images: int
    deadline_s: float


class Body:
    """Reads one request's body within its limits."""

    def __init__(self, request: web.Request, limits: BodyLimits, read_bytes: Counter) -> None:
        self._request = request
        self._limits = limits
        self._read_bytes = read_bytes
        self._read_until = asyncio.get_running_loop().time() + PATIENCE * limits.deadline_s
        self._size = 0
        self._members = 0

    async def tar(self, intake: Intake) -> Outcome:
        """Hand every image of a tar to the intake, then wait for Kafka's answers.

        Raises:
            Problem: the archive is damaged or over a limit, or came too slowly; its extensions count what was accepted before.
        """
        parser = TarParser(self._limits.max_image_bytes)
        try:
            while chunk := await self._chunk(self._limits.max_request_bytes):
                await self._take(parser, chunk, intake)
            parser.finish()
        except TarError as error:
            raise await self._with_counts(Problem("bad-request", str(error), extensions={"at_byte": error.at_byte}), intake) from error
        except Problem as problem:
            raise await self._with_counts(problem, intake) from problem
        finally:
            self._read_bytes.inc(self._size)
        return await intake.finish()

    async def _take(self, parser: TarParser, chunk: bytes, intake: Intake) -> None:
        late = intake.late
        for member in parser.feed(chunk):
            self._members += 1
            if self._members > self._limits.max_images:
                raise Problem("too-large", f"the archive has more than {self._limits.max_images} members: send several smaller ones")
            if isinstance(member, Refusal):
                intake.refuse(member)
            elif late:
                intake.give_up(member.name)
            elif not intake.offer(member.name, member.content):
                await intake.offer_when_there_is_room(member.name, member.content)

    async def image(self, intake: Intake, name: str) -> Outcome:
        """Hand a body that is one image to the intake, then wait for Kafka's answer.

        Raises:
            Problem: the image is refused or unknown.
        """
        content = await self._whole()
        if not content:
            raise Problem("bad-request", "the body is empty", extensions={"code": RefusalCode.EMPTY})
        if not intake.offer(name, content):
            await intake.offer_when_there_is_room(name, content)
        outcome = await intake.finish()
        if outcome.refused:
            refusal = outcome.refused[0]
            raise Problem(_PROBLEMS.get(refusal.code, "bad-request"), refusal.detail, extensions={"code": refusal.code})
        if outcome.unknown:
            raise Problem("kafka-unavailable", outcome.unknown[0].detail)
        return outcome

    async def _whole(self) -> bytes:
        parts = []
        try:
            while chunk := await self._chunk(self._limits.max_image_bytes):
                parts.append(chunk)
        finally:
            self._read_bytes.inc(self._size)
        return b"".join(parts)

    async def _chunk(self, limit: int) -> bytes:
        """What has come of the body; nothing at its end.

        Raises:
            Problem: it is larger than the limit, or too slow.
        """
        try:
            async with asyncio.timeout_at(self._read_until):
                chunk = await self._request.content.readany()
        except TimeoutError:
            raise Problem(
                "too-slow", f"the body had not ended after {PATIENCE * self._limits.deadline_s:.0f} s: send smaller ones"
            ) from None
        self._size += len(chunk)
        if self._size > limit:
            raise Problem("too-large", f"the body is larger than {limit} bytes")
        return chunk

    @staticmethod
    async def _with_counts(problem: Problem, intake: Intake) -> Problem:
        """The same problem, with what had become of the images before it."""
        outcome = await intake.finish()
        counts = outcome.counts()
        detail = f"{problem}; {outcome.accepted} images before that were accepted: sending the whole again is harmless"
        return Problem(problem.slug, detail, extensions=problem.extensions | counts)


def image_name(request: web.Request) -> str:
    """The name of a body that is one image: `?name=`, else the Idempotency-Key, else a random one.

    Raises:
        Problem: it is too long.
    """
    given = request.query.get("name") or request.headers.get("Idempotency-Key") or str(uuid.uuid4())
    # Header bytes that are not UTF-8 arrive as lone surrogates.
    name = given.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise Problem("bad-request", f"the name has more than {MAX_NAME_BYTES} bytes", extensions={"code": RefusalCode.BAD_NAME})
    return name
