"""`report.html`: one self-contained page on what a model gets right and wrong. No script, no request, nothing outside the file."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from convnet import charts, files, markup
from convnet.contact_sheet import data_uri, thumbnail
from convnet.dataset import Split
from convnet.errors import RegistryError, UnreadableImage
from convnet.evaluation import Evaluation
from convnet.folders import Skipped
from convnet.images import Pixels
from convnet.markup import bar, microseconds, section, share, size, table
from convnet.measuring import Measured
from convnet.model_card import ModelCard

_MISTAKES = 48
_CONFUSED = 8
_MOST_SKIPPED = 30
# A matrix of at most so many classes is legible at a phone's width.
_FITS_A_PHONE = 10
# And so many leave half a page's width for the list beside it.
_MATRIX_IN_HALF = 10


@dataclass(frozen=True, slots=True)
class Report:
    """What a report shows.

    Attributes:
        card: of the version.
        evaluation: its answers.
        judged: the pictures they are about.
        what: names these pictures, for example `held-out pictures`.
        artefacts: sizes and speed, as measured.
        counts: (heading, pictures of each class) for the data summary.
        skipped: files that were not used.
    """

    card: ModelCard
    evaluation: Evaluation
    judged: Split
    what: str
    artefacts: tuple[Measured, ...] = ()
    counts: tuple[tuple[str, tuple[int, ...]], ...] = ()
    skipped: tuple[Skipped, ...] = ()


def write(report: Report, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        RegistryError: it cannot be written.
    """
    try:
        files.replace(path, render(report).encode())
    except OSError as error:
        raise RegistryError(f"cannot write the report {path}: {error.strerror}; check space and permissions") from error


def render(report: Report) -> str:
    """The page as text."""
    card = report.card
    title = f"Version {card.version}: {report.evaluation.accuracy:.2%} right"
    sections = [
        _curves(card),
        _confusion(report.evaluation),
        _classes(report.evaluation),
        _calibration(report.evaluation),
        _mistakes(report),
        _data(report),
        _artefacts(report),
        _settings(card),
    ]
    return markup.page(
        title,
        f'<p class="soft">{escape(card.network)}, {card.height} x {card.width} x {card.channels}, {len(card.classes)} classes; measured on '
        f"{len(report.evaluation):,} {escape(report.what)}; trained {card.created_at:%Y-%m-%d %H:%M} UTC.</p>"
        f"{_figures(report)}{''.join(sections)}",
    )


def _figures(report: Report) -> str:
    evaluation = report.evaluation
    scores = [score.f1 for score in evaluation.scores() if score.f1 is not None and score.images]
    shown = [(f"{evaluation.accuracy:.2%}", "right answers")]
    if len(evaluation.classes) > 5:
        shown.append((f"{evaluation.top_accuracy(3):.2%}", "among the best three"))
    shown += [
        (f"{sum(scores) / max(1, len(scores)):.3f}", "mean F1 of the classes"),
        (f"{evaluation.calibration_error():.3f}", "calibration error (ECE)"),
        (f"{1e6 * evaluation.seconds / len(evaluation):,.0f} µs", "a picture, predicting alone"),
    ]
    return markup.figures(shown)


def _curves(card: ModelCard) -> str:
    history = card.history
    if not history:
        return ""
    accuracy = charts.lines(
        "Accuracy by epoch",
        "epoch",
        [
            charts.Line("training", "training", [each.accuracy for each in history]),
            charts.Line("held out", "validation", [each.validation_accuracy for each in history]),
        ],
        percent=True,
    )
    loss = charts.lines(
        "Loss by epoch",
        "epoch",
        [
            charts.Line("training", "training", [each.loss for each in history]),
            charts.Line("held out", "validation", [each.validation_loss for each in history]),
        ],
    )
    seconds = sum(each.seconds for each in history)
    took = f"{seconds / 60:.1f} minutes" if seconds > 90 else f"{seconds:.0f} seconds"
    note = f'<p class="soft">{len(history)} epochs in {took}. Training figures are taken while the network still changes.</p>'
    return section("Curves", f'{note}<div class="pair curves"><div><h3>Accuracy</h3>{accuracy}</div><div><h3>Loss</h3>{loss}</div></div>')


def _confusion(evaluation: Evaluation) -> str:
    pairs = evaluation.confused(_CONFUSED)
    listed = "".join(f"<li>{escape(own)} taken for {escape(taken)}: {count:,}</li>" for own, taken, count in pairs)
    often = f"<h3>Most frequent mistakes</h3><ul>{listed}</ul>" if pairs else "<p>There are no mistakes.</p>"
    if len(evaluation.classes) > charts.MOST_CELLS:
        return section("Confusion", often)
    fits = " fits" if len(evaluation.classes) <= _FITS_A_PHONE else ""
    matrix = f'<div class="scroll matrix{fits}">{charts.confusion(evaluation.classes, evaluation.confusion())}</div>'
    note = '<p class="soft">A row is a class, a column what it was taken for. Shades are shares of the row, by their root.</p>'
    # Beside each other as long as the matrix leaves room.
    layout = "pair" if len(evaluation.classes) <= _MATRIX_IN_HALF else "below"
    return section("Confusion matrix", f'{note}<div class="{layout}"><div>{matrix}</div><div>{often}</div></div>')


