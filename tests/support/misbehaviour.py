"""How a `FakeServer` treats single requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Upload:
    """How one upload request is treated; the default is well.

    Attributes:
        status: answer this at once, before reading, storing nothing.
        headers: of that answer.
        by_proxy: the answer is no problem of the server's, but that of something before it.
        cut: store this share of the images and break the connection off without an answer.
        lie: answer this instead of the truth.
        unknown: of these names say that nobody knows, and store them nevertheless or not.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    by_proxy: bool = False
    cut: float | None = None
    lie: dict[str, Any] | None = None
    unknown: Callable[[str], bool] = lambda name: False
    store_unknown: bool = False


@dataclass
class Fast:
    """How one request of the fast lane is treated; the default is well.

    Attributes:
        status: answer this at once.
        missing: of these names say that their label has not come; it comes with the job's stream.
        unknown: of these names say that nobody knows, and store nothing.
    """

    status: int = 0
    missing: Callable[[str], bool] = lambda name: False
    unknown: Callable[[str], bool] = lambda name: False
