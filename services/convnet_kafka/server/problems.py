"""Errors as RFC 9457 `application/problem+json`: the one place where an exception becomes an HTTP status.

The kinds of problems stand in `problem_types.py`. Never puts a job id or a key into an answer or a log.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel

from convnet_kafka.errors import ConvnetKafkaError, KafkaUnavailable, TopicMismatch
from convnet_kafka.server.following import FollowerClosed, TooManyScans
from convnet_kafka.server.jobs import JobExpired, JobOfAnotherCluster, JobUnknown
from convnet_kafka.server.problem_types import SLUGS

logger = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Kafka looks for a lost broker again within a second; a slot of an upload or a scan is free after about as long.
RETRY_AFTER_S = 1.0
_ERRORS: Mapping[type[ConvnetKafkaError], str] = {
    JobUnknown: "job-unknown",
    JobExpired: "job-expired",
    JobOfAnotherCluster: "job-of-another-cluster",
    KafkaUnavailable: "kafka-unavailable",
    TopicMismatch: "kafka-unavailable",
    TooManyScans: "too-many-scans",
    FollowerClosed: "shutting-down",
}
_STATUSES = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 415: "unsupported"}


class Problem(ConvnetKafkaError):
    """An error as the caller is to see it.

    Args:
        slug: one of `SLUGS`.
        detail: what happened, and what to do.
        retry_after_s: seconds; one second for 429 and 503 when not given.
        extensions: further members of the answer.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        retry_after_s: float | None = None,
        extensions: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.slug = slug
        self.status, self.title = SLUGS[slug].status, SLUGS[slug].title
        self.retry_after_s = RETRY_AFTER_S if retry_after_s is None and self.status in {429, 503} else retry_after_s
        self.extensions = dict(extensions or {})
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        """The answer."""
        members = {"type": f"/problems/{self.slug}", "title": self.title, "status": self.status, "detail": str(self)}
        retry_after = {} if self.retry_after_s is None else {"Retry-After": str(max(1, math.ceil(self.retry_after_s)))}
        return web.Response(
            status=self.status,
            body=orjson.dumps(members | self.extensions),
            headers=retry_after | self.headers,
            content_type="application/problem+json",
        )


def from_error(error: Exception) -> Problem:
    """The problem that an exception is for the caller; what nobody foresaw is logged and told as `internal`."""
    if isinstance(error, Problem):
        return error
    for kind, slug in _ERRORS.items():
        if isinstance(error, kind):
            return Problem(slug, str(error))
    logger.error("a request failed", exc_info=error)
    return Problem("internal", "an error that nobody foresaw; it is in the server's log. Sending the same images again is harmless.")


def _from_http(error: web.HTTPException, request: web.Request) -> web.StreamResponse:
    """Errors of aiohttp itself (no such path, wrong method, a body too large to read) in our form."""
    if error.status < 400:
        raise error
    slug = _STATUSES.get(error.status, "bad-request")
    detail = {
        404: "no call has this path: /docs lists them all",
        405: f"{request.method} is not possible here: {error.headers.get('Allow', '')} is",
    }.get(error.status, error.reason)
    response = Problem(slug, detail).response()
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Middleware: whatever a handler raises becomes problem+json."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _from_http(error, request)
    except ConnectionError:
        raise  # the caller is gone: nobody is left to be told
    except Exception as error:  # noqa: BLE001 - the boundary: from_error logs what nobody foresaw
        return from_error(error).response()


def json_response(value: Any, status: int = 200) -> web.Response:
    """An answer in JSON."""
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")


def model_response(model: BaseModel, status: int = 200) -> web.Response:
    """An answer in JSON, from the model that describes it."""
    return web.Response(status=status, body=model.model_dump_json().encode(), content_type="application/json")
