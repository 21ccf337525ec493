"""`convnet-kafka status`: how far a job is."""

from __future__ import annotations

import sys
import time
from typing import Any

import click
import orjson
from rich.console import Console
from rich.table import Table

from convnet_kafka.cli import labels as shared
from convnet_kafka.cli.progress import duration
from convnet_kafka.client.options import ClientOptions
from convnet_kafka.client.retry import RetryPolicy
from convnet_kafka.client.session import Client


@click.command(name="status")
@click.argument("job")
@shared.server_option
@shared.timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print the job as the server shows it, as JSON.")
def command(job: str, server: str, timeout: float, *, as_json: bool) -> None:
    """Tell how far JOB is, as `classify` names it.

    Ends with 0 when the server answered, 3 when it is away or knows no such job.
    """

    async def ask() -> dict[str, Any]:
        async with Client(server, ClientOptions(retry=RetryPolicy(give_up_s=timeout)), key=shared.api_key()) as client:
            return await client.status(job)

    status = shared.run(ask)
    if status is None:
        sys.exit(shared.INTERRUPTED)
    show(status, as_json=as_json)


def show(status: dict[str, Any], *, as_json: bool) -> None:
    """Print a job as a table, or as JSON."""
    if as_json:
        click.echo(orjson.dumps(status))
        return
    total, now_ms = status.get("total"), time.time() * 1000
    labelled, failed = status.get("labelled") or 0, status.get("failed") or 0
    rows = [
        ("state", _state(status)),
        ("images", "not known before the job is closed" if total is None else f"{total:,}"),
        ("labelled", f"{labelled:,}"),
        ("failed", f"{failed:,}"),
    ]
    if total is not None and not status.get("complete"):
        rows.append(("waiting", f"{max(0, total - labelled - failed):,}"))
    if isinstance(opened := status.get("opened_at_ms"), int | float):
        rows.append(("opened", f"{_moment(opened)}, {_span(now_ms - opened)} ago"))
    if isinstance(expires := status.get("expires_at_ms"), int | float):
        rows.append(("expires", f"{_moment(expires)}, in {_span(expires - now_ms)}" if expires > now_ms else _moment(expires)))
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows:
        table.add_row(f"[dim]{name}[/dim]", value)
    Console(highlight=False).print(table)


def _state(status: dict[str, Any]) -> str:
    state = str(status.get("state", "unknown"))
    return f"{state}, complete" if status.get("complete") else state


def _moment(milliseconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(milliseconds / 1000))


def _span(milliseconds: float) -> str:
    """A time of days or hours in words; `duration` says shorter ones."""
    hours = milliseconds / 3_600_000
    if hours >= 48:
        return f"{hours / 24:.0f} days"
    return f"{hours:.0f} hours" if hours >= 2 else duration(max(0.0, milliseconds / 1000))
