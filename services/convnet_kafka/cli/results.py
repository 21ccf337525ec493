"""`convnet-kafka results`: read the labels of a job that was opened earlier, from its start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from convnet_kafka.cli import labels as shared
from convnet_kafka.cli.progress import print_event
from convnet_kafka.client.options import ClientOptions
from convnet_kafka.client.report import Report
from convnet_kafka.client.retry import RetryPolicy
from convnet_kafka.client.session import Client

_OPEN = "the job is still open: whoever sends into it has not said how many images it has; --no-wait reads what there is"


@click.command(name="results")
@click.argument("job")
@shared.server_option
@shared.output_option
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the job is complete, or read what there is now.")
@click.option("--failed", is_flag=True, help="Only images without a label.")
@click.option("--below", type=click.FloatRange(0, 1), metavar="CONFIDENCE", help="Only labels less sure than this, for example 0.6.")
@shared.timeout_option
@shared.deadline_option
@shared.json_option
def command(
    job: str,
    server: str,
    output: Path | None,
    below: float | None,
    timeout: float,
    deadline: float | None,
    *,
    wait: bool,
    failed: bool,
    as_json: bool,
) -> None:
    """Read the labels of JOB, as `classify` names it.

    Ends with 0 when the job is complete and (without a filter) every image has its label, 1 when not, 3 when the server is away or knows
    no such job, 124 after --deadline, 130 after Ctrl-C.
    """
    place = shared.open_output(output)
    report = Report()
    errors = Console(stderr=True, highlight=False)

    async def collect() -> dict[str, Any]:
        async with Client(server, ClientOptions(retry=RetryPolicy(give_up_s=timeout)), key=shared.api_key()) as client:
            status = await client.status(job)
            if wait and not status.get("complete") and not as_json:
                errors.print(_OPEN if status.get("total") is None else _standing(status), soft_wrap=True)
            async for labels in client.results(job, wait=wait, failed=failed or None, below=below, timeout=deadline):
                report.add(labels)
                if as_json:
                    shared.print_labels(labels)
            return await client.status(job)

    status = shared.run(collect)
    if status is None:
        _interrupted(job, server, report, as_json=as_json)
    if place is not None:
        place.write(report.rows())
    filtered = failed or below is not None
    code = 0 if status.get("complete") and (filtered or not report.failed) else 1
    if as_json:
        print_event("end", exit_code=code, shown=len(report), **status)
        sys.exit(code)
    console = Console(highlight=False)
    report.show(console)
    if place is not None:
        console.print(f"written to {place.path}", soft_wrap=True, markup=False)
    if filtered:
        console.print(f"{len(report):,} are shown")
    console.print(_standing(status))
    sys.exit(code)


def _interrupted(job: str, server: str, report: Report, *, as_json: bool) -> NoReturn:
    """Show what came, say how to go on, and end."""
    resume = shared.results_command(job, server)
    if as_json:
        print_event("stopped", shown=len(report), resume=resume, exit_code=shared.INTERRUPTED)
    else:
        report.show(Console(highlight=False))
        click.echo(f"stopped after {len(report):,} labels; go on with\n  {resume}", err=True)
    sys.exit(shared.INTERRUPTED)


def _standing(status: dict[str, Any]) -> str:
    done = (status.get("labelled") or 0) + (status.get("failed") or 0)
    total = status.get("total")
    if total is None:
        return f"{done:,} images have a result, the job is not closed yet"
    return f"{done:,} of {total:,} images have their result"
