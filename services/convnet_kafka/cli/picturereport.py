"""`classify --report`: one self-contained page with what became of a job's pictures. No script, no request, nothing outside the file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from importlib import resources

from convnet import markup
from convnet.markup import bar, section, share, table
from convnet_kafka.client.label import Label, printable

# Thumbnails are 2 to 4 KB each: a page of a thousand is some 3 MB, which a mail takes and a phone scrolls.
_MOST_PICTURES = 1000
_MOST_OF_A_CLASS = 24
_LEAST_SURE = 24
_MOST_CLASSES_SHOWN = 200
_MOST_FAILURES = 200
_BINS = 20


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a report shows.

    Attributes:
        labels: all outcomes.
        sources: what was sent, in the words of the caller.
        seconds: it took.
        thumbnails: name -> picture for an `src` attribute, and whether it is tiny.
    """

    labels: Sequence[Label]
    sources: str
    seconds: float
    thumbnails: Mapping[str, tuple[str, bool]] = field(default_factory=dict)


def chosen(labels: Iterable[Label]) -> set[str]:
    """Names of the pictures that a report shows."""
    labelled = [label for label in labels if label.error is None]
    by_class = _by_class(labelled)
    return {label.name for label in _least_sure(labelled)} | {
        label.name for members in by_class[:_MOST_CLASSES_SHOWN] for label in _some(members[1], len(by_class))
    }


def render(outcomes: Outcomes) -> str:
    """The page as text."""
    labelled = [label for label in outcomes.labels if label.error is None]
    failures = [label for label in outcomes.labels if label.error is not None]
    models = sorted({label.model for label in labelled if label.model is not None})
    by_class = _by_class(labelled)
    said = f"model version {', '.join(map(str, models))}; " if models else ""
    note = f'<p class="soft">{shown(outcomes.sources)}; {said}written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.</p>'
    style = resources.files("convnet_kafka.cli").joinpath("picturereport.css").read_text(encoding="utf-8")
    title = f"{len(labelled):,} of {len(outcomes.labels):,} pictures have a label"
    body = [
        note,
        _figures(outcomes, labelled, failures, len(by_class)),
        _classes(by_class, len(labelled)),
        _confidence(labelled),
        _grid("Least sure", "The pictures that the model was least sure about.", _least_sure(labelled), outcomes, labelled=True),
        _pictures(by_class, outcomes),
        _failures(failures),
    ]
    return markup.page(title, "".join(body), style)


def shown(text: str) -> str:
    """Any text as HTML: nothing in it is markup."""
    return f"<bdi>{escape(printable(text))}</bdi>"


def _by_class(labelled: Iterable[Label]) -> list[tuple[str, list[Label]]]:
    """Classes with their labels, the surest first; the largest class first."""
    found: dict[str, list[Label]] = defaultdict(list)
    for label in labelled:
        found[label.label or ""].append(label)
    for members in found.values():
        members.sort(key=lambda label: (-(label.confidence or 0.0), label.name))
    return sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))


