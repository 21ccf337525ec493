"""The model in use: loaded and warmed aside, replaced between batches when the stable alias moves, kept when a new one fails.

Owns one thread, which looks at the registry by reading its file: file events and times of change do not cross network file systems.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from convnet.errors import ConvnetError
from convnet.predictor import Predictor

logger = structlog.get_logger(__name__)

# A new alias is in use everywhere within about a second; one read of a small file a second is nothing.
LOOK_S = 1.0
# A version that failed to load is tried again: the volume may have been the problem, or a copy by hand that was not complete.
RELOAD_S = 5.0
# A model that failed on its own warm-up amid work will most likely do so again.
DISTRUST_S = 30.0


class ModelWatch:
    """Follows the stable alias.

    Args:
        resolve: the version it points to now, or None when it points to none; raises ConvnetError.
        load: loads that version; raises ConvnetError.
    """

    def __init__(self, resolve: Callable[[], int | None], load: Callable[[int], Predictor]) -> None:
        self._resolve = resolve
        self._load = load
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed: tuple[int, float] | None = None
        self._problem = "the model is being loaded"
        self._current: Predictor | None = None

    @property
    def current(self) -> Predictor | None:
        """The newest model that loaded and answered its warm-up, or None so far."""
        return self._current

    @property
    def problem(self) -> str | None:
        """Why there is no model, or None when there is one."""
        return self._problem if self._current is None else None

    def start(self) -> None:
        """Start looking, at once."""
        self._thread = threading.Thread(target=self._run, name="model-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking. A load in progress is left to end with the process."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=LOOK_S)

    def distrust(self, predictor: Predictor, problem: str) -> None:
        """This model turned out to be broken: take it out of use, and load it again later, or another as soon as there is one."""
        self._failed = (predictor.card.version, time.monotonic() + DISTRUST_S)
        self._problem = problem
        self._current = None

    def _run(self) -> None:
        while not self._stop.is_set():
            self._look()
            self._stop.wait(LOOK_S)

    def _look(self) -> None:
        try:
            version = self._resolve()
        except ConvnetError as error:
            self._tell(str(error))
            return
        current = self._current
        if version is None:
            self._tell("no stable model yet: train one")
            return
        if current is not None and current.card.version == version:
            return
        if self._failed is not None and self._failed[0] == version and time.monotonic() < self._failed[1]:
            return
        try:
            started = time.monotonic()
            predictor = self._load(version)
            predictor.warm_up()
        except Exception as error:  # noqa: BLE001 - logged with its traceback where it is not ours
            # Ours say what is wrong. A backend's own error must not end this thread either: the next version may be sound.
            self._failed = (version, time.monotonic() + RELOAD_S)
            self._tell(f"model {version} cannot be used: {error}", exc_info=not isinstance(error, ConvnetError))
        else:
            self._failed = None
            self._current = predictor
            logger.info("model loaded", model=version, seconds=round(time.monotonic() - started, 3), replaces=_version(current))

    def _tell(self, problem: str, *, exc_info: bool = False) -> None:
        """Log a problem when it is another one than before."""
        if problem != self._problem:
            logger.warning("waiting for a model" if self._current is None else "the old model is kept", reason=problem, exc_info=exc_info)
        self._problem = problem


def _version(predictor: Predictor | None) -> int | None:
    return predictor.card.version if predictor is not None else None
