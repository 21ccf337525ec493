"""`convnet-kafka up`: Kafka, server and classifiers on this machine, with their logs in one stream, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from convnet_kafka.logs.level import AS_BEFORE, MORE

if TYPE_CHECKING:
    from rich.console import Console

    from convnet_kafka.local.stack import Stack

# Where Kafka's and HTTP's clients look by default.
_KAFKA_PORT = 9092
_HTTP_PORT = 8080


@click.command(name="up")
@click.option("--classifiers", default=2, show_default=True, type=click.IntRange(0, 64), help="Classifiers that share the work.")
@click.option("--server-processes", default=1, show_default=True, type=click.IntRange(1, 64), help="Server processes on one port.")
@click.option("--models", default=Path("models"), show_default=True, type=click.Path(path_type=Path), help="Folder of trained models.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Folder of Kafka's records.  [default: per user]")
@click.option("--port", default=_HTTP_PORT, show_default=True, type=click.IntRange(1, 65_535), help="Of the server, on 127.0.0.1.")
@click.option("--monitoring", is_flag=True, help="Give Kafka's metrics too, and write files with which a Prometheus scrapes it all.")
def command(classifiers: int, server_processes: int, models: Path, data: Path | None, port: int, *, monitoring: bool) -> None:
    """Run Kafka, the server and classifiers on this machine until Ctrl-C.

    Whatever dies is started again. Records stay in the data folder, so labels can be read after a restart. With KAFKA_BOOTSTRAP_SERVERS
    set, that Kafka is used and none is run. SIGUSR1 has server and classifiers log everything, SIGUSR2 what they logged before.
    """
    from rich.console import Console  # noqa: PLC0415 - `--help` stays quick

    from convnet_kafka.local.process import port_is_free  # noqa: PLC0415
    from convnet_kafka.local.stack import Stack, StackOptions  # noqa: PLC0415
    from convnet_kafka.local.stackfile import default_data_dir  # noqa: PLC0415

    console = Console(highlight=False)
    options = StackOptions(
        models=models,
        data=data or default_data_dir(),
        classifiers=classifiers,
        server_processes=server_processes,
        port=port,
        broker_port=_KAFKA_PORT if port_is_free(_KAFKA_PORT) else None,
        bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS"),
        console=console,
        monitoring=monitoring,
    )
    # `kill`, and a terminal that is closed, mean the same as Ctrl-C; a second one of them ends at once.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    started = time.monotonic()
    stack = Stack(options)
    try:
        with stack:
            _tell(stack, console, time.monotonic() - started)
            for number in (MORE, AS_BEFORE):
                signal.signal(number, partial(_pass_on, stack))
            while True:
                signal.pause()
    except KeyboardInterrupt:
        console.print("stopped; records stay in", str(options.data), soft_wrap=True)


def _pass_on(stack: Stack, number: int, _frame: FrameType | None) -> None:
    """Servers and classifiers log more, or as before; Kafka has no such signal."""
    for name in stack.processes:
        if name != "broker":
            stack.kill(name, signal.Signals(number))


def _tell(stack: Stack, console: Console, seconds: float) -> None:
    options = stack.options
    kafka = "its own" if options.bootstrap_servers is None else "yours"
    lines = [
        f"[bold]convnet-kafka is ready at {stack.server_url}[/bold] after {seconds:.1f} s; Ctrl-C ends it",
        f"  classify   convnet-kafka classify FOLDER{'' if options.port == _HTTP_PORT else f' --server {stack.server_url}'}",
        f"  Kafka      {stack.bootstrap_servers} ({kafka})",
        f"  data       {options.data}",
    ]
    if stack.scrape_config is not None:
        lines.append(
            f"  metrics    prometheus --config.file={stack.scrape_config} --storage.tsdb.path={stack.scrape_config.parent / 'tsdb'}"
        )
    if not stack.has_model():
        lines.append(
            f"[yellow]There is no model in {options.models} yet, and classifiers wait for one: "
            f"convnet-kafka train FOLDER --models {options.models}[/yellow]"
        )
    console.print("\n".join(lines), soft_wrap=True)
