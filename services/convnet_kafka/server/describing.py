"""How a handler says what it is, in one decorator beside it: what it takes and what it answers. `openapi.py` makes the document of it.

Changes nothing about how the handler works. Parameters carry the same constants that the handler checks them with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel

from convnet_kafka.server.problem_types import SLUGS

JSON = "application/json"
_NAME = "__described__"
F = TypeVar("F", bound=Callable[..., Any])
Model = type[BaseModel]
NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or a header.

    Attributes:
        name: as it is sent.
        about: what it does.
        schema: JSON Schema of its value.
        where: `query` or `header`.
    """

    name: str
    about: str
    schema: Mapping[str, Any]
    where: str = "query"


def whole_number(name: str, about: str, low: int, high: int, default: int | None = None) -> Parameter:
    """A whole number in the query."""
    return Parameter(name, about, {"type": "integer", "minimum": low, "maximum": high} | _default(default))


def number(name: str, about: str, high: float, default: float | None = None) -> Parameter:
    """A number from 0 in the query."""
    return Parameter(name, about, {"type": "number", "minimum": 0, "maximum": high} | _default(default))


def flag(name: str, about: str) -> Parameter:
    """`true` or `false` in the query."""
    return Parameter(name, about, {"type": "boolean", "default": False})


def choice(name: str, about: str, values: Sequence[str], default: str) -> Parameter:
    """One of some words in the query."""
    return Parameter(name, about, {"type": "string", "enum": list(values), "default": default})


def text(name: str, about: str, longest: int) -> Parameter:
    """Text in the query."""
    return Parameter(name, about, {"type": "string", "maxLength": longest})


def header(name: str, about: str, pattern: str) -> Parameter:
    """A header."""
    return Parameter(name, about, {"type": "string", "pattern": pattern}, "header")


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that goes on: its content type, the model of one element of it, and in words how they stand in it.

    Attributes:
        content_type: of the answer.
        about: how it reads.
    """

    content_type: str
    about: str


@dataclass(frozen=True, slots=True)
class Description:
    """What a handler takes and answers.

    Attributes:
        summary: a few words.
        about: more of them; the handler's docstring where none are given.
        tag: the group it stands in.
        parameters: query and headers.
        body: content type -> model; None for bytes.
        body_needed: False when the call works without one.
        answers: status -> model of its JSON; None for an answer that is no JSON of ours.
        streams: other content types of the 200.
        headers: names of the answer's headers, with what they say.
        problems: slugs that are its own; what all calls share is added by `openapi.py`.
    """

    summary: str
    about: str
    tag: str
    parameters: tuple[Parameter, ...] = ()
    body: Mapping[str, Model | None] = field(default_factory=dict)
    answers: Mapping[int, Model | None] = field(default_factory=dict)
    streams: tuple[Stream, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def described(
    summary: str,
    *,
    tag: str,
    answers: Mapping[int, Model | None],
    about: str = "",
    parameters: tuple[Parameter, ...] = (),
    body: Mapping[str, Model | None] = NOTHING,
    streams: tuple[Stream, ...] = (),
    headers: Mapping[str, str] = NOTHING,
    problems: tuple[str, ...] = (),
) -> Callable[[F], F]:
    """Decorator: describe a handler; arguments as `Description`'s.

    Raises:
        RuntimeError: a slug is not in `SLUGS`.
    """
    strange = set(problems) - set(SLUGS)
    if strange:
        raise RuntimeError(f"{summary!r} names problems that problem_types.py does not: {', '.join(sorted(strange))}")

    def describe(handler: F) -> F:
        words = about or " ".join((handler.__doc__ or "").split("Raises:")[0].split())
        setattr(handler, _NAME, Description(summary, words, tag, parameters, body, answers, streams, headers, problems))
        return handler

    return describe


def description_of(handler: object) -> Description | None:
    """What a handler says of itself; None for one that says nothing."""
    found = getattr(handler, _NAME, None)
    return found if isinstance(found, Description) else None


def _default(value: float | None) -> dict[str, Any]:
    return {} if value is None else {"default": value}
