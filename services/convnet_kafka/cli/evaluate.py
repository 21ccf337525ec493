"""`convnet-kafka evaluate`: measure a version on any labelled folder, and write its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convnet_kafka.cli.progress import shown_progress

if TYPE_CHECKING:
    from convnet.evaluation import Evaluation
    from convnet.report import Report


@click.command(name="evaluate")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--models", default=Path("models"), show_default=True, type=click.Path(path_type=Path), help="Where versions are kept.")
@click.option("--version", default="stable", show_default=True, help="stable, canary or a version's number.")
@click.option(
    "--report",
    "page",
    default=Path("report.html"),
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the page is written.",
)
@click.option("--backend", default="litert", show_default=True, type=click.Choice(["litert", "tensorflow"]), help="What predicts.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON and nothing else on stdout.")
def command(folder: Path, models: Path, version: str, page: Path, backend: str, as_json: bool) -> None:
    """Classify every picture of FOLDER, which holds one folder a class, and say how many answers are right.

    The folder may hold fewer classes than the model knows. Where it holds test/ or val/, only that is judged.
    """
    from convnet.errors import RegistryError  # noqa: PLC0415 - `--help` needs none of these
    from convnet.labelled import load_labelled, report_on_folder  # noqa: PLC0415
    from convnet.predictor import load_predictor  # noqa: PLC0415
    from convnet.registry import Registry  # noqa: PLC0415
    from convnet.report import write  # noqa: PLC0415

    registry = Registry(models)
    predictor = registry.newest_load(
        version,
        lambda number: load_predictor(registry, number, backend="tensorflow" if backend == "tensorflow" else "litert", max_batch=256),
    )
    if predictor is None:
        raise RegistryError(f"no {version} model in {models} yet; run: convnet-kafka train FOLDER --models {models}")
    with shown_progress() as progress:
        labelled = load_labelled(folder, predictor.card, progress)
    shown = report_on_folder(registry, predictor, labelled)
    write(shown, page)
    click.echo(json.dumps(_as_dict(shown, page), indent=2) if as_json else _text(shown, page))


def _text(report: Report, page: Path) -> str:
    evaluation = report.evaluation
    right = f"{evaluation.accuracy:.2%} of {len(evaluation)} {report.what} right"
    lines = [f"version {report.card.version}: {right}, calibration error {evaluation.calibration_error():.3f}"]
    width = max(len(name) for name in evaluation.classes)
    lines += [
        f"  {score.name:<{width}}  {score.images:>6}  precision {_percent(score.precision)}  recall {_percent(score.recall)}"
        for score in evaluation.scores()
        if score.images
    ]
    lines += [f"  {own} taken for {taken}: {count}" for own, taken, count in evaluation.confused(5)]
    if report.skipped:
        lines.append(f"{len(report.skipped)} files were not used; the report names them")
    return "\n".join([*lines, f"the report is {page}"])


def _percent(value: float | None) -> str:
    return "     -" if value is None else f"{value:6.1%}"


def _as_dict(report: Report, page: Path) -> dict[str, Any]:
    evaluation: Evaluation = report.evaluation
    return {
        "version": report.card.version,
        "images": len(evaluation),
        "accuracy": evaluation.accuracy,
        "top_3_accuracy": evaluation.top_accuracy(3),
        "calibration_error": evaluation.calibration_error(),
        "seconds_per_image": evaluation.seconds / len(evaluation),
        "classes": [
            {"name": each.name, "images": each.images, "precision": each.precision, "recall": each.recall, "f1": each.f1}
            for each in evaluation.scores()
        ],
        "confusion": evaluation.confusion().tolist(),
        "skipped": [{"name": file.name, "reason": file.reason} for file in report.skipped],
        "report": str(page),
    }
