"""From the body of a request to its `Intake`: one image, or many taken apart while they arrive. Never holds more than one image of a body.

Once reading has begun a full queue, and too many images that have come in part, are back-pressure on the socket; only limits and a damaged
body end it early, and then the problem says how many images had been accepted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from aiohttp import web
from prometheus_client import Counter

from convnet_kafka.metrics import ServerMetrics
from convnet_kafka.server.assembly import Assembly, Held
from convnet_kafka.server.bodies import BodyLimits, Kind, check_body, image_name
from convnet_kafka.server.decompress import Unpacking
from convnet_kafka.server.intake import Intake
from convnet_kafka.server.members import BodyError, Image, Parser
from convnet_kafka.server.multipart import MultipartParser, boundary_of
from convnet_kafka.server.outcome import Outcome, Refusal, RefusalCode
from convnet_kafka.server.problems import Problem
from convnet_kafka.server.spool import Spool, off_the_loop
from convnet_kafka.server.tar import TarParser
from convnet_kafka.server.zipfiles import ZipReader
from convnet_kafka.settings import MIB, ServerSettings

# A body that is still coming after this many times the upload's deadline ends with 408: its sender is stuck, or on purpose slow.
PATIENCE = 2
# Work of one body that others may wait for; an image takes 10 to 40 us, so a look at the clock for each would cost more than it gives.
SLICE_S = 0.005
_LOOK_EVERY = 64
# Members of a zip that a thread reads at a time: until they have this many bytes, or are this many.
_BATCH_BYTES, _BATCH_MEMBERS = 256 * 1024, 256
_PROBLEMS = {RefusalCode.UNSUPPORTED: "unsupported", RefusalCode.TOO_LARGE: "too-large"}


@dataclass(frozen=True, slots=True)
class SharedRoom:
    """What all bodies of a process share.

    Attributes:
        assembly: room for images that have come in part.
        spool: room for zip archives.
        read_bytes: counts what is read.
    """

    assembly: Assembly
    spool: Spool
    read_bytes: Counter

    @classmethod
    def of(cls, settings: ServerSettings, metrics: ServerMetrics) -> SharedRoom:
        """As it is set."""
        return cls(
            Assembly(settings.upload_memory_mib * MIB, metrics.assembling, metrics.assembly_waits),
            Spool(settings.spool_folder, settings.spool_mib * MIB, metrics.spooled),
            metrics.upload_bytes,
        )


class Reception:
    """Receives the bodies of one call.

    Args:
        limits: what a body may be.
        room: what it shares with others.
    """

    def __init__(self, limits: BodyLimits, room: SharedRoom) -> None:
        self.limits = limits
        self._room = room

    def check(self, request: web.Request) -> None:
        """All that can be known of a body before it is read. Takes nothing.

        Raises:
            Problem: it cannot be taken.
        """
        if check_body(request, self.limits) is Kind.ZIP:
            self._room.spool.check(self._zip_bytes(request))

    async def receive(self, request: web.Request, intake: Intake) -> Outcome:
        """Hand every image of a body to the intake, then wait for Kafka's answers.

        Raises:
            Problem: a single image is refused or unknown; or the body is damaged, over a limit or too slow, and its extensions count what
                was accepted before.
        """
        kind = check_body(request, self.limits)
        with Held(self._room.assembly) as held:
            body = _Body(request, self.limits, held, kind)
            try:
                if kind is Kind.IMAGE:
                    return await body.image(intake, image_name(request))
                return await self._many(request, kind, body, intake)
            finally:
                self._room.read_bytes.inc(body.size)

    async def _many(self, request: web.Request, kind: Kind, body: _Body, intake: Intake) -> Outcome:
        limits = self.limits
        try:
            if kind is Kind.ZIP:
                with self._room.spool.taken(self._zip_bytes(request)) as file:
                    await body.spool(file.write)
                    await file.flush()
                    await body.zip(lambda: ZipReader(file.file, limits.max_image_bytes), intake)
            elif kind is Kind.MULTIPART:
                boundary = boundary_of(request.headers["Content-Type"])
                await body.parts(MultipartParser(boundary, limits.max_image_bytes, limits.max_images), intake)
            else:
                await body.tar(TarParser(limits.max_image_bytes), intake)
        except BodyError as error:
            raise await _with_counts(Problem("bad-request", str(error), extensions={"at_byte": error.at_byte}), intake) from error
        except Problem as problem:
            raise await _with_counts(problem, intake) from problem
        return await intake.finish()

    def _zip_bytes(self, request: web.Request) -> int:
        """Room that a zip needs: what it says to have, else the most that it may have."""
        return self.limits.bytes_of(Kind.ZIP) if request.content_length is None else request.content_length


class _Body:
    """Reads one request's body within its limits."""

    def __init__(self, request: web.Request, limits: BodyLimits, held: Held, kind: Kind) -> None:
        self._request = request
        self._limits = limits
        self._held = held
        self._limit = limits.bytes_of(kind)
        self._clock = asyncio.get_running_loop().time
        self._rested = self._clock()
        self._read_until = self._rested + PATIENCE * limits.deadline_s
        self._decoded = 0
        self._members = 0
        self.size = 0

    async def tar(self, parser: Parser, intake: Intake) -> None:
        """A tar, plain, gzip or zstd."""
        unpacking = Unpacking()
        while chunk := await self._chunk():
            for piece in unpacking.feed(chunk):
                self._held.decoder(unpacking.memory)
                await self._count_decoded(piece)
                if piece:
                    await self._take(parser, piece, intake)
        if rest := unpacking.finish():
            await self._take(parser, rest, intake)
        parser.finish()

    async def parts(self, parser: Parser, intake: Intake) -> None:
        """A multipart body."""
        while chunk := await self._chunk():
            await self._take(parser, chunk, intake)
        parser.finish()

    async def _take(self, parser: Parser, piece: bytes, intake: Intake) -> None:
        if not self._held.has_room:
            await self._wait_for_room()
        late, offer, most = intake.late, intake.offer, self._limits.max_images
        for number, member in enumerate(parser.feed(piece), self._members + 1):
            self._members = number
            if number > most:
                raise self._too_many()
            if not number % _LOOK_EVERY:
                await self._rest()
            if isinstance(member, Refusal):
                intake.refuse(member)
                continue
            name, content = member
            if late:
                intake.give_up(name)
            elif not offer(name, content):
                self._held.image(len(content))
                await intake.offer_when_there_is_room(name, content)
                late = intake.late
        self._held.image(parser.held)

    async def spool(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Read all of it onto the disk."""
        while chunk := await self._chunk():
            await write(chunk)

    async def zip(self, opened: Callable[[], ZipReader], intake: Intake) -> None:
        """A zip that lies on the disk; a thread reads it."""
        reader = await off_the_loop(opened)
        if reader.entries > self._limits.max_images:
            raise self._too_many()
        members = reader.members()
        while batch := await off_the_loop(_batch, reader, members):
            self._held.image(sum(len(member[1]) for member in batch if member is not None and not isinstance(member, Refusal)))
            if reader.claimed > self._limits.max_request_bytes:
                raise Problem("too-large", f"the archive has more than {self._limits.max_request_bytes} bytes once it is unpacked")
            for member in batch:
                if member is None:
                    continue
                if isinstance(member, Refusal):
                    intake.refuse(member)
                    continue
                name, content = member
                if intake.late:
                    intake.give_up(name)
                elif not intake.offer(name, content):
                    await intake.offer_when_there_is_room(name, content)
            batch.clear()
            self._held.image(0)
            await self._wait_for_room()

    async def image(self, intake: Intake, name: str) -> Outcome:
        """One image, then Kafka's answer.

        Raises:
            Problem: the image is refused or unknown.
        """
        content = await self._whole()
        if not content:
            raise Problem("bad-request", "the body is empty", extensions={"code": RefusalCode.EMPTY})
        if not intake.offer(name, content):
            self._held.image(len(content))
            await intake.offer_when_there_is_room(name, content)
        del content  # Kafka's client has a copy of its own, and its answer may take seconds
        self._held.image(0)
        outcome = await intake.finish()
        if outcome.refused:
            refusal = outcome.refused[0]
            raise Problem(_PROBLEMS.get(refusal.code, "bad-request"), refusal.detail, extensions={"code": refusal.code})
        if outcome.unknown:
            raise Problem("kafka-unavailable", outcome.unknown[0].detail)
        return outcome

    async def _whole(self) -> bytes:
        first = await self._chunk()
        more = await self._chunk() if first else b""
        if not more:
            return first
        content = bytearray(first)
        while more:
            if not self._held.has_room:
                await self._wait_for_room()
            content += more
            self._held.image(len(content))
            more = await self._chunk()
        return bytes(content)

    async def _chunk(self) -> bytes:
        """What has come of the body; nothing at its end.

        Raises:
            Problem: it is larger than it may be, too slow, or breaks the rules of HTTP.
        """
        content = self._request.content
        try:
            chunk = content.read_nowait()
            if not chunk and not content.at_eof():
                async with asyncio.timeout_at(min(self._read_until, self._held.pass_until)):
                    chunk = await content.readany()
        except TimeoutError:
            raise self._too_slow() from None
        except web.RequestPayloadError as error:
            raise Problem("bad-request", "the body is not as HTTP wants it: its length or one of its chunks is wrong") from error
        self.size += len(chunk)
        if self.size > self._limit:
            raise Problem("too-large", f"the body is larger than {self._limit} bytes")
        return chunk

    async def _count_decoded(self, piece: bytes) -> None:
        self._decoded += len(piece)
        if self._decoded > self._limits.max_request_bytes:
            raise Problem("too-large", f"the body has more than {self._limits.max_request_bytes} bytes once it is decompressed")
        if self._decoded > self.size or not piece:
            await self._rest()

    async def _rest(self) -> None:
        """Let others have their turn when this body has worked for a while."""
        now = self._clock()
        if now - self._rested < SLICE_S:
            return
        await asyncio.sleep(0)
        self._rested = self._clock()
        if self._rested > self._read_until:
            raise self._too_slow()

    async def _wait_for_room(self) -> None:
        """Wait until there is room for a part of an image: nothing is read meanwhile, which the sender feels."""
        try:
            async with asyncio.timeout_at(self._read_until):
                await self._held.room()
        except TimeoutError:
            raise self._too_slow() from None

    def _too_slow(self) -> Problem:
        if self._clock() < self._read_until:
            return Problem("too-slow", "memory is short, and an image that others wait for did not come to its end in time: send it again")
        return Problem("too-slow", f"the body had not ended after {PATIENCE * self._limits.deadline_s:.0f} s: send smaller ones")

    def _too_many(self) -> Problem:
        return Problem("too-large", f"the body has more than {self._limits.max_images} images: send several smaller ones")


def _batch(reader: ZipReader, members: Iterator[Image | Refusal | None]) -> list[Image | Refusal | None]:
    """The next members of a zip; none at its end. Blocks."""
    batch: list[Image | Refusal | None] = []
    enough = reader.claimed + _BATCH_BYTES
    for member in islice(members, _BATCH_MEMBERS):
        batch.append(member)
        if reader.claimed >= enough:
            break
    return batch


async def _with_counts(problem: Problem, intake: Intake) -> Problem:
    """The same problem, with what had become of the images before it."""
    outcome = await intake.cut_short()
    detail = f"{problem}; {outcome.accepted} images before that were accepted: sending the whole again is harmless"
    return Problem(problem.slug, detail, extensions=problem.extensions | outcome.counts())
