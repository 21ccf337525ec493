"""What `observability.py` needs for its sides with traces: environments, a collector, and a client that traces."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from workers import prepare_client

# Of each request. The client sends 20,000 images in some ten requests of 256 to 4,096: with one more each time their number doubles this is
# one of a hundred. With more images in a round it is a little less.
TRACED_IMAGES = 14


def _tracing(collector: str) -> dict[str, str]:
    return {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": collector}


def sampled(collector: str) -> dict[str, str]:
    """A sampler set to 1 %, for server, classifier and client."""
    return _tracing(collector) | {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}


def every_upload(collector: str) -> dict[str, str]:
    """Every upload, and of its images as many as make one of a hundred of all: far more than the sampler would record."""
    return _tracing(collector) | {"OTEL_TRACES_SAMPLER": "parentbased_always_on", "CONVNET_TRACING_IMAGES": str(TRACED_IMAGES)}


def prepare_collector(port_file: Path) -> Callable[[], dict[str, int]]:
    """Takes traces; tells how many spans of each name have come since it was asked last."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415 - only this process

    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port_file.write_text(str(server.server_address[1]))

    def work() -> dict[str, int]:
        found: Counter[str] = Counter()
        taken, bodies[:] = list(bodies), []
        for body in taken:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                found.update(span.name for scope in resource.scope_spans for span in scope.spans)
        return dict(found)

    return work


def prepare_traced_client(server_url: str, traced: Mapping[str, str]) -> Callable[..., Any]:
    """The client of the whole path, tracing as this environment says."""
    from convnet_kafka import tracing  # noqa: PLC0415 - only this process needs it

    os.environ.update(traced)
    started = tracing.start("client")
    if started is not None:
        started.share()
    return prepare_client(server_url, tracing=started is not None)
