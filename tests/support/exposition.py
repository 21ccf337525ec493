"""Metrics that a test serves itself: recorded ones, whose counters go on rising, and ones that it measures."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self


class Exposition:
    """Answers `/metrics` while entered.

    Args:
        text: makes what is answered, for each scrape.
    """

    def __init__(self, text: Callable[[], str]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = text().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="exposition", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def recorded(path: Path) -> Callable[[], str]:
    """A recorded exposition whose counters of containers' use rise by one a second; nothing restarts."""
    text, began = path.read_text(), time.monotonic()

    def now() -> str:
        passed = time.monotonic() - began
        return re.sub(r"(?m)^(container_\w+_total\{.*\} )(\S+)$", lambda line: f"{line[1]}{float(line[2]) + passed}", text)

    return now
