"""What is held back or taken out of log records before they are written: repeats, and bytes of requests that may hold a secret."""

from __future__ import annotations

import logging
import re
import time

# While a broker is away every connection of every client says so several times a second.
REPEAT_S = 10.0
# What aiohttp says of bytes that are no HTTP, of which anybody may send any number.
_MALFORMED_LOGGER = "aiohttp.server.malformed"
_REPEATING_LOGGERS = ("librdkafka", "convnet_kafka.kafka", "opentelemetry", _MALFORMED_LOGGER)
# Of all others so many alike are told before they are held back: an image at fault may come a million times.
ALLOWANCE = 20
# Kinds that are remembered; the oldest is forgotten first.
MAX_KINDS = 1000
_NUMBERS = re.compile(r"\d+")


class Repeats(logging.Filter):
    """Lets warnings and errors of one kind through a few times in a while, then one with how many like it were held back.

    Of loggers that are known to repeat themselves one is let through, and they are alike when they differ in numbers alone. Of all others
    `ALLOWANCE` are, and those of one event of one logger are alike.

    Args:
        repeat_s: seconds of a while.
    """

    def __init__(self, repeat_s: float = REPEAT_S) -> None:
        super().__init__()
        self._repeat_s = repeat_s
        # By kind: when its while began, how many were told in it, and how many were held back.
        self._told: dict[str, tuple[float, int, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this one is told."""
        if record.levelno < logging.WARNING:
            return True
        repeating = record.name.startswith(_REPEATING_LOGGERS)
        kind, now = _kind(record, repeating=repeating), time.monotonic()
        began_at, told, held = self._told.get(kind, (-self._repeat_s, 0, 0))
        if now - began_at < self._repeat_s:
            if told >= (1 if repeating else ALLOWANCE):
                self._told[kind] = (began_at, told, held + 1)
                return False
            self._told[kind] = (began_at, told + 1, held)
            return True
        self._told.pop(kind, None)
        while len(self._told) >= MAX_KINDS:
            del self._told[next(iter(self._told))]
        self._told[kind] = (now, 1, 0)
        if held:
            _say_held(record, held)
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


def _kind(record: logging.LogRecord, *, repeating: bool) -> str:
    if not repeating:
        return f"{record.name} {record.msg.get('event') if isinstance(record.msg, dict) else record.msg}"
    text = record.msg if isinstance(record.msg, dict) else record.getMessage()
    return record.name + _NUMBERS.sub("#", str({**text, "timestamp": ""} if isinstance(text, dict) else text))


def _say_held(record: logging.LogRecord, held: int) -> None:
    if isinstance(record.msg, dict):
        record.msg["held_back"] = held
    else:
        record.msg, record.args = f"{record.getMessage()} ({held} more like it were held back)", None
