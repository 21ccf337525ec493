"""Logging of every service: structlog for our own, and all of the standard library's (aiohttp, librdkafka) through the same end.

JSON lines where a machine reads, colours on a terminal. Nothing that is logged here may hold a job id's signature or a key.
"""

from __future__ import annotations

import logging
import re
import sys
import time

import structlog
from structlog.typing import Processor

# One line a request, at debug: at full rate it would cost more than the request.
ACCESS_LOGGER = "convnet_kafka.access"
# While a broker is away every connection of every client says so several times a second.
REPEAT_S = 10.0
_KAFKA_LOGGERS = ("librdkafka", "convnet_kafka.kafka")
_NUMBERS = re.compile(r"\d+")


class Repeats(logging.Filter):
    """Lets a warning about Kafka through once in a while, with how many like it were held back; numbers in it make no difference.

    Args:
        repeat_s: seconds between two that are alike.
    """

    def __init__(self, repeat_s: float = REPEAT_S) -> None:
        super().__init__()
        self._repeat_s = repeat_s
        self._told: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this one is told."""
        if record.levelno < logging.WARNING or not record.name.startswith(_KAFKA_LOGGERS):
            return True
        text = record.msg if isinstance(record.msg, dict) else record.getMessage()
        kind = record.name + _NUMBERS.sub("#", str({**text, "timestamp": ""} if isinstance(text, dict) else text))
        now = time.monotonic()
        told_at, held = self._told.get(kind, (-self._repeat_s, 0))
        if now - told_at < self._repeat_s:
            self._told[kind] = (told_at, held + 1)
            return False
        self._told[kind] = (now, 0)
        if held and isinstance(record.msg, dict):
            record.msg["held_back"] = held
        elif held:
            record.msg, record.args = f"{record.getMessage()} ({held} more like it were held back)", None
        return True


def configure(level: str = "info", json: bool | None = None) -> None:
    """Set up logging of this process, to stderr.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        json: True for JSON lines, False for people; None for JSON unless stderr is a terminal.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    ending: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Repeats())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # aiohttp and asyncio tell at info what only they need to know.
    for name in ("aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
