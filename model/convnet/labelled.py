"""Judge a version: on the pictures of its own training, or on any labelled folder; and write the report of either."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from convnet import report
from convnet.cache import Cache
from convnet.dataset import Dataset, Split, decode_files
from convnet.errors import DatasetError
from convnet.evaluation import evaluate
from convnet.folders import Skipped, hash_files
from convnet.listing import Part, list_files
from convnet.measuring import measure
from convnet.model_card import ModelCard
from convnet.predictor import Predictor
from convnet.progress import Progress
from convnet.registry import Registry
from convnet.report import Report

REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class Labelled:
    """Pictures of a folder with labels in the order of a model's classes.

    Attributes:
        split: the pictures.
        skipped: files that were not used.
        what: names the pictures, for people.
    """

    split: Split
    skipped: tuple[Skipped, ...]
    what: str


def load_labelled(folder: Path, card: ModelCard, progress: Progress, cache: Cache | None = None) -> Labelled:
    """Every picture of class folders that a model knows; of `test/` (else `val/`) alone where there are such folders.

    Raises:
        DatasetError: the folder is missing, holds a class that the model does not know, or no readable picture.
    """
    listing = list_files(folder, least_classes=1)
    unknown = [name for name in listing.classes if name not in card.classes]
    if unknown:
        raise DatasetError(
            f"{folder} holds the class folders {', '.join(listing.classes)}; version {card.version} knows {', '.join(card.classes)}. "
            f"It cannot be judged on {', '.join(unknown)}: move these elsewhere, or name a version that knows them (--version)"
        )
    parts = {file.part for file in listing.files}
    judged = next(part for part in (Part.TEST, Part.VAL, Part.TRAIN, Part.WHOLE) if part in parts or part is Part.WHOLE)
    listing = replace(listing, files=tuple(file for file in listing.files if file.part is judged))
    found, skipped = hash_files(listing, progress, cache)
    positions = [card.classes.index(name) for name in listing.classes]
    pictures = sorted(
        (replace(picture, label=positions[picture.label]) for picture in found), key=lambda each: (each.label, each.digest, each.file)
    )
    split = decode_files(pictures, card.spec, progress, skipped, folder, cache)
    if not len(split):
        raise DatasetError(f"{folder} holds no readable picture to judge by; convnet-kafka data check says why")
    where = f"pictures of {folder.name or folder}" + (f"/{judged}" if judged else "")
    return Labelled(split, tuple(skipped), where)


def report_on_folder(registry: Registry, predictor: Predictor, labelled: Labelled) -> Report:
    """What the report of `evaluate` shows."""
    return Report(
        card=predictor.card,
        evaluation=evaluate(predictor, labelled.split),
        judged=labelled.split,
        what=labelled.what,
        artefacts=measure(registry, predictor.card, labelled.split.images),
        counts=(("pictures", _counts(labelled.split, predictor.card)),),
        skipped=labelled.skipped,
    )


def write_training_report(registry: Registry, predictor: Predictor, dataset: Dataset) -> Path:
    """Write `report.html` into a version's folder, about the data it was trained on; judged by `test/` where there is one.

    Args:
        registry: where the version is.
        predictor: the version, by the artefact that serves.
        dataset: of its training, at its size.

    Raises:
        RegistryError: the page cannot be written.
    """
    card = predictor.card
    judged, what = (dataset.held_out, "held-out pictures") if dataset.test is None else (dataset.test, "pictures of test/")
    counts = [("training", dataset.training), ("held out", dataset.held_out)]
    counts += [("test", dataset.test)] if dataset.test is not None else []
    path = registry.folder / str(card.version) / REPORT
    shown = Report(
        card=card,
        evaluation=evaluate(predictor, judged),
        judged=judged,
        what=what,
        artefacts=measure(registry, card, judged.images),
        counts=tuple((heading, _counts(split, card)) for heading, split in counts),
        skipped=dataset.skipped,
    )
    report.write(shown, path)
    return path


def _counts(split: Split, card: ModelCard) -> tuple[int, ...]:
    counts = Counter(np.asarray(split.labels).tolist())
    return tuple(counts[label] for label in range(len(card.classes)))
