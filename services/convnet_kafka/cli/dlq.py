"""`convnet-kafka dlq`: look at the images that have no label, keep them, send them again, or remove them (docs/dead-letters.md)."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from convnet_kafka import settings
from convnet_kafka.cli.letterbox import Letterbox
from convnet_kafka.deadletters import DeadLetter, Selection
from convnet_kafka.errors import SettingsError
from convnet_kafka.messages import FailureCode, Lane, now_ms
from convnet_kafka.server.jobs import unverified
from convnet_kafka.settings import KafkaSettings, TopicSettings

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_JOB_HEX = 32
_MOST_NAME = 80


class _Moment(click.ParamType[int]):
    """A time: ISO 8601 (UTC unless it says otherwise), or how long ago, such as 90s, 30m, 2h, 7d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds since the epoch."""
        if isinstance(value, int):
            return value
        if match := re.fullmatch(r"(\d+)([smhd])", value):
            return now_ms() - int(match[1]) * _UNITS[match[2]] * 1000
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time: give 2026-01-31T12:00, or how long ago: 90s, 30m, 2h, 7d", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _filters(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--topic-prefix", help="Prefix of all topics of one release."),
        click.option("--bootstrap-servers", help="Addresses of brokers, host:port, comma separated."),
        click.option("--until", type=_Moment(), help="Only those written before this time."),
        click.option(
            "--since", type=_Moment(), help="Only those written since then: 2026-01-31T12:00 (UTC), or how long ago, such as 2h, 7d."
        ),
        click.option("--name", metavar="GLOB", help="Only images whose name matches, such as 'cats/*'."),
        click.option("--job", help="Only images of this job: its id, or the 32 hex digits that logs and headers show."),
        click.option(
            "--reason", "reasons", multiple=True, type=click.Choice([code.value for code in FailureCode]), help="Only these reasons."
        ),
    ):
        function = option(function)
    return function


@click.group(name="dlq")
def command() -> None:
    """List, show, save, replay and purge dead letters: images that could not be classified."""


@command.command(name="list")
@_filters
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1), help="Show so many at most; the sums are of all.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each, without a limit.")
def list_command(limit: int, as_json: bool, **options: Any) -> None:
    """List dead letters, and how many there are of each reason."""
    box, selection = _opened(options)
    table = Table("place", "written", "reason", "tries", "bytes", "name", "why", box=None, pad_edge=False)
    reasons: Counter[str] = Counter()
    for letter in box.letters(selection):
        reasons[letter.reason] += 1
        if as_json:
            click.echo(json.dumps(_described(letter), ensure_ascii=False))
        elif reasons.total() <= limit:
            size = f"{letter.size:,}" if letter.dropped is None else f"({letter.size:,})"
            row = letter.place, _written(letter), letter.reason, str(letter.attempts), size, _short(letter.image.name), letter.detail
            table.add_row(*(_plain(cell) for cell in row))
    if as_json:
        return
    console = Console(highlight=False, markup=False)
    if table.row_count:
        console.print(table)
    total = reasons.total()
    if total > limit:
        click.echo(f"... and {total - limit:,} more; --limit or --json shows them")
    click.echo(
        ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) if total else "no dead letters" + _that_match(selection)
    )
    _tell_foreign(box)


@command.command(name="show")
@click.argument("which")
@_filters
def show_command(which: str, **options: Any) -> None:
    """Show all that is known of one: WHICH is its place, as `list` shows it, or how its image's id begins."""
    box, selection = _opened(options, image=which)
    found = list(box.letters(selection))
    for letter in found:
        click.echo(json.dumps(_described(letter), indent=2, ensure_ascii=False))
    if not found:
        click.echo(f"there is no dead letter {which}; 'convnet-kafka dlq list' shows those there are", err=True)
        sys.exit(1)


@command.command(name="save")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@_filters
def save_command(folder: Path, **options: Any) -> None:
    """Write the files of dead letters into FOLDER, by reason, and letters.jsonl with what is known of each."""
    box, selection = _opened(options)
    saved = without = 0
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "letters.jsonl").open("w", encoding="utf-8") as lines:
        for letter in box.letters(selection):
            described = _described(letter)
            if letter.dropped is None:
                file = folder / letter.reason / _file_name(letter)
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(letter.image.content)
                described["file"] = file.relative_to(folder).as_posix()
                saved += 1
            else:
                without += 1
            lines.write(json.dumps(described, ensure_ascii=False) + "\n")
    click.echo(f"{saved:,} files in {folder}" + (f"; {without:,} letters have no file, it was not kept" if without else ""))
    _tell_foreign(box)


