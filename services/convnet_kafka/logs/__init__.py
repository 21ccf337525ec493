"""Logging of every service: structlog for our own, and all of the standard library's (aiohttp, librdkafka) through the same end.

JSON lines where a machine reads, colours on a terminal. Nothing that is logged here may hold a job id's signature or a key. docs/logs.md
lists every event.
"""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import Processor

from convnet_kafka.logs.filters import Malformed, Repeats

# One line a request, at debug: at full rate it would cost more than the request.
ACCESS_LOGGER = "convnet_kafka.access"


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
