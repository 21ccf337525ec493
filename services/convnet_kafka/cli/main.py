"""The root of the `convnet-kafka` command. Sub-commands are loaded by name, so that `classify` never pays for TensorFlow."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Mapping
from types import MappingProxyType

import click

from convnet_kafka import __version__

# name -> (module under convnet_kafka.cli, one line of help); the module's click command is called `command`.
COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "broker": ("broker", "Run a real single-node Apache Kafka on this machine."),
        "cancel": ("cancel", "Cancel a job: what has no result yet is not classified any more."),
        "classifier": ("classifier", "Run one classifier of the consumer group."),
        "classify": ("classify", "Send images to a server and collect their labels."),
        "data": ("data", "Check class folders before training; see or clear the cache of decoded pictures."),
        "demo": ("demo", "Train on real digits, start everything, classify, and print accuracy and speed."),
        "dlq": ("dlq", "List, show, save, replay and purge dead letters."),
        "doctor": ("doctor", "Look at what usually is wrong, and say what to do."),
        "down": ("down", "End what `up` or `broker` runs for this user."),
        "evaluate": ("evaluate", "Measure a model version on any labelled folder, and write its report."),
        "keys": ("keys", "Make, list, rotate and revoke the API keys of a server."),
        "models": ("models", "List, show, promote, try, roll back, delete and verify model versions."),
        "plan": ("plan", "Say how many replicas, partitions and disks a wished rate takes."),
        "predict": ("predict", "Classify files here, without a server and without Kafka."),
        "results": ("results", "Read the labels of a job that was opened earlier."),
        "server": ("server", "Run the HTTP ingest server."),
        "status": ("status", "Tell how far a job is."),
        "top": ("top", "Show what happens now: rates, waits, who holds what, what to act on."),
        "topics": ("topics", "Check, create or grow the Kafka topics."),
        "trace": ("trace", "Follow one image, or sum up a job, as it lies in Kafka."),
        "train": ("train", "Train a network on a folder of class folders."),
        "up": ("up", "Run broker, server and classifiers on this machine until Ctrl-C."),
    }
)


class LazyGroup(click.Group):
    """A click group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names in the order of the table above."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the module of a command and return its `command`."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"convnet_kafka.cli.{COMMANDS[cmd_name][0]}")
        loaded: click.Command = module.command
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands from the table, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="convnet-kafka")
def group() -> None:
    """Classify images at scale: HTTP in, Kafka in the middle, one result for every accepted image."""


def main() -> None:
    """Run the command line; our own errors become one clear line on stderr and their exit code."""
    if os.getpid() == 1:
        # The first process of a container ends on no signal that it has no handler for: its pod would wait for SIGKILL while a command
        # starts or trains. Commands that end in their own order set their own handlers.
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    try:
        group(standalone_mode=True)
    except Exception as error:
        # ConvnetError (model) and ConvnetKafkaError (services) both carry `exit_code`; anything else is a bug and keeps its traceback.
        exit_code = getattr(error, "exit_code", None)
        if exit_code is None:
            raise
        click.echo(f"convnet-kafka: {error}", err=True)
        sys.exit(int(exit_code))
