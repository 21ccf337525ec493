"""The OpenAPI 3.1 document, made from the routes, from what their handlers say of themselves and from the models; and its path.

Nothing here knows a single call. What all calls share is added here: keys, jobs, bodies, and the problems that come with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from aiohttp import web
from pydantic.json_schema import models_json_schema

from convnet_kafka.server.api_models import ProblemDocument
from convnet_kafka.server.describing import JSON, Description, Model, Parameter, described, description_of
from convnet_kafka.server.pages import SECURITY_HEADERS
from convnet_kafka.server.problem_types import SLUGS

VERSION = "1"
PROBLEM_JSON = "application/problem+json"
_MODELS = "#/components/schemas/{model}"
_GUARDED = ("unauthenticated", "not-allowed", "rate-limited")
_JOB = ("job-unknown", "job-expired", "job-of-another-cluster")
_PATH_PARAMETERS = {
    "job": ("the id that `POST /v1/jobs` gave", {"type": "string"}),
    "slug": ("the last part of a problem's `type`", {"type": "string", "enum": sorted(SLUGS)}),
}
_ABOUT = (
    "Images in, Kafka in the middle, exactly one result for every accepted image. Errors are RFC 9457 problems; `429` and `503` carry "
    "`Retry-After`. Within a version of the API members are only added: pass over those that you do not know."
)
_TAGS = {"jobs": "Many images, read back live or later.", "classify": "A few images, answered at once.", "service": "The server itself."}


class OpenApi:
    """Serves the document of one application, made when first asked for."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._body = b""

    def routes(self) -> list[web.RouteDef]:
        """The routes served here."""
        return [web.get("/openapi.json", self.show)]

    @described("This document", tag="service", answers={200: None})
    async def show(self, _request: web.Request) -> web.Response:
        """OpenAPI 3.1."""
        if not self._body:
            self._body = orjson.dumps(document(self._app.router.routes()))
        return web.Response(body=self._body, content_type=JSON, headers={**SECURITY_HEADERS, "Cache-Control": "no-cache"})


def document(routes: Iterable[web.AbstractRoute]) -> dict[str, Any]:
    """The document of all routes that are described."""
    calls = [
        (route.method.lower(), route.resource.canonical, description)
        for route in routes
        if route.resource is not None and route.method != "HEAD" and (description := description_of(route.handler)) is not None
    ]
    schemas, refs = _schemas([each[2] for each in calls])
    paths: dict[str, dict[str, Any]] = {}
    for method, path, description in calls:
        paths.setdefault(path, {})[method] = _operation(method, path, description, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "convnet-kafka", "version": VERSION, "summary": "Classifies images at any scale.", "description": _ABOUT},
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "where the server asks for a key"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def problems_of(method: str, path: str, description: Description) -> list[str]:
    """Every slug that a call may answer with: its own, and what its path and body bring with them."""
    guarded = path == "/v1" or path.startswith("/v1/")
    found = {*description.problems, *(("internal",) if guarded else ())}
    if guarded:
        found |= set(_GUARDED)
    if "{job}" in path:
        found |= set(_JOB)
    if description.body:
        found |= {"bad-request", "too-large"}
    if description.parameters:
        found.add("bad-request")
    if method in {"post", "delete"} and guarded:
        found |= {"shutting-down", "kafka-unavailable"}
    return [slug for slug in SLUGS if slug in found]


def _schemas(descriptions: Iterable[Description]) -> tuple[dict[str, Any], Mapping[Model, dict[str, Any]]]:
    """Schemas of all models, and a reference to each."""
    models: dict[Model, None] = {ProblemDocument: None}
    for description in descriptions:
        models.update(dict.fromkeys(model for model in [*description.answers.values(), *description.body.values()] if model is not None))
    refs, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_MODELS)
    return definitions["$defs"], {model: refs[(model, "validation")] for model in models}


def _operation(method: str, path: str, description: Description, refs: Mapping[Model, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "description": _PATH_PARAMETERS[name][0], "schema": _PATH_PARAMETERS[name][1]}
        for name in re.findall(r"{(\w+)}", path)
    ]
    found: dict[str, Any] = {
        "operationId": _identity(method, path),
        "tags": [description.tag],
        "summary": description.summary,
        "description": description.about,
        "parameters": parameters + [_parameter(each) for each in description.parameters],
        "responses": _responses(method, path, description, refs),
    }
    if path.startswith("/v1"):
        found["security"] = [{}, {"bearer": []}, {"header": []}]
    if description.body:
        content = {kind: {"schema": {} if model is None else refs[model]} for kind, model in description.body.items()}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _identity(method: str, path: str) -> str:
    words = [word for word in re.split(r"[/{}.]+", path) if word and word != "v1"]
    return "-".join([method, *words])


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {"name": parameter.name, "in": parameter.where, "description": parameter.about, "schema": dict(parameter.schema)}


def _responses(method: str, path: str, description: Description, refs: Mapping[Model, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, model in description.answers.items():
        about = " ".join((model.__doc__ or "").split()) if model else description.summary
        answer: dict[str, Any] = {"description": about}
        if model is not None:
            answer["content"] = {JSON: {"schema": refs[model]}}
        if status == 200:
            for stream in description.streams:
                answer.setdefault("content", {})[stream.content_type] = {"schema": {"type": "string", "description": stream.about}}
        if 200 <= status < 300 and description.headers:
            answer["headers"] = {name: {"description": what, "schema": {"type": "string"}} for name, what in description.headers.items()}
        responses[str(status)] = answer
    by_status: dict[int, list[str]] = {}
    for slug in problems_of(method, path, description):
        by_status.setdefault(SLUGS[slug].status, []).append(slug)
    for status, slugs in sorted(by_status.items()):
        responses[str(status)] = _problem_response(status, slugs, refs[ProblemDocument])
    return responses


def _problem_response(status: int, slugs: list[str], reference: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {"properties": {"type": {"enum": [f"/problems/{slug}" for slug in slugs]}, "status": {"const": status}}}
    answer: dict[str, Any] = {
        "description": "; ".join(f"`{slug}`: {SLUGS[slug].title}" for slug in slugs),
        "content": {PROBLEM_JSON: {"schema": {"allOf": [dict(reference), kinds]}}},
    }
    if status in {429, 503}:
        seconds = {"description": "seconds until it is worth trying again", "required": True, "schema": {"type": "integer", "minimum": 1}}
        answer["headers"] = {"Retry-After": seconds}
    return answer