@command.command(name="replay")
@_filters
@click.option("--all", "everything", is_flag=True, help="All dead letters; otherwise at least one filter is wanted.")
@click.option("--rate", default=100.0, show_default=True, type=click.FloatRange(min=0.01), help="Images a second at most.")
@click.option(
    "--lane", default=Lane.BULK.value, show_default=True, type=click.Choice([lane.value for lane in Lane]), help="Where they wait."
)
@click.option("--force", is_flag=True, help="Also images that have a label by now.")
@click.option("--dry-run", is_flag=True, help="Say how many are meant, and send none.")
def replay_command(everything: bool, rate: float, lane: str, force: bool, dry_run: bool, **options: Any) -> None:
    """Send the images of dead letters again, for example when the model or the classifier was mended.

    Each gets a new result with its revision one higher, which then counts; doing it twice changes nothing more. The dead letters stay.
    """
    box, selection = _opened(options)
    _narrowed(selection, everything=everything)
    letters = list(box.letters(selection))
    if dry_run:
        click.echo(f"{len(letters):,} dead letters are meant; nothing was sent")
        return
    with click.progressbar(length=len(letters), label="sending", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        result = box.replay(letters, lane=Lane(lane), rate=rate, force=force, said=lambda _sent: bar.update(1))
    click.echo(f"{result.sent:,} images are sent again")
    for reason, count in result.left.items():
        if count:
            click.echo(f"{count:,} not sent: {reason}" + (" (--force sends them all the same)" if "label" in reason else ""))
    _tell_foreign(box)


@command.command(name="purge")
@_filters
@click.option("--all", "everything", is_flag=True, help="All dead letters; otherwise at least one filter is wanted.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge_command(everything: bool, yes: bool, **options: Any) -> None:
    """Remove dead letters from Kafka, for good. --until 7d removes what is older than seven days."""
    box, selection = _opened(options)
    _narrowed(selection, everything=everything)
    if not yes:
        count = sum(1 for _ in box.letters(selection))
        click.confirm(f"remove {count:,} dead letters for good?", abort=True)
    removed, copied = box.purge(selection)
    click.echo(f"{removed:,} dead letters are removed" + (f"; {copied:,} that lay between them were moved" if copied else ""))


def _opened(options: dict[str, Any], image: str | None = None) -> tuple[Letterbox, Selection]:
    kafka = settings.load(KafkaSettings, bootstrap_servers=options["bootstrap_servers"], topic_prefix=options["topic_prefix"])
    selection = Selection(
        reasons=frozenset(options["reasons"]),
        job=_random_part(options["job"]) if options["job"] else None,
        name=options["name"],
        image=image,
        since_ms=options["since"],
        until_ms=options["until"],
    )
    return Letterbox(kafka, settings.load(TopicSettings).job_life_hours), selection


def _narrowed(selection: Selection, *, everything: bool) -> None:
    if selection.everything and not everything:
        raise SettingsError("say which dead letters are meant (--reason, --job, --name, --since, --until), or --all")


def _random_part(text: str) -> str:
    """The part of a job id that stands in headers. Nobody's right to read is checked here: whoever reads Kafka sees everything anyway."""
    if len(text) == _JOB_HEX and all(digit in "0123456789abcdef" for digit in text):
        return text
    job = unverified(text)
    if job is None:
        raise SettingsError(f"--job {text[:_MOST_NAME]!r} is no job id: give the id that the server gave, or its 32 hex digits")
    return job.id


def _described(letter: DeadLetter) -> dict[str, Any]:
    return {
        "place": letter.place,
        "written": _written(letter),
        "reason": letter.reason,
        "detail": letter.detail,
        "attempts": letter.attempts,
        "model": letter.model,
        "source": letter.source,
        "job": letter.image.job,
        "image": letter.image.image,
        "name": letter.image.name,
        "revision": letter.image.revision,
        "tenant": letter.image.tenant,
        "content_type": letter.image.content_type,
        "bytes": letter.size,
        "kept": letter.dropped is None,
        "submitted_at_ms": letter.image.submitted_at_ms,
    }


def _written(letter: DeadLetter) -> str:
    return datetime.fromtimestamp(letter.at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _file_name(letter: DeadLetter) -> str:
    """A name of ours: senders' names are data, never paths."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", letter.image.name.rpartition("/")[2])[-_MOST_NAME:].lstrip(".")
    return f"{letter.image.image[:12]}-r{letter.image.revision}-{safe or 'image'}"


def _short(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"...{name[-_MOST_NAME:]}"


def _plain(cell: str) -> str:
    """Senders choose names, and a terminal obeys control characters."""
    return "".join(character if character.isprintable() else "?" for character in cell)


def _that_match(selection: Selection) -> str:
    return "" if selection.everything else " that match"


def _tell_foreign(box: Letterbox) -> None:
    if box.foreign:
        click.echo(f"{box.foreign:,} records are no dead letters of ours and were passed over", err=True)
