"""`--processes N`: a parent that spawns N servers on one port (SO_REUSEPORT), replaces one that dies, and passes signals on.

librdkafka does not survive a fork, so every process is a fresh interpreter. Settings travel through a pipe, never through the command
line or the environment: they may hold a password. The pipe stays open; when it ends the parent is gone, and the child stops.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress

import orjson
import structlog
from prometheus_client.multiprocess import mark_process_dead

from convnet_kafka.errors import SettingsError
from convnet_kafka.logs.level import AS_BEFORE, MORE, LevelSwitch, held_back
from convnet_kafka.metrics import MULTIPROCESS_FOLDER
from convnet_kafka.server.auth import check_access
from convnet_kafka.server.config import ServerConfig, signing_keys
from convnet_kafka.server.run import StopRequest, url_of
from convnet_kafka.server.transfer import LogConfig, dump

logger = structlog.get_logger(__name__)

# A process that lives less than this is replaced only after a pause, which doubles up to the longest.
STABLE_S, FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 0.5, 30.0
# Past a child's own budget for going away, it is killed.
KILL_SLACK_S = 10.0


class Supervisor:
    """The parent.

    Args:
        config: all settings.
        logs: how children log.
    """

    def __init__(self, config: ServerConfig, logs: LogConfig) -> None:
        self._config = config
        self._logs = logs
        self._children: set[asyncio.subprocess.Process] = set()
        self._stopping = False

    async def run(self) -> None:
        """Keep all processes running until a signal comes, then wait for their end.

        Raises:
            SettingsError: a signing key is missing, the keys file cannot be used, or the address cannot or must not be listened on.
        """
        signing_keys(self._config.server)
        check_access(self._config.server)
        stop = StopRequest()
        self._pass_on(stop)
        with reserve(self._config.server.host, self._config.server.port) as reserved, tempfile.TemporaryDirectory() as folder:
            port = reserved.getsockname()[1]
            config = ServerConfig(self._config.kafka, self._config.topics, self._config.server.model_copy(update={"port": port}))
            message = orjson.dumps(dump(config, self._logs)) + b"\n"
            environment = {**os.environ, MULTIPROCESS_FOLDER: folder}
            keepers = [asyncio.create_task(self._keep(message, environment, folder)) for _ in range(config.server.processes)]
            logger.info("listening", url=url_of(reserved.getsockname()), processes=len(keepers), kafka=config.kafka.bootstrap_servers)
            await stop.asked.wait()
            self._stopping = True
            budget_s = config.server.shutdown_delay_s + config.server.shutdown_timeout_s + KILL_SLACK_S
            _, late = await asyncio.wait(keepers, timeout=budget_s)
            for keeper in late:
                keeper.cancel()
            for child in list(self._children):
                logger.error("killed a process that did not end", pid=child.pid)
                child.kill()
            await asyncio.gather(*keepers, return_exceptions=True)
        logger.info("stopped")

    def _pass_on(self, stop: StopRequest) -> None:
        loop = asyncio.get_running_loop()

        level = LevelSwitch()

        def told(number: signal.Signals) -> None:
            for child in self._children:
                with suppress(ProcessLookupError):
                    child.send_signal(number)

        def changed(number: signal.Signals) -> None:
            level.change(number)
            told(number)

        def passed(number: signal.Signals) -> None:
            self._stopping = True
            told(number)
            stop.stop(hurry=number is signal.SIGINT)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, passed, number)
        for number in (MORE, AS_BEFORE):
            loop.add_signal_handler(number, changed, number)

    async def _keep(self, message: bytes, environment: dict[str, str], folder: str) -> None:
        """Keep one process running."""
        pause_s = FIRST_PAUSE_S
        while not self._stopping:
            started = time.monotonic()
            with held_back():
                child = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "convnet_kafka.server.worker",
                    stdin=asyncio.subprocess.PIPE,
                    env=environment,
                    # Of its own group: Ctrl-C reaches it through us, once.
                    process_group=0,
                )
            self._children.add(child)
            try:
                if child.stdin is not None:
                    child.stdin.write(message)
                status = await child.wait()
            finally:
                self._children.discard(child)
                mark_process_dead(child.pid, folder)  # type: ignore[no-untyped-call]
            if self._stopping:
                return
            pause_s = FIRST_PAUSE_S if time.monotonic() - started > STABLE_S else min(2 * pause_s, LONGEST_PAUSE_S)
            logger.error("a server process ended and is replaced", pid=child.pid, status=status, after_s=pause_s)
            await asyncio.sleep(pause_s)


def reserve(host: str, port: int) -> socket.socket:
    """A socket that holds the port for us and never listens, so that no connection comes to it.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        reserved = socket.socket(family, kind, protocol)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(address)
    except OSError as error:
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
    return reserved
