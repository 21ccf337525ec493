"""Every event that the services can log, read off their source: name, levels, and the fields that are written out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

LEVELS = ("debug", "info", "warning", "error", "exception", "critical")


@dataclass
class LogEvent:
    """One name, wherever it is logged.

    Attributes:
        levels: at which.
        fields: that come with it, at some place at least; not those that come from a mapping.
        places: `file:line`.
    """

    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    places: list[str] = field(default_factory=list)


def log_events(folder: Path) -> dict[str, LogEvent]:
    """All events of the Python files below a folder.

    Raises:
        AssertionError: a name is put together while the program runs, so that nobody could look for it.
    """
    found: dict[str, LogEvent] = {}
    for file in sorted(folder.rglob("*.py")):
        for call, level, name in _calls(ast.parse(file.read_bytes())):
            place = f"{file.relative_to(folder)}:{call.lineno}"
            names = _literals(name)
            assert names, f"{place}: the name of an event must be written out"
            for each in names:
                event = found.setdefault(each, LogEvent())
                event.levels |= level
                event.fields |= {keyword.arg for keyword in call.keywords if keyword.arg and keyword.arg != "exc_info"}
                event.places.append(place)
    return found


def _calls(tree: ast.AST) -> Iterator[tuple[ast.Call, set[str], ast.expr]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = node.func
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "logger":
            if called.attr in LEVELS:
                yield node, {"error" if called.attr == "exception" else called.attr}, node.args[0]
            elif called.attr == "log":
                yield node, {"debug", "info"}, node.args[1]
        elif isinstance(called, ast.Name) and called.id == "tell":
            yield node, {"debug", "warning"}, node.args[0]


def _literals(name: ast.expr) -> list[str]:
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        return [name.value]
    if isinstance(name, ast.IfExp):
        return _literals(name.body) + _literals(name.orelse)
    return []
