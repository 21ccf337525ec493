"""`convnet-kafka broker`: a real single-node Apache Kafka in the foreground, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from convnet_kafka.errors import LocalStackError

# Where Kafka's clients look by default.
_DEFAULT_PORT = 9092
_LARGEST_PORT = 65_535
_POLL_S = 0.5


@click.command(name="broker")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Folder to keep the data in.  [default: per user]")
@click.option("--temporary", is_flag=True, help="Keep nothing: use a temporary folder and remove it at the end.")
@click.option(
    "--port", default=_DEFAULT_PORT, show_default=True, type=click.IntRange(0, _LARGEST_PORT), help="On 127.0.0.1; 0 takes a free one."
)
@click.option("--message-max-mib", default=12, show_default=True, type=click.IntRange(1, 512), help="MiB of the largest record.")
@click.option("--heap-mib", type=click.IntRange(128, 65_536), help="MiB of the JVM's heap.  [default: follows the largest record]")
def command(data: Path | None, temporary: bool, port: int, message_max_mib: int, heap_mib: int | None) -> None:
    """Run a real single-node Apache Kafka on this machine until Ctrl-C.

    The first run fetches Kafka's jars (38 MB) into the user's cache. Records survive restarts, unless --temporary is given.
    """
    from convnet_kafka.local.broker import LocalBroker, default_data_dir  # noqa: PLC0415 - `--help` stays quick

    if temporary and data is not None:
        raise click.UsageError("--data and --temporary exclude each other")
    folder = None if temporary else data or default_data_dir()
    ended = threading.Event()

    def end(_number: int, _frame: object) -> None:
        ended.set()

    broker = LocalBroker(folder, port or None, message_max_bytes=message_max_mib * 1024 * 1024, heap_mib=heap_mib)
    try:
        with broker:
            # From here Ctrl-C and SIGTERM end the wait, and the broker ends cleanly; before, they interrupt the start.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, end)
            click.echo(f"Kafka is ready at {broker.bootstrap_servers}")
            click.echo(f"data: {broker.data_dir}\nlog:  {broker.log_path}\nCtrl-C ends it.")
            while not ended.wait(_POLL_S):
                if not broker.is_running:
                    raise LocalStackError(f"the local Kafka ended by itself; its log is {broker.log_path}")
    except KeyboardInterrupt:
        raise click.Abort from None
