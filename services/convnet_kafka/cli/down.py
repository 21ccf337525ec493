"""`convnet-kafka down`: ends what `up` or `broker` runs for this user, from another terminal or after the first was closed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import psutil

from convnet_kafka.errors import LocalStackError

if TYPE_CHECKING:
    from convnet_kafka.local.folder import Owner

# Classifiers and servers finish what they hold (20 s each, settings.py), then the broker ends (20 s at most, local/broker.py).
_DEADLINE_S = 60.0
_POLL_S = 0.05


@click.command(name="down")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="As given to `up` or `broker`.  [default: per user]")
def command(data: Path | None) -> None:
    """End what `up` or `broker` runs on a data folder, as its own Ctrl-C would. Data stays."""
    from convnet_kafka.local.broker import default_data_dir  # noqa: PLC0415 - `--help` stays quick
    from convnet_kafka.local.folder import FolderLock  # noqa: PLC0415

    folder = data or default_data_dir()
    # `up` keeps the broker's folder inside its own.
    if (folder / "broker").is_dir():
        folder /= "broker"
    owner = FolderLock(folder).owner()
    process = _running(owner) if owner else None
    if process is None:
        click.echo(f"nothing runs on {folder}")
        return
    deadline = time.monotonic() + _DEADLINE_S
    try:
        process.terminate()
        # A process that ended and that its parent has not asked about yet (a zombie) counts as ended; psutil's own wait does not say so.
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                raise LocalStackError(
                    f"process {process.pid} was told to end and has not after {_DEADLINE_S:.0f} s; `kill -9 {process.pid}` ends it"
                )
            time.sleep(_POLL_S)
    except psutil.NoSuchProcess:
        pass  # it ended while we looked, which is what was asked for
    except psutil.AccessDenied:
        raise LocalStackError(f"process {process.pid} runs on {folder} and belongs to another user: it was left alone") from None
    click.echo(f"ended process {process.pid}, which ran on {folder}; the data stays")


def _running(owner: Owner) -> psutil.Process | None:
    """The process that runs the broker, or None: after a crash its note stays behind, and the number may be another process's by now."""
    try:
        process = psutil.Process(owner.owner_pid)
        return process if any(child.pid == owner.broker_pid for child in process.children(recursive=True)) else None
    except psutil.NoSuchProcess:
        return None
