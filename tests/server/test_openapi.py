"""The API's description is whole, true to the handlers, and what the documents say. No server is started."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from convnet_kafka.server import problem_types
from convnet_kafka.server.auth import CALLS
from convnet_kafka.server.describing import described, description_of
from convnet_kafka.server.openapi import problems_of
from convnet_kafka.server.problem_types import SLUGS
from support.api_description import api, application

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "services" / "convnet_kafka" / "server"
# Answered before a handler is found.
OF_NO_CALL = {"not-found", "method-not-allowed"}


def routes() -> list[tuple[str, str, object]]:
    found = application().router.routes()
    return [
        (route.method, route.resource.canonical, route.handler) for route in found if route.resource is not None and route.method != "HEAD"
    ]


def test_every_call_is_described() -> None:
    calls = [(method, path) for method, path, _ in routes() if path.startswith("/v1")]
    assert set(calls) == set(CALLS)
    silent = [f"{method} {path}" for method, path, handler in routes() if path.startswith("/v1") and description_of(handler) is None]
    assert silent == [], "put @described(...) on the handler (server/describing.py)"
    for method, path in calls:
        operation = api()["paths"][path][method.lower()]
        assert operation["summary"]
        assert operation["description"]
        assert [each["name"] for each in operation["parameters"] if each["in"] == "path"] == re.findall(r"{(\w+)}", path)


def test_every_problem_is_said_by_a_call_and_only_known_ones_are_raised() -> None:
    said = {
        slug
        for method, path, handler in routes()
        if (description := description_of(handler)) is not None
        for slug in problems_of(method.lower(), path, description)
    }
    assert set(SLUGS) - said - OF_NO_CALL == set()
    raised = {slug for path in SERVER.glob("*.py") for slug in slugs_in(path)}
    assert raised <= set(SLUGS)
    assert "bad-request" in raised


def slugs_in(path: Path) -> list[str]:
    """First arguments of `Problem(...)` in a file."""
    calls = [
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem"
    ]
    return [call.args[0].value for call in calls if call.args and isinstance(call.args[0], ast.Constant)]


def test_what_refuses_carries_retry_after() -> None:
    for methods in api()["paths"].values():
        for operation in methods.values():
            for status in {"429", "503"} & set(operation["responses"]):
                answer = operation["responses"][status]
                assert "Retry-After" in answer.get("headers", {}) or "application/problem+json" not in answer["content"]


def test_a_description_with_an_unknown_problem_is_a_mistake() -> None:
    with pytest.raises(RuntimeError, match="no-such-slug"):
        described("x", tag="jobs", answers={}, problems=("no-such-slug",))


def test_the_document_of_problems_is_up_to_date() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert text == problem_types.document(), "run: python -m convnet_kafka.server.problem_types > docs/errors.md"
    http = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", http, re.MULTILINE))
    assert {slug: int(status) for slug, status in told.items()} == {slug: kind.status for slug, kind in SLUGS.items()}
