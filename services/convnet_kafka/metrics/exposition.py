"""What a scraper gets: the numbers of this process, or of all processes that answer for one another behind one port.

OpenMetrics where the scraper asks for it, else Prometheus' text. Histograms are classic ones: the client library (0.26) makes no native
ones, in neither form.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

# Set by whoever starts several processes that answer for one another (server/processes.py); prometheus_client reads it when imported.
MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def several_processes() -> bool:
    """Whether this process shows its numbers together with others."""
    return bool(os.environ.get(MULTIPROCESS_FOLDER))


def process_registry() -> CollectorRegistry:
    """An empty registry for the metrics of this process."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a time stamp beside every counter, which nothing reads
    return CollectorRegistry()


def exposition(registry: CollectorRegistry, accept: str = "") -> tuple[bytes, str]:
    """All metrics, and their content type.

    Args:
        registry: of this process.
        accept: the request's `Accept` header.
    """
    if several_processes():
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
