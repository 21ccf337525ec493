"""A replica's `/readyz` and `/metrics` as a stand-in over HTTP, changed by the test while it answers."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class MetricsPage:
    """Answers on 127.0.0.1, as a context manager.

    Attributes:
        ready: what `/readyz` says; status 503 when its `ready` is false.
        metrics: the text of `/metrics`.
    """

    def __init__(self, metrics: str, **ready: Any) -> None:
        self.metrics = metrics
        self.ready = {"ready": True, "reasons": []} | ready
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = page.metrics.encode() if self.path == "/metrics" else json.dumps(page.ready).encode()
                self.send_response(200 if self.path == "/metrics" or page.ready["ready"] else 503)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
