"""`convnet-kafka cancel`: a job whose images need not be classified any more."""

from __future__ import annotations

import sys
from typing import Any

import click

from convnet_kafka.cli import labels as shared
from convnet_kafka.cli import status as status_command
from convnet_kafka.client.options import ClientOptions
from convnet_kafka.client.retry import RetryPolicy
from convnet_kafka.client.session import Client


@click.command(name="cancel")
@click.argument("job")
@shared.server_option
@shared.timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print the job as the server shows it, as JSON.")
def command(job: str, server: str, timeout: float, *, as_json: bool) -> None:
    """Cancel JOB: images that still wait get the result `cancelled`. Labels that are there stay, and doing it twice changes nothing.

    Ends with 0 when it is cancelled, 3 when the server is away or knows no such job.
    """

    async def ask() -> dict[str, Any]:
        async with Client(server, ClientOptions(retry=RetryPolicy(give_up_s=timeout)), key=shared.api_key()) as client:
            return await client.cancel(job)

    status = shared.run(ask)
    if status is None:
        sys.exit(shared.INTERRUPTED)
    status_command.show(status, as_json=as_json)