def _some(members: Sequence[Label], classes: int) -> list[Label]:
    """A few of a class, spread evenly from the surest to the least sure."""
    most = max(1, min(_MOST_OF_A_CLASS, (_MOST_PICTURES - _LEAST_SURE) // max(1, classes)))
    if len(members) <= most:
        return list(members)
    step = (len(members) - 1) / max(1, most - 1)
    return [members[round(number * step)] for number in range(most)]


def _least_sure(labelled: Iterable[Label]) -> list[Label]:
    return sorted(labelled, key=lambda label: (label.confidence or 0.0, label.name))[:_LEAST_SURE]


def _mean(labels: Sequence[Label]) -> float | None:
    return sum(label.confidence or 0.0 for label in labels) / len(labels) if labels else None


def _figures(outcomes: Outcomes, labelled: Sequence[Label], failures: Sequence[Label], classes: int) -> str:
    rate = len(outcomes.labels) / outcomes.seconds if outcomes.seconds > 0 else 0.0
    return markup.figures(
        [
            (f"{len(labelled):,}", "with a label"),
            (f"{len(failures):,}", "without a label"),
            (f"{classes:,}", "classes seen"),
            (share(_mean(labelled), 1), "mean confidence"),
            (f"{rate:,.0f}/s", f"pictures, in {outcomes.seconds:,.1f} s"),
        ]
    )


def _classes(by_class: Sequence[tuple[str, Sequence[Label]]], labelled: int) -> str:
    most = max((len(members) for _, members in by_class), default=1)
    rows = [
        [shown(name), f"{len(members):,}", share(len(members) / labelled, 1), share(_mean(members), 1), bar(len(members) / most)]
        for name, members in by_class
    ]
    return section("Classes", table(["class", "pictures", "share", "confidence", ""], rows)) if rows else ""


def _confidence(labelled: Sequence[Label]) -> str:
    """How many labels are how sure, as bars."""
    if not labelled:
        return ""
    counts = Counter(min(_BINS - 1, int((label.confidence or 0.0) * _BINS)) for label in labelled)
    most = max(counts.values())
    width, height, room = 720, 180, 26
    step = width / _BINS
    parts = []
    for number in range(_BINS):
        count = counts[number]
        tall = height * count / most
        low, high = number / _BINS, (number + 1) / _BINS
        if count:
            parts.append(
                f'<rect class="validation" x="{number * step + 2:.1f}" y="{room + height - max(1.0, tall):.1f}" width="{step - 4:.1f}" '
                f'height="{max(1.0, tall):.1f}" rx="2"><title>{low:.0%} to {high:.0%}: {count:,}</title></rect>'
                f'<text class="count" x="{(number + 0.5) * step:.1f}" y="{room + height - max(1.0, tall) - 5:.1f}" '
                f'text-anchor="middle">{_short(count)}</text>'
            )
    ticks = "".join(
        f'<text class="tick" x="{tick * width / 100:.0f}" y="{room + height + 22}" text-anchor="{anchor}">{tick} %</text>'
        for tick, anchor in ((0, "start"), (25, "middle"), (50, "middle"), (75, "middle"), (100, "end"))
    )
    floor = f'<line class="grid" x1="0" x2="{width}" y1="{room + height}" y2="{room + height}"/>'
    chart = (
        f'<svg viewBox="0 0 {width} {height + room + 30}" role="img" aria-label="Labels by confidence">{floor}{"".join(parts)}{ticks}</svg>'
    )
    below = sum((label.confidence or 0.0) < 0.6 for label in labelled)
    note = f'<p class="soft">{below:,} labels are less than 60 % sure: look at those first.</p>' if below else ""
    return section("Confidence", f'{note}<div class="curves">{chart}</div>')


def _short(count: int) -> str:
    return f"{count:,}" if count < 10_000 else f"{count / 1000:,.0f}k" if count < 1_000_000 else f"{count / 1e6:,.1f}M"


def _grid(heading: str, note: str, labels: Sequence[Label], outcomes: Outcomes, *, labelled: bool) -> str:
    if not any(label.name in outcomes.thumbnails for label in labels):
        return ""
    return section(heading, f'<p class="soft">{note}</p>{_tiles(labels, outcomes, labelled=labelled)}')


def _tiles(labels: Sequence[Label], outcomes: Outcomes, *, labelled: bool) -> str:
    return f'<div class="mistakes">{"".join(_tile(label, outcomes, labelled=labelled) for label in labels)}</div>'


def _tile(label: Label, outcomes: Outcomes, *, labelled: bool) -> str:
    """A thumbnail with its name; with its label where the heading does not say it."""
    thumbnail = outcomes.thumbnails.get(label.name)
    if thumbnail is None:
        image = '<div class="gone">cannot be shown</div>'
    else:
        image = f'<img{" class=small" if thumbnail[1] else ""} decoding="async" src="{thumbnail[0]}" alt="">'
    said = f"<b>{shown(label.label or '')}</b>, " if labelled else ""
    return f"<figure>{image}<figcaption>{said}{label.confidence or 0:.1%}<br>{shown(label.name)}</figcaption></figure>"


def _pictures(by_class: Sequence[tuple[str, Sequence[Label]]], outcomes: Outcomes) -> str:
    if not outcomes.thumbnails:
        return ""
    parts = []
    for name, members in by_class[:_MOST_CLASSES_SHOWN]:
        some = _some(members, len(by_class))
        which = f"{len(some):,} of {len(members):,}, from the surest to the least sure" if len(some) < len(members) else f"{len(members):,}"
        parts.append(f'<h3>{shown(name)} <span class="soft">{which}</span></h3>{_tiles(some, outcomes, labelled=False)}')
    more = len(by_class) - _MOST_CLASSES_SHOWN
    if more > 0:
        parts.append(f'<p class="soft">{more:,} smaller classes are in the table above only.</p>')
    return f'<section class="pictures"><h2>Pictures by class</h2>{"".join(parts)}</section>'


def _failures(failures: Sequence[Label]) -> str:
    if not failures:
        return ""
    counts = Counter(label.error or "" for label in failures)
    reasons = table(["reason", "pictures"], [[escape(reason), f"{count:,}"] for reason, count in counts.most_common()])
    rows = [[shown(label.name), escape(label.error or ""), shown(label.detail or "")] for label in failures[:_MOST_FAILURES]]
    more = (
        f'<p class="soft">The first {_MOST_FAILURES:,} of {len(failures):,}; --output writes all of them.</p>'
        if len(failures) > _MOST_FAILURES
        else ""
    )
    listed = f'<div class="failures">{table(["name", "reason", "what was wrong"], rows)}</div>'
    return section("Without a label", f"{reasons}{more}{listed}")
