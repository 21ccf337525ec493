"""`convnet-kafka results`: read the labels of a job that was opened earlier, from its start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from convnet_kafka.cli import labels as shared
from convnet_kafka.client.report import Report
from convnet_kafka.client.retry import RetryPolicy
from convnet_kafka.client.session import Client, ClientOptions

_OPEN = "the job is still open: whoever sends into it has not said how many images it has; --no-wait reads what there is"


@click.command(name="results")
@click.argument("job")
@shared.server_option
@shared.output_option
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the job is complete, or read what there is now.")
@shared.timeout_option
def command(job: str, server: str, output: Path | None, wait: bool, timeout: float) -> None:
    """Read the labels of JOB, as `classify` names it.

    Ends with 0 when the job is complete and every image has its label, 1 when not, 130 after Ctrl-C.
    """
    place = shared.open_output(output)
    report = Report()
    errors = Console(stderr=True, highlight=False)

    async def collect() -> dict[str, Any]:
        async with Client(server, ClientOptions(retry=RetryPolicy(give_up_s=timeout))) as client:
            status = await client.status(job)
            if wait and not status.get("complete"):
                errors.print(_OPEN if status.get("total") is None else _standing(status), soft_wrap=True)
            async for labels in client.results(job, wait=wait):
                report.add(labels)
            return await client.status(job)

    status = shared.run(collect)
    console = Console(highlight=False)
    report.show(console)
    if status is None:
        click.echo(f"stopped after {len(report):,} labels; go on with\n  {shared.results_command(job, server)}", err=True)
        sys.exit(shared.INTERRUPTED)
    if place is not None:
        place.write(report.rows())
        console.print(f"written to {place.path}", soft_wrap=True)
    console.print(_standing(status))
    sys.exit(0 if status.get("complete") and not report.failed else 1)


def _standing(status: dict[str, Any]) -> str:
    done = (status.get("labelled") or 0) + (status.get("failed") or 0)
    total = status.get("total")
    if total is None:
        return f"{done:,} images have a result, the job is not closed yet"
    return f"{done:,} of {total:,} images have their result"
