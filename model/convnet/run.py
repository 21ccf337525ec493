"""One whole training: folder in, registered version out, and the decision whether it becomes stable.

The same command may be given again at any time: it reuses what is there, goes on after a crash, and never lowers what is served.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from convnet import artefacts, export, folders, machine, training
from convnet.artefacts import Artefacts
from convnet.cache import Cache
from convnet.checkpoints import Checkpoints
from convnet.choice import TrainingRequest, choose
from convnet.dataset import Dataset, decode_files, load
from convnet.errors import ClassesDiffer, RegistryError
from convnet.folders import Skipped
from convnet.labelled import REPORT, write_training_report
from convnet.model_card import EpochResult, ModelCard
from convnet.predictor import LiteRTPredictor, load_keras
from convnet.progress import Progress
from convnet.quiet import import_tensorflow
from convnet.registry import KERAS, Registry
from convnet.trainerlock import TrainerLock, only_trainer
from convnet.training import EVALUATION_BATCH, TrainingSettings

_LIBRARIES = ("tensorflow", "keras", "ai-edge-litert", "numpy", "pillow")
# A checkpoint, the one before it and a version fit into this many times the training's weights; less would fail at the very end.
_MIN_FREE_BYTES = 100 * 2**20


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended.

    Attributes:
        card: of the version that this data and these settings give.
        accuracy: of what is served of it, on the held-out images, 0-1.
        reused: it was there already and was not trained again.
        promoted: it became stable now.
        stable_version: which version is stable now.
        previous_version: which was stable before, if any.
        previous_accuracy: of that one on the same images, measured now; None when it was not comparable or not measured.
        reason: one sentence on why it was promoted or not.
        skipped: files that were not used.
        seconds: wall time.
    """

    card: ModelCard
    accuracy: float
    reused: bool
    promoted: bool
    stable_version: int | None
    previous_version: int | None
    previous_accuracy: float | None
    reason: str
    skipped: tuple[Skipped, ...]
    seconds: float


def train(
    folder: Path,
    registry: Registry,
    settings: TrainingSettings | TrainingRequest,
    progress: Progress,
    *,
    class_names: Sequence[str] = (),
    new_classes: bool = False,
    saved_models: Path | None = None,
    cache: Cache | None = None,
    strict: bool = False,
) -> Outcome:
    """Train on a folder of class folders and register the result.

    Args:
        folder: one folder a class.
        registry: where versions live and checkpoints are kept.
        settings: what to train; what a request leaves open is chosen by looking at the pictures.
        progress: told what happens.
        class_names: when given, exactly the classes that must be there.
        new_classes: allow other classes than the stable model's.
        saved_models: also write the version there as a TensorFlow SavedModel, in a folder named by its number.
        cache: where decoded pictures are kept for the next training; without one they are decoded each time.
        strict: stop when any file cannot be used, instead of going on without it.

    Raises:
        DatasetError: the folder cannot be trained on.
        ClassesDiffer: other classes than the stable model's, without `new_classes`.
        RegistryError: the models folder cannot be read or written.
        TrainerBusy: another training holds it.
        TooLargeForMemory: a step does not fit.
        ModelError: the exported model does not answer as the trained one.
    """
    started = time.monotonic()
    found = folders.scan(folder, progress, class_names=class_names, cache=cache)
    registry.make_folder()
    with only_trainer(registry.folder) as lock:
        stable = _stable_card(registry)
        if stable is not None and stable.classes != found.classes and not new_classes:
            raise ClassesDiffer(found.classes, stable.classes, stable.version)
        if isinstance(settings, TrainingRequest):
            settings, why = choose(settings, found)
            progress.note(why)
        same = _trained_before(registry, found.fingerprint, found.classes, settings)
        if same is not None and stable is not None and same.version == stable.version:
            _save(same, registry, saved_models)
            return _nothing_to_do(same, found.skipped, time.monotonic() - started)
        dataset = load(found, settings.spec, progress, cache=cache, strict=strict)
        if same is not None:
            progress.note(f"version {same.version} was trained on this data with these settings already")
        card = same if same is not None else _train_and_register(dataset, registry, settings, progress, lock)
        _save(card, registry, saved_models)
        _report(card, registry, dataset, progress)
        verdict = _judge(card, stable, registry, dataset, folder, progress)
        if verdict.promoted:
            registry.set_alias("stable", card.version)
        return Outcome(
            card=card,
            accuracy=verdict.accuracy,
            reused=same is not None,
            promoted=verdict.promoted,
            stable_version=card.version if verdict.promoted else stable.version if stable is not None else None,
            previous_version=stable.version if stable is not None else None,
            previous_accuracy=verdict.previous_accuracy,
            reason=verdict.reason,
            skipped=dataset.skipped,
            seconds=time.monotonic() - started,
        )


@dataclass(frozen=True, slots=True)
class _Verdict:
    promoted: bool
    accuracy: float
    previous_accuracy: float | None
    reason: str


def _judge(card: ModelCard, stable: ModelCard | None, registry: Registry, dataset: Dataset, folder: Path, progress: Progress) -> _Verdict:
    """Measure the new and the stable version on the same held-out images, now, each at its own size."""
    new = _measured(card, registry, dataset, folder, progress)
    if stable is None:
        return _Verdict(True, new, None, "it is the first model here")
    if stable.classes != card.classes:
        return _Verdict(True, new, None, f"its classes differ from those of version {stable.version}, as --new-classes allows")
    old = _measured(stable, registry, dataset, folder, progress)
    comparison = f"it classifies {new:.2%} of {len(dataset.held_out)} held-out images rightly, version {stable.version} {old:.2%}"
    return _Verdict(new > old, new, old, comparison)


