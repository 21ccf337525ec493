"""`convnet-kafka broker`: a real single-node Apache Kafka in the foreground, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click
from click.core import ParameterSource

from convnet_kafka.errors import LocalStackError

# Where Kafka's clients look by default.
_DEFAULT_PORT = 9092
_LARGEST_PORT = 65_535
_POLL_S = 0.5
# In a container on a crowded node a start has taken more than a minute; there a startup probe decides how long is too long.
_CONTAINER_START_S = 600.0


def _host_and_port(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= _LARGEST_PORT:
        raise click.BadParameter(f"{value!r} is no HOST:PORT, for example kafka.example.svc:9092")
    return value


@click.command(name="broker")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Folder to keep the data in.  [default: per user]")
@click.option("--temporary", is_flag=True, help="Keep nothing: use a temporary folder and remove it at the end.")
@click.option(
    "--port", default=_DEFAULT_PORT, show_default=True, type=click.IntRange(0, _LARGEST_PORT), help="On 127.0.0.1; 0 takes a free one."
)
@click.option(
    "--advertise",
    metavar="HOST:PORT",
    callback=_host_and_port,
    help="Also listen on all addresses, and be known to other machines by this address. Nobody is asked who he is: trials only.",
)
@click.option("--message-max-mib", default=12, show_default=True, type=click.IntRange(1, 512), help="MiB of the largest record.")
@click.option("--heap-mib", type=click.IntRange(128, 65_536), help="MiB of the JVM's heap.  [default: follows the largest record]")
@click.pass_context
def command(
    ctx: click.Context, data: Path | None, temporary: bool, port: int, advertise: str | None, message_max_mib: int, heap_mib: int | None
) -> None:
    """Run a real single-node Apache Kafka on this machine until Ctrl-C.

    The first run fetches Kafka's jars (38 MB) into the user's cache. Records survive restarts, unless --temporary is given.

    With --advertise other machines may use it, --port defaults to a free one, and Kafka's log goes to stdout as well: so it runs in a
    container.
    """
    from convnet_kafka.local.broker import START_DEADLINE_S, LocalBroker, default_data_dir  # noqa: PLC0415 - `--help` stays quick

    if temporary and data is not None:
        raise click.UsageError("--data and --temporary exclude each other")
    folder = None if temporary else data or default_data_dir()
    ended = threading.Event()

    def end(_number: int, _frame: object) -> None:
        ended.set()

    if advertise is not None and ctx.get_parameter_source("port") is ParameterSource.DEFAULT:
        port = 0
    broker = LocalBroker(
        folder,
        port or None,
        message_max_bytes=message_max_mib * 1024 * 1024,
        heap_mib=heap_mib,
        advertised=advertise,
        log_to_stdout=advertise is not None,
        start_deadline_s=START_DEADLINE_S if advertise is None else _CONTAINER_START_S,
    )
    try:
        with broker:
            # From here Ctrl-C and SIGTERM end the wait, and the broker ends cleanly; before, they interrupt the start.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, end)
            click.echo(f"Kafka is ready at {broker.bootstrap_servers}{f' and {advertise}' if advertise else ''}")
            click.echo(f"data: {broker.data_dir}\nlog:  {broker.log_path}\nCtrl-C ends it.")
            while not ended.wait(_POLL_S):
                if not broker.is_running:
                    raise LocalStackError(f"the local Kafka ended by itself; its log is {broker.log_path}")
    except KeyboardInterrupt:
        raise click.Abort from None
