"""The processes that a benchmark measures: one per core for the in-process limit, and one client for the whole path.

Each is a spawned process that lives through all rounds, told by a pipe what to do next, so that start-up is in no figure. Each
answers with the seconds and the CPU seconds (getrusage) that the work took.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from convnet_kafka.garbage import collect_seldom

# Of 8, 16, 32, 64 and 256 none is faster by more than 1 %, decoded into one buffer or stacked, be they 28x28 or photos.
LIMIT_BATCH = 64


@dataclass(frozen=True, slots=True)
class Measured:
    """What one piece of work took.

    Attributes:
        seconds: wall clock.
        cpu_s: user and system time of the process.
        detail: whatever the work returns.
    """

    seconds: float
    cpu_s: float
    detail: Any


def cpu_seconds() -> float:
    """User and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Worker:
    """A spawned process that makes itself ready once and then works when told.

    Args:
        prepare: runs in the process; returns the function that does the work.
        arguments: of `prepare`.
    """

    def __init__(self, prepare: Callable[..., Callable[..., Any]], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, prepare, arguments), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self._receive()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.is_alive():
            self._pipe.send(None)
            self._process.join(timeout=10)
        self.kill()

    def kill(self) -> None:
        """End the process, whatever it is at."""
        self._process.kill()
        self._process.join()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid or 0

    def begin(self, *arguments: object) -> None:
        """Start the work."""
        self._pipe.send(arguments)

    def ended(self, timeout_s: float) -> bool:
        """Whether the work has ended; waits so long for it."""
        return self._pipe.poll(timeout_s)

    def result(self) -> Measured:
        """Wait for the work to end."""
        measured: Measured = self._receive()
        return measured

    def _receive(self) -> Any:
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(pipe: Connection, prepare: Callable[..., Callable[..., Any]], arguments: tuple[object, ...]) -> None:
    try:
        work = prepare(*arguments)
        collect_seldom()
        pipe.send("ready")
        while (task := pipe.recv()) is not None:
            started, cpu = time.monotonic(), cpu_seconds()
            detail = work(*task)
            pipe.send(Measured(time.monotonic() - started, cpu_seconds() - cpu, detail))
    except Exception as error:  # noqa: BLE001 - the other end of the pipe raises it
        pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))


def prepare_limit(models: Path, files: list[Path]) -> Callable[[], int]:
    """The in-process limit of one core: decode, predict in batches, argmax; images in memory, no Kafka, no HTTP."""
    from convnet.images import decode  # noqa: PLC0415 - only this process needs it
    from convnet.predictor import load_predictor  # noqa: PLC0415 - only this process needs it
    from convnet.registry import Registry  # noqa: PLC0415 - only this process needs it

    predictor = load_predictor(Registry(models), "stable", max_batch=LIMIT_BATCH)
    predictor.warm_up()
    pixels = np.empty((LIMIT_BATCH, *predictor.spec.shape), np.uint8)
    contents = [file.read_bytes() for file in files]

    def work() -> int:
        done = 0
        for start in range(0, len(contents), LIMIT_BATCH):
            batch = contents[start : start + LIMIT_BATCH]
            for index, content in enumerate(batch):
                pixels[index] = decode(content, predictor.spec)
            done += len(predictor.predict(pixels[: len(batch)]).argmax(axis=1))
        return done

    return work


def prepare_client(server_url: str, *, tracing: bool = False) -> Callable[..., Any]:
    """The client of the whole path: sends a folder and reads labels until the last one, or measures single calls."""
    from convnet_kafka.client import Client, ClientOptions  # noqa: PLC0415 - only this process needs it

    async def bulk(folder: Path) -> tuple[int, int]:
        labelled = failed = 0
        async with Client(server_url, ClientOptions(tracing=tracing)) as client:
            async for label in client.classify([folder]):
                if label.error is None:
                    labelled += 1
                else:
                    failed += 1
        return labelled, failed

    async def single(files: list[Path], content_type: str) -> list[float]:
        import aiohttp  # noqa: PLC0415 - only this process needs it

        seconds = []
        async with aiohttp.ClientSession() as session:
            for file in files:
                content = file.read_bytes()
                started = time.perf_counter()
                async with session.post(f"{server_url}/v1/classify", data=content, headers={"Content-Type": content_type}) as answer:
                    await answer.read()
                    if answer.status != 200:
                        raise RuntimeError(f"classify answered {answer.status}: {await answer.text()}")
                seconds.append(time.perf_counter() - started)
        return seconds

    def work(what: str, argument: Any, content_type: str) -> Any:
        return asyncio.run(bulk(argument) if what == "bulk" else single(argument, content_type))

    return work
