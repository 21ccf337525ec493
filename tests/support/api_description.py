"""What the API says of itself, made without a server, and answers held to it."""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from convnet_kafka.server.app import build
from convnet_kafka.server.openapi import document
from support.running_server import config


@functools.cache
def application() -> web.Application:
    """An application that is not started."""
    with tempfile.TemporaryDirectory() as folder:
        return build(config(Path(folder), "127.0.0.1:1", "described"))


@functools.cache
def api() -> dict[str, Any]:
    """The OpenAPI document."""
    return document(application().router.routes())


def operation_of(method: str, url: str) -> dict[str, Any] | None:
    """What is said of the call that a request is; None when it is none."""
    path = urlsplit(url).path
    for template, methods in api()["paths"].items():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            found: dict[str, Any] | None = methods.get(method.lower())
            return found
    return None


def check_answer(method: str, url: str, status: int, value: dict[str, Any]) -> None:
    """An answer's status, kind of problem and members are all described. Paths and methods that are no call are passed over."""
    operation = operation_of(method, url)
    if operation is None:
        return
    assert str(status) in operation["responses"], f"{method} {urlsplit(url).path} answers {status}, which its description does not say"
    content = operation["responses"][str(status)].get("content", {})
    if status >= 400 and "application/problem+json" in content:
        kinds = content["application/problem+json"]["schema"]["allOf"][1]["properties"]["type"]["enum"]
        assert value["type"] in kinds, f"{method} {urlsplit(url).path} answers {value['type']}, which its description does not say"
        known(value, api()["components"]["schemas"]["ProblemDocument"])
    elif "application/json" in content:
        known(value, content["application/json"]["schema"])


def known(value: object, schema: dict[str, Any]) -> None:
    """Every member of an answer is described: that it is of the right form is for a validator to say."""
    if "$ref" in schema:
        schema = api()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, dict) and "properties" in schema:
        assert set(value) <= set(schema["properties"]), (
            f"{sorted(set(value) - set(schema['properties']))} of {schema['title']} are not described"
        )
        assert set(schema.get("required", [])) <= set(value), (
            f"{sorted(set(schema['required']) - set(value))} of {schema['title']} are missing"
        )
        for name, member in value.items():
            known(member, schema["properties"][name])
    elif isinstance(value, list) and "items" in schema:
        for member in value:
            known(member, schema["items"])
