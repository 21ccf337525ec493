"""`convnet-kafka train`: a folder of class folders in, a registered model out. TensorFlow is imported when training really starts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from convnet_kafka.cli.progress import shown_progress

if TYPE_CHECKING:
    from convnet.run import Outcome

# Named here so that `--help` imports nothing; a test compares them with the model's.
_NETWORKS = ("auto", "original", "cnn", "efficientnet-lite0")
_CHANNELS = {"grey": 1, "gray": 1, "1": 1, "rgb": 3, "3": 3}


@click.command(name="train")
@click.argument("folder", envvar="TRAINING_DATA_DIR", required=False, type=click.Path(path_type=Path))
@click.option("--digits", is_flag=True, help="Train on the 1,433 real handwritten digits that come along, instead of a FOLDER.")
@click.option("--network", default="auto", show_default=True, type=click.Choice(_NETWORKS), help="auto looks at the pictures and says why.")
@click.option("--height", type=click.IntRange(4, 4096), help="Pixels the network takes; by default as the pictures are.")
@click.option("--width", type=click.IntRange(4, 4096), help="Pixels the network takes; by default as the pictures are.")
@click.option("--colors", type=click.Choice(list(_CHANNELS)), help="grey (1) or rgb (3); by default as the pictures are.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training pictures; by default the network's own.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Pictures a step; by default the network's own.")
@click.option("--mirror/--no-mirror", default=None, help="Mirrored pictures of all classes or of none; by default where it fits.")
@click.option("--models", default=Path("models"), show_default=True, type=click.Path(path_type=Path), help="Where versions are kept.")
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0, 2**31), help="Of weights, order, changed pictures and dropout."
)
@click.option("--class-names", envvar="CLASS_NAMES", default="", metavar="A,B,...", help="Exactly the classes that must be there.")
@click.option("--new-classes", is_flag=True, help="Allow other classes than the stable model's.")
@click.option("--savedmodel", type=click.Path(path_type=Path), metavar="DIR", help="Also write DIR/<version>/ for TensorFlow Serving.")
@click.option("--strict", is_flag=True, help="Stop when any file cannot be used, instead of going on without it.")
@click.option(
    "--cache/--no-cache", "cached", default=True, show_default=True, help="Keep decoded pictures for the next training (CONVNET_CACHE_DIR)."
)
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout, progress as a JSON object a line on stderr.")
def command(
    folder: Path | None,
    digits: bool,
    network: str,
    height: int | None,
    width: int | None,
    colors: str | None,
    epochs: int | None,
    batch_size: int | None,
    mirror: bool | None,
    models: Path,
    seed: int,
    class_names: str,
    new_classes: bool,
    savedmodel: Path | None,
    strict: bool,
    cached: bool,
    as_json: bool,
) -> None:
    """Train a network on FOLDER, which holds one folder a class (or set TRAINING_DATA_DIR).

    One picture in five is held out, chosen by its content. The new version becomes stable only when it classifies these better than the
    stable one. The same command given again goes on after a crash, and ends at once when there is nothing to do.
    """
    from convnet.cache import Cache, default_folder  # noqa: PLC0415 - `--help` needs none of these
    from convnet.choice import TrainingRequest  # noqa: PLC0415
    from convnet.registry import Registry  # noqa: PLC0415
    from convnet.run import train  # noqa: PLC0415

    request = TrainingRequest(
        network,
        height,
        width,
        _CHANNELS[colors] if colors else None,
        epochs=epochs or 0,
        batch_size=batch_size or 0,
        seed=seed,
        mirror=mirror,
    )
    names = [name.strip() for name in class_names.split(",") if name.strip()]
    try:
        with shown_progress(as_json=as_json) as progress, _pictures(folder, digits=digits) as pictures:
            outcome = train(
                pictures,
                Registry(models),
                request,
                progress,
                class_names=names,
                new_classes=new_classes,
                saved_models=savedmodel,
                cache=Cache(default_folder()) if cached else None,
                strict=strict,
            )
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on after the last finished epoch", err=True)
        sys.exit(130)
    click.echo(json.dumps(_as_dict(outcome), indent=2) if as_json else _summary(outcome, models))


@contextmanager
def _pictures(folder: Path | None, *, digits: bool) -> Iterator[Path]:
    """The folder to train on; the digits are written for the time of the training."""
    if digits == (folder is not None):
        raise click.UsageError("name one FOLDER of class folders to train on (or set TRAINING_DATA_DIR), or give --digits")
    if folder is not None:
        yield folder
        return
    from convnet.digits import write_digits  # noqa: PLC0415 - needs scikit-learn

    with TemporaryDirectory(prefix="convnet-digits-") as temporary:
        yield write_digits(Path(temporary)).train


def _summary(outcome: Outcome, models: Path) -> str:
    card = outcome.card
    head = (
        f"version {card.version} in {models}: {len(card.classes)} classes, {card.height} x {card.width} x {card.channels}, "
        f"{card.training_images} training and {card.validation_images} held-out pictures"
    )
    lines = [head, f"accuracy {outcome.accuracy:.2%} on the held-out pictures with {card.served}"]
    if outcome.previous_version is not None and outcome.previous_accuracy is not None:
        lines.append(f"stable version {outcome.previous_version} has {outcome.previous_accuracy:.2%} on the same pictures")
    if outcome.promoted:
        lines.append(f"version {card.version} is now stable: {outcome.reason}")
    elif outcome.reused and outcome.stable_version == card.version:
        lines.append(f"version {card.version} stays stable: {outcome.reason}")
    else:
        lines.append(f"version {outcome.stable_version} stays stable: the new one is not more accurate ({outcome.reason})")
    if outcome.skipped:
        lines.append(f"{len(outcome.skipped)} files were skipped, named above")
    lines.append(f"took {outcome.seconds:.1f} s")
    return "\n".join(lines)


def _as_dict(outcome: Outcome) -> dict[str, object]:
    return {
        "version": outcome.card.version,
        "classes": list(outcome.card.classes),
        "network": outcome.card.network,
        "served": outcome.card.served,
        "accuracy": outcome.accuracy,
        "accuracy_by_artefact": outcome.card.accuracy,
        "held_out_images": outcome.card.validation_images,
        "training_images": outcome.card.training_images,
        "promoted": outcome.promoted,
        "reused": outcome.reused,
        "reason": outcome.reason,
        "stable_version": outcome.stable_version,
        "previous_version": outcome.previous_version,
        "previous_accuracy": outcome.previous_accuracy,
        "skipped": [{"name": file.name, "reason": file.reason} for file in outcome.skipped],
        "seconds": round(outcome.seconds, 3),
    }
