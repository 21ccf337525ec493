"""What `classify` and `results` share: their options, where labels are written, and how a command ends."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from convnet_kafka.cli import parquet
from convnet_kafka.client.output import WRITERS, Output
from convnet_kafka.client.session import DEFAULT_SERVER
from convnet_kafka.garbage import collect_seldom

INTERRUPTED = 130

server_option = click.option(
    "--server", envvar="SERVER_URL", default=DEFAULT_SERVER, show_default=True, help="Address of the server; also SERVER_URL."
)
output_option = click.option(
    "--output", type=click.Path(path_type=Path), help="Write all outcomes to this file: .csv, .jsonl or .parquet, by its ending."
)
timeout_option = click.option(
    "--timeout",
    default=120.0,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Give up when the server has been away or refusing for so long.",
)

T = TypeVar("T")


def open_output(path: Path | None) -> Output | None:
    """The place for the labels, checked now.

    Raises:
        SettingsError: it cannot be written.
    """
    if path is None:
        return None
    if path.suffix.lower() == ".parquet":
        parquet.check()
    return Output(path, {**WRITERS, ".parquet": parquet.write_parquet})


def results_command(job: str, server: str) -> str:
    """The command that goes on with a job, ready to be pasted."""
    where = "" if server == DEFAULT_SERVER else f" --server {shlex.quote(server)}"
    return f"convnet-kafka results {job}{where}"


def run(main: Callable[[], Awaitable[T]]) -> T | None:
    """Run to the end; None when Ctrl-C or SIGTERM came first (what was begun is ended cleanly before). A second Ctrl-C ends at once."""

    async def guarded() -> T:
        task = asyncio.current_task()
        if task is not None:
            # A pod is ended with SIGTERM; it means the same.
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await main()

    try:
        collect_seldom()
        return asyncio.run(guarded())
    except (KeyboardInterrupt, asyncio.CancelledError):
        return None