def _report(card: ModelCard, registry: Registry, dataset: Dataset, progress: Progress) -> None:
    """Write the version's report unless it has one. It is for people: a training without it has not failed."""
    if (registry.folder / str(card.version) / REPORT).exists():
        return
    progress.stage("writing the report", len(dataset.held_out))
    try:
        path = write_training_report(registry, _predictor(card, registry), dataset)
        progress.note(f"the report is {path}")
    except RegistryError as error:
        progress.note(str(error))


def _predictor(card: ModelCard, registry: Registry) -> LiteRTPredictor:
    """What is served of a version, with all processors."""
    model = registry.artefact(card.version, card.served)
    return LiteRTPredictor(card, model, max_batch=EVALUATION_BATCH, threads=machine.processors())


def _measured(card: ModelCard, registry: Registry, dataset: Dataset, folder: Path, progress: Progress) -> float:
    predictor = _predictor(card, registry)
    held_out = dataset.held_out
    if card.spec != dataset.spec:
        held_out = decode_files(held_out.pictures, card.spec, progress, [], folder)
    return training.accuracy(predictor, held_out)


def _train_and_register(
    dataset: Dataset, registry: Registry, settings: TrainingSettings, progress: Progress, lock: TrainerLock
) -> ModelCard:
    _check_space(registry.folder)
    _use_machine(progress)
    checkpoints = Checkpoints(registry.folder, settings.run_name(dataset.fingerprint))
    network, history = training.fit(dataset, settings, checkpoints, progress, still_ours=lock.check)
    unregistered = _card(dataset, settings, history)
    made = artefacts.make(network, dataset, unregistered, progress)
    lock.check()
    card = registry.add(
        lambda version, checksums: _measured_card(unregistered, made).model_copy(update={"version": version, "checksums": dict(checksums)}),
        made.files,
    )
    checkpoints.remove()
    return card


def _card(dataset: Dataset, settings: TrainingSettings, history: tuple[EpochResult, ...]) -> ModelCard:
    return ModelCard(
        version=1,
        classes=dataset.classes,
        height=dataset.spec.height,
        width=dataset.spec.width,
        channels=dataset.spec.channels,
        network=settings.network,
        accuracy={},
        training_images=len(dataset.training),
        validation_images=len(dataset.held_out),
        validation_class_images=tuple(np.bincount(dataset.held_out.labels, minlength=len(dataset.classes)).tolist()),
        data_fingerprint=dataset.fingerprint,
        settings=settings.as_json(),
        history=history,
        library_versions={"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _LIBRARIES},
        checksums={},
        created_at=datetime.now(UTC),
    )


def _measured_card(card: ModelCard, made: Artefacts) -> ModelCard:
    figures = {
        "accuracy": dict(made.accuracy),
        "served": made.served,
        "refused": dict(made.refused),
        "temperature": made.temperature,
    }
    return card.model_copy(update=figures)


def _check_space(models: Path) -> None:
    """Say now, not after an hour, that the result could not be written."""
    free = shutil.disk_usage(models).free
    if free < _MIN_FREE_BYTES:
        raise RegistryError(
            f"only {free / 2**20:.0f} MiB are free in {models}; a training needs {_MIN_FREE_BYTES / 2**20:.0f} MiB for checkpoints and its "
            "model. Make space or give another folder with --models"
        )


def _use_machine(progress: Progress) -> None:
    """As many threads as this container may keep busy; all memory of a GPU only as it is needed."""
    tf = import_tensorflow()
    with contextlib.suppress(RuntimeError):  # TensorFlow is already running in this process and keeps what it has
        tf.config.threading.set_intra_op_parallelism_threads(machine.processors())
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
            progress.note(f"training on the GPU {gpu.name}")


def _save(card: ModelCard, registry: Registry, saved_models: Path | None) -> None:
    if saved_models is not None and not (saved_models / str(card.version)).exists():
        network = load_keras(registry.artefact(card.version, KERAS), f"version {card.version}")
        export.saved_model(network, saved_models, card.version)


def _stable_card(registry: Registry) -> ModelCard | None:
    """The stable version, its file proven whole now: a training must not end in finding that it cannot be compared."""
    version = registry.resolve("stable")
    if version is None:
        return None
    card = registry.card(version)
    registry.artefact(version, card.served)
    return card


def _trained_before(registry: Registry, fingerprint: str, classes: tuple[str, ...], settings: TrainingSettings) -> ModelCard | None:
    """The newest version of the same training whose files are whole."""
    for version in reversed(registry.versions()):
        try:
            card = registry.card(version)
            if (card.data_fingerprint, card.classes, card.settings) == (fingerprint, classes, settings.as_json()):
                registry.artefact(version, card.served)
                return card
        except RegistryError:
            continue  # damaged: training again replaces it
    return None


def _nothing_to_do(card: ModelCard, skipped: tuple[Skipped, ...], seconds: float) -> Outcome:
    return Outcome(
        card=card,
        accuracy=card.accuracy[card.served],
        reused=True,
        promoted=False,
        stable_version=card.version,
        previous_version=card.version,
        previous_accuracy=None,
        reason="it is stable already, trained on this data with these settings; nothing was trained",
        skipped=skipped,
        seconds=seconds,
    )
