"""`convnet-kafka classify`: send images, watch them being labelled, write the labels."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from convnet_kafka.cli import labels as shared
from convnet_kafka.cli.live import shown
from convnet_kafka.cli.progress import print_event
from convnet_kafka.client.classification import Classification, JobOptions
from convnet_kafka.client.label import Label
from convnet_kafka.client.options import DEFAULT_CONNECTIONS, ClientOptions
from convnet_kafka.client.output import Output
from convnet_kafka.client.packing import pick
from convnet_kafka.client.progress import Progress
from convnet_kafka.client.report import Report
from convnet_kafka.client.retry import RetryPolicy
from convnet_kafka.client.session import Client
from convnet_kafka.client.sources import Sources
from convnet_kafka.errors import ServerError
from convnet_kafka.messages import Lane
from convnet_kafka.tracing import FLUSH_S, start

_STDIN = "-"


@click.command(name="classify")
@click.argument("paths", nargs=-1, envvar="IMG_DIR", metavar="PATH...")
@shared.server_option
@shared.output_option
@click.option(
    "--report", "page", type=click.Path(path_type=Path), help="Write a page (.html) with thumbnails by class, failures and confidence."
)
@click.option("--job", help="Send into this job instead of a new one: goes on with an upload that was broken off, given the same paths.")
@click.option(
    "--lane",
    default=Lane.BULK.value,
    show_default=True,
    type=click.Choice([lane.value for lane in Lane]),
    help="Where a new job waits: fast is for some images that cannot wait behind everybody's.",
)
@click.option("--connections", default=DEFAULT_CONNECTIONS, show_default=True, type=click.IntRange(1, 64), help="Uploads at once.")
@shared.timeout_option
@shared.deadline_option
@click.option("--strict", is_flag=True, help="End with the first file that cannot be read, instead of naming it and going on.")
@shared.json_option
@click.option("--quiet", is_flag=True, help="Show neither progress nor table, only errors.")
def command(
    paths: tuple[str, ...],
    server: str,
    output: Path | None,
    page: Path | None,
    job: str | None,
    lane: str,
    connections: int,
    timeout: float,
    deadline: float | None,
    *,
    strict: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Classify pictures (or set IMG_DIR).

    PATH is a folder, a picture, a quoted pattern ('photos/**/*.jpg'), a tar or zip archive, an address (s3://bucket/folder; needs the
    extra `fsspec`), or - for a tar on standard input.

    Ends with 0 when every image has its label, 1 when not, 2 when there is nothing to send, 3 when the server is away or refuses,
    124 after --deadline, 130 after Ctrl-C.
    """
    if not paths:
        raise click.UsageError("no folder or file was given: name one, or set IMG_DIR")
    tracing = start("client")
    if tracing is not None:
        tracing.share()
    options = ClientOptions(connections, RetryPolicy(give_up_s=timeout), strict=strict, tracing=tracing is not None)
    show = Show(as_json=as_json, quiet=quiet)
    wanted = JobOptions(job, deadline, lane=Lane(lane))
    run = ClassifyRun(paths, server, wanted, options, shared.open_output(output), show)
    if page is not None:
        run.report_to(page)
    try:
        ended = shared.run(run.collect)
    finally:
        if tracing is not None:
            tracing.close(FLUSH_S)
    sys.exit(run.finish() if ended else run.interrupted())


@dataclass(frozen=True, slots=True)
class Show:
    """What is printed.

    Attributes:
        as_json: JSON lines, for programs.
        quiet: nothing but errors (and with `as_json` the outcomes).
    """

    as_json: bool
    quiet: bool


