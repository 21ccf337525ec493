"""First on PYTHONPATH, this has a process of ours count nothing and log nothing: what benchmarks/observability.py compares with.

Python imports it before anything else. It takes the counting itself away and not only the counters, so that the other side's figure holds
all that observing costs; what the product needs its numbers for (sizing batches) stays.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import logging
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _instruments(module: Any) -> None:
    for kind, methods in ((module.Counter, ("inc",)), (module.Gauge, ("inc", "dec", "set")), (module.Histogram, ("observe",))):
        for method in methods:
            setattr(kind, method, _nothing)
    module.MetricWrapperBase.labels = lambda self, *_, **__: self


def _meters(module: Any) -> None:
    sent = module.Sent(module.Submissions(), 0.0)
    module.LaneMeter.sent = lambda *_, **__: sent
    module.LaneMeter.stored = module.LaneMeter.compared = _nothing


def _quality(module: Any) -> None:
    module.Quality.answered = module.Quality.chosen = _nothing


def _publisher(module: Any) -> None:
    module.Publisher._count = _nothing  # noqa: SLF001 - taken away whole


def _server(module: Any) -> None:
    module.ServerMetrics.answered = _nothing


def _uploads(module: Any) -> None:
    module.count_images = lambda request, _metrics, intake, lane, _started: module.caller(request).charge(intake.images, lane)


def _health(module: Any) -> None:
    module.Health.sample = _nothing


def _pipeline(module: Any) -> None:
    module.SAMPLE_S = float("inf")


_UNDONE: dict[str, Callable[[Any], None]] = {
    "prometheus_client.metrics": _instruments,
    "convnet_kafka.metrics.server": _server,
    "convnet_kafka.server.uploads": _uploads,
    "convnet_kafka.server.health": _health,
    "convnet_kafka.classifier.measuring": _meters,
    "convnet_kafka.classifier.quality": _quality,
    "convnet_kafka.classifier.publishing": _publisher,
    "convnet_kafka.classifier.pipeline": _pipeline,
}


class _Undo(importlib.abc.MetaPathFinder):
    """Changes some modules once they are loaded."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        undo = _UNDONE.get(name)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target) if undo is not None else None
        if undo is None or spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            undo(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Undo())
logging.disable(logging.CRITICAL)
