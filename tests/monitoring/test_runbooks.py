"""The pages for who is woken name only what is there: commands with their options, and lines of the log."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from convnet_kafka.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
SOURCE = "\n".join(path.read_text() for path in (ROOT / "services").rglob("*.py"))
KUBERNETES = ("kubectl ", "curl ")


def quoted(path: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", path.read_text())


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words begin with, and what follows."""
    command: click.Command = import_module(f"convnet_kafka.cli.{words[0]}").command
    rest = words[1:]
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_commands_and_their_options_exist(path: Path) -> None:
    for text in quoted(path):
        words = text.removeprefix("convnet-kafka ").split()
        if not text.startswith("convnet-kafka ") and words[0] not in {"models", "dlq", "keys", "topics"}:
            continue
        assert words[0] in COMMANDS, text
        command, rest = command_of(words)
        assert not isinstance(command, click.Group), f"{text}: says no command of the group"
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, text


def test_lines_of_the_log_are_logged() -> None:
    lines = {
        text
        for path in PAGES
        for text in quoted(path)
        if re.fullmatch(r"[a-z][a-z;' ]+", text) and text.count(" ") >= 2 and not text.startswith(("convnet-kafka", *KUBERNETES))
    }
    assert len(lines) >= 8
    assert {line for line in lines if f'"{line}' not in SOURCE} == set()
