"""The images of the storm: one job after another through the client library, each a folder, and what the client was told of every image."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from convnet_kafka.client import Client
from convnet_kafka.client.errors import Unreachable
from convnet_kafka.client.label import Label
from convnet_kafka.client.retry import RetryPolicy
from convnet_kafka.client.session import ClientOptions
from support import deadly_backend

# Of a job; a few of them are no pictures, or broken ones.
IMAGES_A_JOB = 2_500
BROKEN_EVERY = 250
# Pictures that end or hang their classifier, by how.
POISON = {"crash": deadly_backend.CRASH, "exit": deadly_backend.EXIT, "hang": deadly_backend.HANG}
POISON_PREFIX = "poison-"
# Servers, network and Kafka may be away one after the other; a client that gives up proves nothing.
PATIENCE_S = 600.0
ASK_AGAIN_S = 0.5


@dataclass
class Told:
    """What the client was told of one job.

    Attributes:
        job: its id.
        files: names of the images that were sent.
        outcomes: what was told, by name.
        repeated: names that were told more than once.
    """

    job: str
    files: set[str]
    outcomes: dict[str, Label] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> dict[str, Label]:
        """Outcomes of the images that Kafka has, by image id."""
        return {label.image: label for label in self.outcomes.values() if label.image is not None}


class Pictures:
    """The folders that jobs are made of; a poison that was asked for goes into the next job.

    Args:
        folder: where they are written.
        originals: sound pictures.
    """

    def __init__(self, folder: Path, originals: list[Path]) -> None:
        self._sound = _write(folder / "sound", originals)
        self._poisoned = {kind: _with_poison(self._sound, folder / kind, kind) for kind in POISON}
        self._asked: deque[str] = deque()  # appended to by the thread of the faults

    def poison(self, kind: str) -> None:
        """Put a picture of this kind of `POISON` into the next job."""
        self._asked.append(kind)

    @property
    def poison_waits(self) -> bool:
        """Whether a poison was asked for that no job has had yet."""
        return bool(self._asked)

    def next(self) -> Path:
        """The folder of the next job."""
        return self._poisoned[self._asked.popleft()] if self._asked else self._sound


def _write(folder: Path, originals: list[Path]) -> Path:
    """Real pictures under names of their own, some cut off, and a file that is none."""
    for number in range(IMAGES_A_JOB - 1):
        file = folder / f"{number % 10}" / f"{number:05d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        original = originals[number % len(originals)]
        if number % BROKEN_EVERY:
            os.link(original, file)
        else:
            file.write_bytes(original.read_bytes()[: 60 + number // BROKEN_EVERY])
    (folder / "notes.txt").write_text("not a picture")
    return folder


def _with_poison(sound: Path, folder: Path, kind: str) -> Path:
    shutil.copytree(sound, folder, copy_function=os.link)
    (folder / "5" / f"{POISON_PREFIX}{kind}.png").write_bytes(deadly_backend.picture(POISON[kind]))
    return folder


def names(folder: Path) -> set[str]:
    """What a client calls the files of a folder."""
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


async def send(server_url: str, folder: Path) -> Told:
    """One job, to its end. A client that finds no server at its first call gives up at once, with nothing sent: then it is asked again."""
    files = await asyncio.to_thread(names, folder)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await _send(server_url, folder, Told("", files))
        except NoServerYet:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(ASK_AGAIN_S)


class NoServerYet(Exception):
    """No job was opened: the server was away."""


async def _send(server_url: str, folder: Path, told: Told) -> Told:
    async with Client(server_url, options=ClientOptions(retry=RetryPolicy(give_up_s=PATIENCE_S))) as client:
        classification = client.classify([folder])
        try:
            async for label in classification:
                if label.name in told.outcomes:
                    told.repeated.append(label.name)
                told.outcomes[label.name] = label
        except Unreachable as error:
            if classification.job is None:
                raise NoServerYet from error
            raise
        told.job = classification.job or ""
    return told


async def stream(server_url: str, pictures: Pictures, jobs: int, pause_s: float, faults_over: asyncio.Event) -> list[Told]:
    """Jobs that begin one `pause_s` after the other, at least so many, and on until `faults_over` is set."""
    running: list[asyncio.Task[Told]] = []
    while len(running) < jobs or not faults_over.is_set() or pictures.poison_waits:
        running.append(asyncio.create_task(send(server_url, pictures.next())))
        # Time between two jobs, not a wait for something: a storm without pauses would be over in seconds.
        await asyncio.wait([asyncio.create_task(faults_over.wait())], timeout=pause_s)
    return list(await asyncio.gather(*running))
