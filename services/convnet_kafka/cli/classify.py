"""`convnet-kafka classify`: send images, watch them being labelled, write the labels."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from pathlib import Path

import click
from rich.console import Console

from convnet_kafka.cli import labels as shared
from convnet_kafka.client.output import Output
from convnet_kafka.client.progress import Progress, shown
from convnet_kafka.client.report import Report
from convnet_kafka.client.retry import RetryPolicy
from convnet_kafka.client.session import DEFAULT_CONNECTIONS, Classification, Client, ClientOptions
from convnet_kafka.client.sources import Sources
from convnet_kafka.errors import ServerError


@click.command(name="classify")
@click.argument("paths", nargs=-1, envvar="IMG_DIR", type=click.Path(path_type=Path), metavar="PATH...")
@shared.server_option
@shared.output_option
@click.option("--job", help="Send into this job instead of a new one: goes on with an upload that was broken off, given the same paths.")
@click.option("--connections", default=DEFAULT_CONNECTIONS, show_default=True, type=click.IntRange(1, 64), help="Uploads at once.")
@shared.timeout_option
@click.option("--quiet", is_flag=True, help="Show neither progress nor table, only errors.")
def command(
    paths: tuple[Path, ...], server: str, output: Path | None, job: str | None, connections: int, timeout: float, quiet: bool
) -> None:
    """Classify pictures: folders, files, or tar and zip archives (or set IMG_DIR).

    Ends with 0 when every image has its label, 1 when not, 2 when there is nothing to send, 130 after Ctrl-C.
    """
    if not paths:
        raise click.UsageError("no folder or file was given: name one, or set IMG_DIR")
    options = ClientOptions(connections, RetryPolicy(give_up_s=timeout))
    run = ClassifyRun(paths, server, job, options, shared.open_output(output), quiet=quiet)
    ended = shared.run(run.collect)
    sys.exit(run.finish() if ended else run.interrupted())


class ClassifyRun:
    """One run of the command.

    Args:
        paths: what to send.
        server: address of the server.
        job: an earlier job, or None.
        options: of the client.
        output: where all outcomes go, or None.
        quiet: show nothing but errors.
    """

    def __init__(
        self, paths: tuple[Path, ...], server: str, job: str | None, options: ClientOptions, output: Output | None, *, quiet: bool
    ) -> None:
        self._paths = paths
        self._server = server
        self._options = options
        self._output = output
        self._quiet = quiet
        self._console = Console(highlight=False)
        self._errors = Console(stderr=True, highlight=False)
        self._report = Report()
        self._job = job
        self._progress: Progress | None = None

    async def collect(self) -> bool:
        """Send everything and take in every outcome."""
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(self._server, self._options))
            classification = client.classify(self._paths, job=self._job)
            if not self._quiet:
                counting = Sources(self._paths)
                await stack.enter_async_context(shown(classification.progress, self._errors, counting.count))
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
        except ServerError as error:
            raise self._explained(error, classification) from error

    def _explained(self, error: ServerError, classification: Classification) -> ServerError:
        """The error, and what to do about it."""
        if classification.job is None:
            advice = "nothing was sent; start a server with `convnet-kafka up`, or name another with --server or SERVER_URL"
        else:
            accepted = classification.progress().accepted
            advice = (
                f"{accepted:,} images are accepted and will be labelled; read them with\n  "
                f"{shared.results_command(classification.job, self._server)}\n"
                f"or go on sending with the same command and --job {classification.job}"
            )
        return ServerError(f"{error}\n{advice}", status=error.status, slug=error.slug, retry_after_s=error.retry_after_s)

    def finish(self) -> int:
        """Print and write what came; returns the exit code."""
        if self._output is not None:
            self._output.write(self._report.rows())
        progress = self._progress
        if not self._quiet and progress is not None:
            self._report.show(self._console)
            done = len(self._report)
            self._console.print(f"{done:,} images in {progress.seconds:.1f} s, {progress.rate:,.0f} images/s")
            if self._output is not None:
                self._console.print(f"written to {self._output.path}", soft_wrap=True)
        return 1 if self._report.failed else 0

    def interrupted(self) -> int:
        """Say how to go on; returns the exit code."""
        progress = self._progress
        if self._job is None or progress is None:
            click.echo("stopped before anything was sent", err=True)
            return shared.INTERRUPTED
        click.echo(
            f"stopped: {progress.accepted:,} images are accepted and will be labelled ({progress.labelled:,} are); read them with\n"
            f"  {shared.results_command(self._job, self._server)}",
            err=True,
        )
        return shared.INTERRUPTED
