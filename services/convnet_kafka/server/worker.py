"""One of several server processes: reads its settings from its parent's pipe, and stops when the pipe ends. Started by `processes.py`."""

from __future__ import annotations

import asyncio
import sys

import orjson

from convnet_kafka import logs
from convnet_kafka.garbage import collect_seldom
from convnet_kafka.logs.level import LevelSwitch
from convnet_kafka.server.config import ServerConfig
from convnet_kafka.server.run import StopRequest, serve
from convnet_kafka.server.transfer import load


async def work(config: ServerConfig) -> None:
    """Serve until a signal comes or the parent is gone."""
    stop = StopRequest()
    stop.on_signals()
    loop = asyncio.get_running_loop()

    def parent_gone() -> None:
        loop.remove_reader(sys.stdin.fileno())
        stop.stop(hurry=True)

    loop.add_reader(sys.stdin.fileno(), parent_gone)
    await serve(config, stop, shared_port=True, on_listening=lambda _: None)


def main() -> None:
    """Entry point of `python -m convnet_kafka.server.worker`."""
    config, log = load(orjson.loads(sys.stdin.buffer.readline()))
    logs.configure(log.level, log.json)
    LevelSwitch().follow_signals()
    collect_seldom()
    asyncio.run(work(config))


if __name__ == "__main__":
    main()
