"""What children of the local stack say: one stream on a console, each line behind its speaker's name, or one file each."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import orjson
from rich.console import Console
from rich.text import Text

# The last lines of a child that fails to start are shown.
_TAIL_LINES = 12
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")
_LEVELS: Mapping[str, str] = MappingProxyType({"warning": "yellow", "error": "bold red", "critical": "bold red"})
# What every line has, and what the prefix says already.
_COMMON = frozenset({"event", "level", "timestamp", "logger", "exception"})


class ChildLogs:
    """Where the output of children goes.

    Args:
        console: shows every line; None writes files instead.
        folder: of the files, one a child, appended to.
    """

    def __init__(self, console: Console | None, folder: Path) -> None:
        self._console = console
        self._folder = folder
        self._colours: dict[str, str] = {}
        self._tails: dict[str, deque[str]] = {}
        self._lock = threading.Lock()

    def open(self, name: str) -> IO[bytes]:
        """A file for a child's stdout and stderr; close it once the child has it."""
        if self._console is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            return self.path(name).open("ab")
        reading, writing = os.pipe()
        # Ends when the child and whatever it started have ended.
        threading.Thread(target=self._pump, args=(name, os.fdopen(reading, "rb")), name=f"log-{name}", daemon=True).start()
        return os.fdopen(writing, "wb")

    def path(self, name: str) -> Path:
        """The file of a child."""
        return self._folder / f"{name}.log"

    def note(self, name: str, text: str) -> None:
        """Add a line of ours to what is known of a child."""
        if self._console is not None:
            self._show(name, Text(text))
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.path(name).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def tail(self, name: str) -> str:
        """What a child said last."""
        if self._console is not None:
            lines = list(self._tails.get(name, ()))
        else:
            try:
                lines = self.path(name).read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
            except OSError:
                lines = []
        return "\n  ".join(_readable(line).plain for line in lines) or "it said nothing"

    def _pump(self, name: str, stream: IO[bytes]) -> None:
        tail = self._tails.setdefault(name, deque(maxlen=_TAIL_LINES))
        with stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip()
                tail.append(line)
                self._show(name, _readable(line))

    def _show(self, name: str, text: Text) -> None:
        if self._console is None:
            return
        with self._lock:
            colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
            self._console.print(Text(f"{name:<12} ", style=colour) + text, soft_wrap=True, highlight=False)


def _readable(line: str) -> Text:
    """A structured log line as people read it; any other line as it is."""
    if not line.startswith("{"):
        return Text(line)
    try:
        record: dict[str, Any] = orjson.loads(line)
        clock, level = str(record["timestamp"])[11:19], str(record["level"])
        rest = " ".join(f"{key}={value}" for key, value in record.items() if key not in _COMMON)
        text = Text(f"{clock} ") + Text(f"{record['event']}", style=_LEVELS.get(level, ""))
        text.append(f"  {rest}" if rest else "", style="dim")
        if trace := record.get("exception"):
            text.append(f"\n{trace}")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return Text(line)
    return text
