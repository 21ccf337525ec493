"""What predicts, chosen by name: `litert`, `tensorflow`, or a function of somebody's own as `module:function`.

Such a function is called with the arguments of `Factory` and answers with a `convnet.predictor.Predictor`. Its module must be on Python's
path; it runs with all the rights of the classifier.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

from convnet.errors import ModelError
from convnet.predictor import Backend, Predictor, load_predictor
from convnet.registry import Registry


class Factory(Protocol):
    """A backend of one's own."""

    def __call__(self, registry: Registry, version: int, *, max_batch: int, threads: int) -> Predictor:
        """Load a version from the registry, not warmed up yet; raises ConvnetError when it cannot."""
        ...


def load(registry: Registry, version: int, *, backend: str, max_batch: int, threads: int) -> Predictor:
    """Load a version with the backend of this name; see `convnet.predictor.load_predictor`.

    Raises:
        RegistryError: a file of the version is missing or damaged.
        ModelError: the backend cannot load it, or there is no such backend.
    """
    if ":" not in backend:
        return load_predictor(registry, version, backend=cast("Backend", backend), max_batch=max_batch, threads=threads)
    module, _, name = backend.partition(":")
    try:
        factory: Factory = _found(module, name)
    except (ImportError, AttributeError) as error:
        raise ModelError(f"there is no backend {backend!r}: {error}; name it as module:function, on Python's path") from error
    return factory(registry, version, max_batch=max_batch, threads=threads)


def _found(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)
