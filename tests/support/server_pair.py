"""Two servers, each a process of its own, behind a round robin: what a caller says to one it may ask the other about."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from convnet_kafka.server.config import ServerConfig
from support.round_robin import RoundRobin
from support.server_process import ServerProcess
from support.waiting import until_ready


class ServerPair:
    """Started when entered, stopped when left.

    Args:
        config: settings of both; each gets a free port.

    Attributes:
        url: of the round robin.
        servers: the two.
    """

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.servers = [ServerProcess(config), ServerProcess(config)]
        self.url = ""
        self._entered = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            for server in self.servers:
                entered.enter_context(server)
            for server in self.servers:
                server.wait()
            self.url = entered.enter_context(RoundRobin([server.url for server in self.servers])).url
            self._entered = entered.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._entered.close()

    def until_ready(self) -> None:
        """Return when both can serve."""
        for server in self.servers:
            until_ready(server.url)