class ClassifyRun:
    """One run of the command.

    Args:
        paths: what to send.
        server: address of the server.
        wanted: of the job.
        options: of the client.
        output: where all outcomes go, or None.
        show: what is printed.
    """

    def __init__(
        self,
        paths: tuple[str, ...],
        server: str,
        wanted: JobOptions,
        options: ClientOptions,
        output: Output | None,
        show: Show,
    ) -> None:
        self._paths = paths
        self._server = server
        self._options = options
        self._output = output
        self._show = show
        self._page: Output | None = None
        self._console = Console(highlight=False)
        self._errors = Console(stderr=True, highlight=False)
        self._report = Report()
        self._wanted = wanted
        self._job = wanted.job
        self._progress: Progress | None = None

    def report_to(self, path: Path) -> None:
        """Write a page at the end.

        Raises:
            SettingsError: it cannot be written, or Pillow is not installed.
        """
        from convnet_kafka.cli import thumbnails  # noqa: PLC0415 - who wants no page does not load what it needs

        thumbnails.check()
        self._page = Output(path, {".html": self._write_page})

    async def collect(self) -> bool:
        """Send everything and take in every outcome."""
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(self._server, self._options, key=shared.api_key()))
            classification = client.classify(
                _sources(self._paths), job=self._wanted.job, lane=self._wanted.lane, timeout=self._wanted.timeout_s
            )
            if not self._show.quiet:
                counting = Sources(_sources(self._paths))
                view = shown(classification.progress, self._errors, counting.count, as_json=self._show.as_json)
                await stack.enter_async_context(view)
            try:
                await self._take(classification)
            finally:
                # Before anything is told: what is on its way may still be accepted.
                await classification.aclose()
                self._job = classification.job
                self._progress = classification.progress()
        return True

    async def _take(self, classification: Classification) -> None:
        try:
            async for labels in classification.batches():
                self._report.add(labels)
                if self._show.as_json:
                    shared.print_labels(labels)
        except ServerError as error:
            # The same error with advice, so that it ends the command as it would have.
            error.args = (f"{error}\n{self._advice(classification)}",)
            raise

    def _advice(self, classification: Classification) -> str:
        """What to do about an error."""
        if classification.job is None:
            return "nothing was sent; start a server with `convnet-kafka up`, or name another with --server or SERVER_URL"
        accepted = classification.progress().accepted
        return (
            f"{accepted:,} images are accepted and will be labelled; read them with\n  "
            f"{shared.results_command(classification.job, self._server)}\n"
            f"or go on sending with the same command and --job {classification.job}"
        )

    def finish(self) -> int:
        """Print and write what came; returns the exit code."""
        for place in (self._output, self._page):
            if place is not None:
                place.write(self._report.rows())
        progress = self._progress
        code = 1 if self._report.failed else 0
        if self._show.quiet or progress is None:
            return code
        if self._show.as_json:
            print_event("end", job=self._job, exit_code=code, **_summary(progress))
            return code
        self._report.show(self._console)
        done = len(self._report)
        self._console.print(f"{done:,} images in {progress.seconds:.1f} s, {done / max(progress.seconds, 1e-9):,.0f} images/s")
        for place in (self._output, self._page):
            if place is not None:
                self._console.print(f"written to {place.path}", soft_wrap=True, markup=False)
        return code

    def interrupted(self) -> int:
        """Say how to go on; returns the exit code."""
        progress = self._progress
        if self._job is None or progress is None:
            click.echo("stopped before anything was sent", err=True)
            return shared.INTERRUPTED
        resume = shared.results_command(self._job, self._server)
        if self._show.as_json:
            print_event("stopped", job=self._job, resume=resume, exit_code=shared.INTERRUPTED, **_summary(progress))
            return shared.INTERRUPTED
        click.echo(
            f"stopped: {progress.accepted:,} images are accepted and will be labelled ({progress.labelled:,} are); read them with\n"
            f"  {resume}",
            err=True,
        )
        return shared.INTERRUPTED

    def _write_page(self, path: Path, labels: Iterable[Label]) -> None:
        """The page of `--report`; its pictures are read once more, those that it shows alone."""
        from convnet_kafka.cli import picturereport, thumbnails  # noqa: PLC0415 - who wants no page does not load what it needs

        rows = list(labels)
        names = picturereport.chosen(rows)
        made = {}
        if _STDIN not in self._paths:
            for name, content in pick(Sources(self._paths, wanted=names), names):
                if (thumbnail := thumbnails.data_uri(content)) is not None:
                    made[name] = thumbnail
        seconds = self._progress.seconds if self._progress is not None else 0.0
        outcomes = picturereport.Outcomes(rows, ", ".join(self._paths), seconds, made)
        path.write_text(picturereport.render(outcomes), encoding="utf-8")


def _sources(paths: tuple[str, ...]) -> list[Any]:
    """The paths as the client takes them; `-` is a tar on standard input."""
    return [("stdin.tar", sys.stdin.buffer) if path == _STDIN else path for path in paths]


def _summary(progress: Progress) -> dict[str, object]:
    """Where it ended, as JSON has it."""
    return {
        "uploaded": progress.accepted,
        "labelled": progress.labelled,
        "failed": progress.failed,
        "seconds": round(progress.seconds, 3),
        "images_per_s": round(progress.rate, 1),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