def _classes(evaluation: Evaluation) -> str:
    rows = [
        [
            escape(score.name),
            f"{score.images:,}",
            share(score.precision),
            share(score.recall),
            share(score.f1),
            bar(score.f1 or 0),
        ]
        for score in evaluation.scores()
    ]
    return section("Classes", table(["class", "pictures", "precision", "recall", "F1", ""], rows))


def _calibration(evaluation: Evaluation) -> str:
    rows = [
        [f"{each.low:.0%} to {each.high:.0%}", f"{each.images:,}", f"{each.confidence:.1%}", f"{each.accuracy:.1%}"]
        for each in evaluation.bins()
    ]
    error = evaluation.calibration_error()
    note = (
        f'<p class="soft">The expected calibration error is {error:.3f} (0 is perfect): on average confidence and share of right answers '
        f"lie {100 * error:.1f} points apart.</p>"
    )
    chart, listed = charts.reliability(evaluation.bins()), table(["confidence", "answers", "mean", "right"], rows)
    return section("Calibration", f'{note}<div class="pair"><div>{chart}</div>{listed}</div>')


def _mistakes(report: Report) -> str:
    evaluation = report.evaluation
    worst = evaluation.worst(_MISTAKES)
    if not worst:
        return ""
    wrong = int((evaluation.chosen != evaluation.labels).sum())
    cells = "".join(_mistake(report, index) for index in worst)
    which = "All" if wrong == len(worst) else f"The {len(worst)} most confident of"
    return section("Worst mistakes", f'<p class="soft">{which} {wrong:,} mistakes.</p><div class="mistakes">{cells}</div>')


def _mistake(report: Report, index: int) -> str:
    evaluation, picture = report.evaluation, report.judged.pictures[index]
    image = _picture(picture.path, report.judged.images[index])
    small = ' class="small"' if max(image.size) < 64 else ""
    own, taken = (escape(evaluation.classes[label]) for label in (evaluation.labels[index], evaluation.chosen[index]))
    name = escape(picture.path.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
    return (
        f'<figure><img{small} src="{data_uri(image)}" alt="{own}"><figcaption><i>{own}</i> taken for <b>{taken}</b>, '
        f"{evaluation.confidence[index]:.1%}<br>{name}</figcaption></figure>"
    )


def _picture(path: Path, pixels: Pixels) -> Image.Image:
    """The file's own picture; what the network saw when the file is gone."""
    try:
        return thumbnail(path.read_bytes(), side=128)
    except (OSError, UnreadableImage):
        return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _data(report: Report) -> str:
    counts = report.counts
    if not counts:
        return ""
    most = max(max(numbers, default=0) for _, numbers in counts) or 1
    rows = [
        [escape(name), *(f"{numbers[label]:,}" for _, numbers in counts), bar(counts[0][1][label] / most)]
        for label, name in enumerate(report.card.classes)
    ]
    rows.append(["<b>all</b>", *(f"<b>{sum(numbers):,}</b>" for _, numbers in counts), ""])
    body = table(["class", *(heading for heading, _ in counts), ""], rows)
    if report.skipped:
        named = "".join(f"<li>{escape(file.name)}: {escape(file.reason)}</li>" for file in report.skipped[:_MOST_SKIPPED])
        more = f" The first {_MOST_SKIPPED}:" if len(report.skipped) > _MOST_SKIPPED else ""
        body += f'<p class="soft" style="margin-top:.75rem">{len(report.skipped):,} files were not used.{more}</p><ul>{named}</ul>'
    return section("Data", body)


def _artefacts(report: Report) -> str:
    rows = [
        [
            escape(each.name) + (" (serves)" if each.name == report.card.served else ""),
            size(each.bytes),
            share(report.card.accuracy.get(each.name)),
            microseconds(each.alone_s),
            microseconds(each.batch_s),
        ]
        for each in report.artefacts
    ]
    if not rows:
        return ""
    note = '<p class="soft">Accuracy on the held-out pictures of its training. Speed on one thread of the machine that wrote this page.</p>'
    return section("Artefacts", f"{note}{table(['file', 'size', 'right', 'alone', 'in batches'], rows)}")


def _settings(card: ModelCard) -> str:
    rows = [[escape(name.replace("_", " ")), escape(_plain(value))] for name, value in card.settings.items()]
    rows += [[escape(name), escape(value)] for name, value in card.library_versions.items()]
    rows += [["data fingerprint", escape(card.data_fingerprint)]]
    temperature = getattr(card, "temperature", None)
    if temperature is not None:
        rows.append(["temperature", f"{temperature:.3f}"])
    cells = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return section("Settings", f'<table class="settings">{cells}</table>')


def _plain(value: object) -> str:
    """A setting's value in words."""
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_plain(each)}" for key, each in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)
