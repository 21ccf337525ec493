"""The models in use: loaded and warmed aside, replaced between batches when an alias moves, kept when a new stable one fails.

Owns one thread, which looks at the registry by reading its file: file events and times of change do not cross network file systems. A
canary or shadow that fails is out of use, and never in the way of the stable model.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import structlog

from convnet.errors import ConvnetError
from convnet.predictor import Predictor
from convnet.registry import Aliases

logger = structlog.get_logger(__name__)

# A new alias is in use everywhere within about a second; one read of a small file a second is nothing.
LOOK_S = 1.0
# A version that failed to load is tried again: the volume may have been the problem, or a copy by hand that was not complete.
RELOAD_S = 5.0
# A model that failed on its own warm-up amid work will most likely do so again.
DISTRUST_S = 30.0


class Role(StrEnum):
    """What a model is there for; the alias's name in the registry."""

    STABLE = "stable"
    CANARY = "canary"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The models in use at one moment.

    Attributes:
        stable: the newest that loaded and answered its warm-up, or None so far.
        canary: answers a share, or None.
        canary_percent: how large a share, 0 to 100.
        shadow: predicts beside stable, or None.
    """

    stable: Predictor | None = None
    canary: Predictor | None = None
    canary_percent: int = 0
    shadow: Predictor | None = None


class ModelWatch:
    """Follows the aliases.

    Args:
        aliases: which version has which role now; raises ConvnetError.
        load: loads the newest version that has a role, None when none has it any more; raises ConvnetError.
        on_failed: called with the role whose version failed to load, from the watch's thread.
        on_aliases: called with what the registry names, after each look that could read it.
    """

    def __init__(
        self,
        aliases: Callable[[], Aliases],
        load: Callable[[Role], Predictor | None],
        on_failed: Callable[[Role], None] = lambda _role: None,
        on_aliases: Callable[[Aliases], None] = lambda _aliases: None,
    ) -> None:
        self._aliases = aliases
        self._load = load
        self._on_failed = on_failed
        self._on_aliases = on_aliases
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._models: dict[Role, Predictor] = {}
        self._percent = 0
        self._failed: dict[Role, tuple[int, float]] = {}
        self._problem = "the model is being loaded"
        self._told: dict[Role, str] = {}
        self._selection = Selection()

    @property
    def selection(self) -> Selection:
        """The models in use; another object after each change."""
        return self._selection

    @property
    def current(self) -> Predictor | None:
        """The stable model in use, or None so far."""
        return self._selection.stable

    @property
    def problem(self) -> str | None:
        """Why there is no stable model, or None when there is one."""
        return self._problem if self.current is None else None

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
        with self._lock:
            for role in [role for role, model in self._models.items() if model is predictor]:
                del self._models[role]
                self._failed[role] = (predictor.card.version, time.monotonic() + DISTRUST_S)
                if role is Role.STABLE:
                    self._problem = problem
                else:
                    logger.warning("a model on trial is out of use", role=role.value, model=predictor.card.version, reason=problem)
            self._select()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._look()
            self._stop.wait(LOOK_S)

    def _look(self) -> None:
        try:
            aliases = self._aliases()
        except ConvnetError as error:
            self._tell(str(error))
            return
        self._on_aliases(aliases)
        self._percent = aliases.canary_percent
        if aliases.stable is None:
            self._tell("no stable model yet: train one")
        else:
            self._follow(Role.STABLE, aliases.stable)
        # What is stable needs no trial.
        for role, version in ((Role.CANARY, aliases.canary), (Role.SHADOW, aliases.shadow)):
            if version is None or version == aliases.stable:
                self._end(role)
            else:
                self._follow(role, version)
        if self._selection.canary_percent != self._percent:
            self._use(Role.STABLE, self._models.get(Role.STABLE))

    def _follow(self, role: Role, version: int) -> None:
        """Have this version in use, from here on or when it can be loaded."""
        current = self._models.get(role)
        if current is not None and current.card.version == version:
            return
        if role is not Role.STABLE:
            self._end(role)  # the one before has no role any more, whether or not the new one can be loaded
        failed = self._failed.get(role)
        if failed is not None and failed[0] == version and time.monotonic() < failed[1]:
            return
        try:
            started = time.monotonic()
            predictor = self._loaded(role, version)
        except Exception as error:  # noqa: BLE001 - logged with its traceback where it is not ours
            # Ours say what is wrong. A backend's own error must not end this thread either: the next version may be sound.
            self._failed[role] = (version, time.monotonic() + RELOAD_S)
            self._on_failed(role)
            self._tell(f"model {version} cannot be used: {error}", role, exc_info=not isinstance(error, ConvnetError))
            return
        if predictor is None:
            return  # the alias was cleared meanwhile: the next look sees it
        self._failed.pop(role, None)
        self._told.pop(role, None)
        self._use(role, predictor)
        seconds = round(time.monotonic() - started, 3)
        logger.info("model loaded", model=predictor.card.version, role=role.value, seconds=seconds, replaces=_version(current))

    def _loaded(self, role: Role, version: int) -> Predictor | None:
        """A warm model: one that has another role already, or one from the registry."""
        with self._lock:
            for predictor in self._models.values():
                if predictor.card.version == version:
                    return predictor
        loaded = self._load(role)
        if loaded is not None:
            loaded.warm_up()
        return loaded

    def _end(self, role: Role) -> None:
        if role in self._models:
            logger.info("model no longer used", model=_version(self._models[role]), role=role.value)
            self._use(role, None)

    def _use(self, role: Role, predictor: Predictor | None) -> None:
        with self._lock:
            if predictor is None:
                self._models.pop(role, None)
            else:
                self._models[role] = predictor
            self._select()

    def _select(self) -> None:
        models = self._models
        self._selection = Selection(models.get(Role.STABLE), models.get(Role.CANARY), self._percent, models.get(Role.SHADOW))

    def _tell(self, problem: str, role: Role = Role.STABLE, *, exc_info: bool = False) -> None:
        """Log a problem when it is another one than before."""
        if role is not Role.STABLE:
            if problem != self._told.get(role):
                logger.warning("a model on trial cannot be used; stable answers", role=role.value, reason=problem, exc_info=exc_info)
            self._told[role] = problem
            return
        if problem != self._problem:
            logger.warning("waiting for a model" if self.current is None else "the old model is kept", reason=problem, exc_info=exc_info)
        self._problem = problem


def _version(predictor: Predictor | None) -> int | None:
    return predictor.card.version if predictor is not None else None
