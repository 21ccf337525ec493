"""What the commands of the client share: their options, where labels are written, and how a command ends."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

import click
import orjson

from convnet_kafka.cli import parquet
from convnet_kafka.client.label import Label
from convnet_kafka.client.options import DEFAULT_SERVER
from convnet_kafka.client.output import WRITERS, Output
from convnet_kafka.errors import SettingsError
from convnet_kafka.garbage import collect_seldom

INTERRUPTED = 130

KEY_VARIABLE = "CONVNET_API_KEY"


def server_option(function: Callable[..., None]) -> Callable[..., None]:
    """`--server`, and `--key-file`, whose key `api_key` gives."""
    server = click.option(
        "--server", envvar="SERVER_URL", default=DEFAULT_SERVER, show_default=True, help="Address of the server; also SERVER_URL."
    )
    key = click.option(
        "--key-file",
        envvar="CONVNET_API_KEY_FILE",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_remember_key_file,
        help=f"File with the API key, where the server asks for one; or {KEY_VARIABLE} with the key itself.",
    )
    return server(key(function))


def _remember_key_file(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    ctx.meta[KEY_VARIABLE] = path


def api_key() -> str | None:
    """The key of the command that runs: from `--key-file`, else from the environment, else none.

    Raises:
        SettingsError: the file cannot be read.
    """
    path = click.get_current_context().meta.get(KEY_VARIABLE)
    if path is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise SettingsError(f"the key file {path} cannot be read: {error.strerror}") from error


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
deadline_option = click.option(
    "--deadline",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="End after so long altogether, with exit code 124; what was accepted is labelled all the same.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="JSON lines: outcomes on stdout as they come, progress and how it ended on stderr."
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


def print_labels(labels: Iterable[Label]) -> None:
    """Outcomes as JSON lines on stdout."""
    sys.stdout.buffer.write(b"".join(orjson.dumps(label._asdict(), option=orjson.OPT_APPEND_NEWLINE) for label in labels))
    sys.stdout.flush()


def results_command(job: str, server: str) -> str:
    """The command that goes on with a job, ready to be pasted."""
    where = "" if server == DEFAULT_SERVER else f" --server {shlex.quote(server)}"
    return f"convnet-kafka results {job}{where}"


def run(main: Callable[[], Awaitable[T]]) -> T | None:
    """Run to the end; None when Ctrl-C or SIGTERM came first (what was begun is ended cleanly before). A second Ctrl-C ends at once.

    The same when nobody reads our output any more, as after `| head`.
    """

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
    except BrokenPipeError:
        # What is still in stdout's buffer has nowhere to go (as the documentation of `signal` advises).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return None
