"""One server process from its start to its end: listen, say where, wait for a signal, and go away without losing an answer."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web

from convnet_kafka.errors import SettingsError
from convnet_kafka.server.app import BACKEND, LIFECYCLE, build
from convnet_kafka.server.auth import check_access
from convnet_kafka.server.config import ServerConfig
from convnet_kafka.server.lifecycle import Lifecycle
from convnet_kafka.topology import Topology
from convnet_kafka.tracing import FLUSH_S, start

if TYPE_CHECKING:
    from convnet_kafka.tracing.provider import Tracing
    from convnet_kafka.tracing.requests import RequestTraces

logger = structlog.get_logger(__name__)

# Connections that wait to be accepted: a burst of callers, not a queue of work.
BACKLOG = 1024
# Longer than the idle time-outs of common proxies (60 s), so that they, not we, close a connection that is about to be used.
KEEPALIVE_S = 75.0
# Seconds for answers that are ready to be written when everything else has ended.
LAST_ANSWERS_S = 1.0
# Part of the time for ending that is kept for it, and seconds of it at most: the last answers, what the producers hold, and their threads.
CLOSING_PART, CLOSING_S = 0.5, 4.0


@dataclass(slots=True)
class StopRequest:
    """The wish to end, from a signal or from whoever owns this process.

    Attributes:
        asked: set by the first wish.
        hurry: set when there is no reason to go on accepting for a while.
    """

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self, *, hurry: bool) -> None:
        """Ask for the end; asking again is hurrying."""
        if hurry or self.asked.is_set():
            self.hurry.set()
        self.asked.set()

    def on_signals(self) -> None:
        """SIGTERM leaves in two steps, SIGINT (Ctrl-C) at once."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: self.stop(hurry=False))
        loop.add_signal_handler(signal.SIGINT, lambda: self.stop(hurry=True))


async def serve(
    config: ServerConfig, stop: StopRequest, *, shared_port: bool = False, on_listening: Callable[[str], None] | None = None
) -> None:
    """Serve until asked to stop.

    Args:
        config: all settings.
        stop: how to ask.
        shared_port: True to let other processes listen on the same port (SO_REUSEPORT).
        on_listening: called with the URL once connections are accepted; else it is logged.

    Raises:
        SettingsError: a signing key is missing, the keys file cannot be used, or the address cannot or must not be listened on.
    """
    settings = config.server
    check_access(settings)
    tracing = start("server")
    app = build(config, _traces(tracing, config))
    runner = web.AppRunner(
        app,
        access_log=None,
        # A body is what the caller sent: its encoding is for the handlers to refuse or to undo within their limits.
        auto_decompress=False,
        handler_cancellation=True,
        keepalive_timeout=KEEPALIVE_S,
        shutdown_timeout=LAST_ANSWERS_S,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG, reuse_port=shared_port or None)
        try:
            await site.start()
        except OSError as error:
            raise SettingsError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; choose another --port") from error
        url = url_of(runner.addresses[0])
        if on_listening is not None:
            on_listening(url)
        else:
            logger.info("listening", url=url, kafka=config.kafka.bootstrap_servers)
        await stop.asked.wait()
        await _leave(app[LIFECYCLE], stop, settings.shutdown_delay_s)
        await site.stop()
        # Streams and waiting pages end by themselves, so that only uploads are waited for. Not left to aiohttp, whose own shutdown throws
        # away what still comes of a body.
        lifecycle = app[LIFECYCLE]
        lifecycle.end_by = time.monotonic() + settings.shutdown_timeout_s
        app[BACKEND].readers.disconnect()
        drain_s = settings.shutdown_timeout_s - min(CLOSING_S, CLOSING_PART * settings.shutdown_timeout_s)
        cut_off = await lifecycle.drained(drain_s)
        if cut_off:
            logger.warning("requests cut off", requests=cut_off, after_s=drain_s)
    finally:
        await runner.cleanup()
        if tracing is not None:
            await asyncio.to_thread(tracing.close, FLUSH_S)
    logger.info("stopped")


def _traces(tracing: Tracing | None, config: ServerConfig) -> RequestTraces | None:
    if tracing is None:
        return None
    from convnet_kafka.tracing.requests import RequestTraces  # noqa: PLC0415 - OpenTelemetry is imported only where it is asked for

    return RequestTraces(tracing, Topology(config.kafka.topic_prefix).labels)


async def _leave(lifecycle: Lifecycle, stop: StopRequest, delay_s: float) -> None:
    """Not ready at once, but still there for callers that have not heard of it."""
    lifecycle.leaving = True
    logger.info("stopping", accepts_for_s=0 if stop.hurry.is_set() else delay_s)
    with suppress(TimeoutError):
        async with asyncio.timeout(delay_s):
            await stop.hurry.wait()


def url_of(address: Any) -> str:
    """The URL of a socket's address."""
    host, port = address[:2]
    try:
        socket.inet_pton(socket.AF_INET6, host)
    except OSError:
        return f"http://{host}:{port}"
    return f"http://[{host}]:{port}"
