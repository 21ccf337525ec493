"""A server in this process, on an event loop of its own in a thread, run by the same code as the command."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from convnet_kafka.server import run
from convnet_kafka.server.config import ServerConfig
from convnet_kafka.server.run import StopRequest
from convnet_kafka.settings import KafkaSettings, ServerSettings, TopicSettings
from support.waiting import until

SIGNING_KEY = b"k" * 40


def config(folder: Path, bootstrap_servers: str, prefix: str, *, kafka: Any = None, topics: Any = None, **server: Any) -> ServerConfig:
    """Settings for a test: a free port, a key, few partitions, no delay at the end."""
    key = folder / "signing-key"
    key.write_bytes(SIGNING_KEY)
    return ServerConfig(
        KafkaSettings(bootstrap_servers=bootstrap_servers, topic_prefix=prefix, **(kafka or {})),
        TopicSettings(**({"create": True, "images_partitions": 2, "labels_partitions": 2} | (topics or {}))),
        ServerSettings(**({"port": 0, "signing_key_files": [key], "shutdown_delay_s": 0.0} | server)),
    )


class RunningServer:
    """Started when entered, stopped when left."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.url = ""
        self.error: BaseException | None = None
        self._stop: StopRequest | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="test-server")

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self.url or self.error, 20, "the server listens")
        if self.error is not None:
            raise self.error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.ask_to_stop(hurry=True)
        self.join()

    def ask_to_stop(self, *, hurry: bool) -> None:
        """As a signal does; returns at once."""
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: self._stop and self._stop.stop(hurry=hurry))

    def join(self, timeout_s: float = 40) -> None:
        """Wait for the server's end."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the server did not end"

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - given to the test's thread
            self.error = error

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), StopRequest()
        await run.serve(self.config, self._stop, on_listening=lambda url: setattr(self, "url", url))
