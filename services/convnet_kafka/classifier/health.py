"""`/healthz`, `/readyz` and `/metrics` on a port of their own, in a thread of their own: they answer however busy the loop is.

Alive means that the loop goes round. Ready means that images that arrive now are labelled. Both say why not, with 503. A native call that
hangs and lets no other thread run leaves these without an answer, which a probe takes for a no as well.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Self

import structlog
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry

from convnet_kafka.errors import SettingsError
from convnet_kafka.metrics import exposition

logger = structlog.get_logger(__name__)

START_S = 10.0

Reasons = Callable[[], list[str]]


class HealthServer:
    """A small HTTP server, as a context manager.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        not_alive: sentences why a restart would help; none when alive. Called on the server's thread, must not wait.
        not_ready: sentences why images are not labelled now; none when ready. Called likewise, and before metrics are shown.
        notes: sentences about one that is ready, such as that it is idle by right. Called likewise.
        registry: of the metrics.
        replica: who we are, as brokers know our clients.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        not_alive: Reasons,
        not_ready: Reasons,
        notes: Reasons,
        registry: CollectorRegistry,
        replica: str = "",
    ) -> None:
        self._host = host
        self.port = port
        self._not_alive = not_alive
        self._not_ready = not_ready
        self._notes = notes
        self._registry = registry
        self._replica = replica
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def __enter__(self) -> Self:
        """Listen.

        Raises:
            SettingsError: the port cannot be had.
        """
        self._thread.start()
        self._started.wait(START_S)
        if self._error is not None:
            raise SettingsError(
                f"cannot listen on {self._host}:{self.port} for health checks: {self._error.strerror}; "
                "set CONVNET_CLASSIFIER_PORT or --port"
            )
        logger.info("listening", host=self._host, port=self.port)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=START_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.add_routes(
            [web.get("/healthz", self._answer_alive), web.get("/readyz", self._answer_ready), web.get("/metrics", self._answer_metrics)]
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        try:
            self._loop.run_until_complete(self._listen(runner))
        except OSError as error:
            self._error = error
        self._started.set()
        if self._error is None:
            self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _listen(self, runner: web.AppRunner) -> None:
        await runner.setup()
        await web.TCPSite(runner, self._host, self.port).start()
        self.port = runner.addresses[0][1]

    async def _answer_alive(self, _request: web.Request) -> web.Response:
        reasons = self._not_alive()
        return web.json_response({"alive": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def _answer_ready(self, _request: web.Request) -> web.Response:
        reasons = self._not_ready()
        notes = [] if reasons else self._notes()
        said = {"ready": not reasons, "reasons": reasons, "notes": notes, "replica": self._replica}
        return web.json_response(said, status=503 if reasons else 200)

    async def _answer_metrics(self, request: web.Request) -> web.Response:
        self._not_ready()  # where nobody asks whether this replica is ready, its gauge would stay as it was asked last
        body, content_type = exposition(self._registry, request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})
