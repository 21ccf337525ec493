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
# What aiohttp says of bytes that are no HTTP, of which anybody may send any number.
_MALFORMED_LOGGER = "aiohttp.server.malformed"
_REPEATING_LOGGERS = ("librdkafka", "convnet_kafka.kafka", _MALFORMED_LOGGER)
_NUMBERS = re.compile(r"\d+")


class Repeats(logging.Filter):
    """Lets a warning of the loggers above through once in a while, with how many like it were held back; numbers in it make no difference.

    Args:
        repeat_s: seconds between two that are alike.
    """

    def __init__(self, repeat_s: float = REPEAT_S) -> None:
        super().__init__()
        self._repeat_s = repeat_s
        self._told: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this one is told."""
        if record.levelno < logging.WARNING or not record.name.startswith(_REPEATING_LOGGERS):
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


class Malformed(logging.Filter):
    """Takes the bytes of a broken request out of what aiohttp says of it: they may hold a key or a job id."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mends the record; every one is told."""
        error = record.exc_info[1] if record.exc_info else None
        if any(kind.__module__ == "aiohttp.http_exceptions" for kind in type(error).__mro__):
            record.name, record.levelno, record.levelname = _MALFORMED_LOGGER, logging.WARNING, "WARNING"
            record.msg, record.args = f"a request was not HTTP and was refused ({type(error).__name__})", None
            record.exc_info = record.exc_text = None
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
        # Not the formatter that is the default where rich is installed: it shows local variables, keys and job ids among them.
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Malformed())
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
    # aiohttp and asyncio tell at info what only they need to know, and Pillow at debug what stands in the pictures.
    for name in ("aiohttp", "asyncio", "PIL"):
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
