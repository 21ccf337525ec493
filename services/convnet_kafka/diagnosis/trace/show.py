"""How a job, or one image's way, is shown to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from convnet_kafka.diagnosis.trace.found import ImageFound, JobFound, ResultAt
from convnet_kafka.diagnosis.words import plain, share, span
from convnet_kafka.messages import now_ms

STYLES = {"labelled": "bold green", "failed": "bold red", "waiting": "bold yellow", "passed": "bold red", "unknown": "bold red"}
# Of models and classifiers; the rest is counted.
MOST_NAMES = 8
PARTS = (("half within", 0.5), ("95 % within", 0.95), ("all within", 1.0))


def show_job(found: JobFound, console: Console) -> None:
    """Print the sums of a job."""
    table = Table(box=None, show_header=False, pad_edge=False)
    waits = sorted(found.waits_ms)
    waiting = None if found.total is None else max(0, found.total - found.results)
    rows: list[tuple[str, object]] = [
        ("job", found.job.id + (f", tenant {found.job.tenant}" if found.job.tenant else "")),
        ("opened", _moment(found.job.opened_at_ms)),
        ("images", "not known: the job was not closed" if found.total is None else f"{found.total:,}"),
        (
            "results",
            f"{found.results:,}: {found.labelled:,} labelled{''.join(f', {count:,} {code}' for code, count in found.failed.items())}",
        ),
        ("without", None if not waiting else Text(f"{waiting:,} have no result yet", "yellow")),
        ("came again", f"{found.repeated:,} results, which count for nothing" if found.repeated else None),
        ("replayed", f"{found.replayed:,} images" if found.replayed else None),
        ("models", _most(found.models, "version ")),
        ("classifiers", _most(found.replicas)),
        ("waited", ", ".join(f"{name} {span((quantile(waits, part) or 0) / 1000)}" for name, part in PARTS) if waits else None),
        ("made", f"{_moment(found.first_ms)} to {_moment(found.last_ms)}" if found.first_ms else None),
        ("dead letters", ", ".join(f"{count:,} {reason}" for reason, count in found.letters.most_common()) or None),
        ("cancelled", Text("yes: images that waited then get the result 'cancelled'", "yellow") if found.cancelled else None),
        ("not read", Text(f"{found.unread:,} records, as time was up: --timeout", "bold red") if found.unread else None),
    ]
    for name, value in rows:
        if value is not None:
            table.add_row(Text(name, "dim"), value if isinstance(value, Text) else Text(plain(str(value))))
    console.print(table)


def quantile(ordered: Sequence[int], part: float) -> int | None:
    """One of ascending numbers, so that this part of them is not larger; None when there is none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else None


def _most(counts: Mapping[int, int] | Mapping[str, int], prefix: str = "") -> str | None:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    told = [f"{prefix}{plain(str(name))}: {count:,}" for name, count in ordered[:MOST_NAMES]]
    more = [f"{len(counts) - MOST_NAMES} more"] if len(counts) > MOST_NAMES else []
    return ", ".join(told + more) or None


def show_image(found: ImageFound, console: Console) -> None:
    """Print one image's way, in the order of time."""
    console.print(Text.assemble(("image ", "dim"), found.image, "  ", (plain(found.name), "bold")), soft_wrap=True)
    console.print(Text.assemble(("job   ", "dim"), found.job.id), soft_wrap=True)
    console.print(Text.assemble(("state ", "dim"), (found.state, STYLES[found.state]), f"  {_explained(found)}"), soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True, justify="right", style="cyan")
    table.add_column(overflow="fold")
    events = sorted(_events(found), key=lambda event: event[0])
    for at_ms, text in events:
        table.add_row(_moment(at_ms), f"+{span((at_ms - events[0][0]) / 1000)}", text)
    console.print(table)
    if found.unread:
        console.print(Text("not all was read, as time was up: --timeout", "bold red"))


def _explained(found: ImageFound) -> str:
    final = found.final
    if final is not None:
        result = final.result
        return (
            f"{result.label}, {share(result.confidence or 0.0)}"
            if result.error is None
            else f"{result.error}: {plain(result.detail or '')}"
        )
    if found.state == "waiting":
        return f"{found.waiting:,} images are before it; " + (
            f"{found.owner} holds its partition" if found.owner else "nobody holds its partition"
        )
    if found.state == "passed":
        return "its group is past it, and it has no result: it is in flight at this moment, or was refused (classifiers log that)"
    return "no such image was found: was it accepted, is the name right, and was it sent to this release?"


def _events(found: ImageFound) -> list[tuple[int, Text]]:
    events: list[tuple[int, Text]] = []
    for number, record in enumerate(found.records):
        if number == 0:
            events.append((record.submitted_at_ms, Text.assemble("accepted by a server", (f"  tenant {plain(record.tenant)}", "dim"))))
        again = f", revision {record.revision}" if record.revision else ", sent again" if number else ""
        kind = plain(record.content_type) or "of no told type"
        traced = f"  traceparent {plain(record.traceparent)}" if record.traceparent else ""
        events.append(
            (
                record.at_ms,
                Text.assemble(
                    f"in {record.topic}[{record.partition}] at {record.offset}{again}", (f"  {record.size:,} bytes, {kind}{traced}", "dim")
                ),
            )
        )
    if not found.records and found.results:
        events.append((found.results[0].result.submitted_at_ms, Text("accepted by a server (its record is gone, or was not found)")))
    seen: set[int] = set()
    for each in found.results:
        events.append((each.result.labelled_at_ms, _answer(each, counts=each.result.revision not in seen)))
        seen.add(each.result.revision)
    for letter in found.letters:
        why = f"{letter.reason}, {letter.attempts} tries: {plain(letter.detail)}"
        events.append(
            (letter.at_ms, Text.assemble(("dead letter ", "red"), f"{letter.place}  {why}", (f"  lay in {letter.source}", "dim")))
        )
    if found.cancelled:
        events.append((max((at for at, _ in events), default=now_ms()), Text("its job is cancelled", "yellow")))
    return events


def _answer(each: ResultAt, *, counts: bool) -> Text:
    result = each.result
    what = f"{result.label}, {share(result.confidence or 0.0)}" if result.error is None else f"failed: {result.error}"
    model = f", model {result.model}" if result.model is not None else ""
    model += f" in place of {result.instead_of}" if result.instead_of is not None else ""
    by = f", batch {each.by.batch} of {each.by.images} images in {plain(each.by.replica)}" if each.by is not None else ""
    revision = f", revision {result.revision}" if result.revision else ""
    return Text.assemble(
        (plain(what), "red" if result.error else "green") if counts else (f"again: {plain(what)}; the first counts", "dim"),
        f"{model}{by}{revision}",
        (f"  in {each.topic}[{each.partition}] at {each.offset}, {result.lane} lane", "dim"),
    )


def _moment(at_ms: int | None) -> str | None:
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{at_ms % 1000:03d}"
