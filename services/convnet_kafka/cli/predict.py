"""`convnet-kafka predict`: classify files on this machine, with nothing running."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convnet.library import Model, Prediction

# A share of files that cannot be read is an answer about those files; the others are classified.
_SOME_UNREADABLE = 1


@click.command(name="predict")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--models", default=Path("models"), show_default=True, type=click.Path(path_type=Path), help="Where versions are kept.")
@click.option("--version", default="stable", show_default=True, help="stable, canary or a version's number.")
@click.option("--top", default=3, show_default=True, type=click.IntRange(min=1), help="Classes to name for each picture.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON a file.")
def command(files: tuple[Path, ...], models: Path, version: str, top: int, as_json: bool) -> None:
    """Classify each FILE (folders: every file in them) with a model from the models folder.

    Exit code 1 when some file could not be read; it is named and the others are classified.
    """
    import convnet  # noqa: PLC0415 - `--help` needs none of these

    model = convnet.load(models, version)
    failed = False
    for path, answer in _answers(model, list(_expanded(files)), top):
        failed = failed or isinstance(answer, str)
        click.echo(json.dumps(_as_dict(path, answer)) if as_json else _line(path, answer), err=isinstance(answer, str) and not as_json)
    if failed:
        sys.exit(_SOME_UNREADABLE)


def _expanded(files: tuple[Path, ...]) -> Iterator[Path]:
    for path in files:
        if path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.is_file() and not each.name.startswith("."))
        else:
            yield path


def _answers(model: Model, files: list[Path], top: int) -> Iterator[tuple[Path, Prediction | str]]:
    """Each file's prediction, or why it has none, in order."""
    from convnet.errors import UnreadableImage  # noqa: PLC0415 - see above

    for path in files:
        try:
            yield path, model.predict([path], top_k=top)[0]
        except UnreadableImage as error:
            yield path, str(error)


def _printable(text: str | Path) -> str:
    """As text that any terminal takes, whatever bytes a file name holds."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _line(path: Path, answer: Prediction | str) -> str:
    if isinstance(answer, str):
        return f"convnet-kafka: {_printable(answer)}"
    return f"{_printable(path)}: " + ", ".join(f"{label} {probability:.1%}" for label, probability in answer.top)


def _as_dict(path: Path, answer: Prediction | str) -> dict[str, Any]:
    if isinstance(answer, str):
        return {"file": _printable(path), "error": _printable(answer)}
    top = [{"label": label, "probability": round(probability, 6)} for label, probability in answer.top]
    return {
        "file": _printable(path),
        "label": answer.label,
        "probability": round(answer.probability, 6),
        "top": top,
        "version": answer.version,
    }
