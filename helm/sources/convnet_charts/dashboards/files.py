"""The dashboards of the chart, as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from convnet_charts.dashboards.capacity import capacity
from convnet_charts.dashboards.classifier import classifier
from convnet_charts.dashboards.ingest import ingest
from convnet_charts.dashboards.kafka import kafka
from convnet_charts.dashboards.overview import overview
from convnet_charts.dashboards.quality import quality

FOLDER = "helm/convnet-kafka/dashboards"
# Path below the repository's root -> what makes its text.
FILES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        f"{FOLDER}/overview.json": overview,
        f"{FOLDER}/ingest.json": ingest,
        f"{FOLDER}/classifier.json": classifier,
        f"{FOLDER}/kafka.json": kafka,
        f"{FOLDER}/quality.json": quality,
        f"{FOLDER}/capacity.json": capacity,
    }
)
