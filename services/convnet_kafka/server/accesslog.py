"""One line for every answered request: what was asked by its route, never by its path, and whose key it was, never the key.

At info where the settings say so, else at debug: at full rate it costs more than a small request. Shows neither job ids nor names of images
unless asked, and never what gives access to a job.
"""

from __future__ import annotations

import logging
import time

import structlog
from aiohttp import web

from convnet_kafka.logs import ACCESS_LOGGER
from convnet_kafka.messages import Lane, clip
from convnet_kafka.server.auth import known_caller
from convnet_kafka.server.jobs import random_part

logger = structlog.get_logger(ACCESS_LOGGER)
_gate = logging.getLogger(ACCESS_LOGGER)

# As a widespread proxy counts callers that went away before their answer; no RFC has a number for it.
CALLER_GONE = 499
_NAME_BYTES = 200
# Asked every few seconds by machines; nobody reads about that.
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_IMAGES = web.RequestKey("images", int)
_LANE = web.RequestKey("lane", str)


class AccessLog:
    """Writes the lines.

    Args:
        at_info: write them at info.
        names: with the random part of the job's id, and the name of a body that is one image.
    """

    def __init__(self, *, at_info: bool, names: bool) -> None:
        self._at_info = at_info
        self._names = names

    def tell(self, request: web.Request, status: int, started: float) -> None:
        """Write the line of a request that began at this `time.monotonic()`."""
        route = route_of(request)
        level = logging.INFO if self._at_info and route not in _PROBES else logging.DEBUG
        if not _gate.isEnabledFor(level):
            return  # before anything is put together: this costs every request
        caller = known_caller(request)
        more = {"key": caller.name, "tenant": caller.tenant} if caller is not None and caller.name else {}
        logger.log(
            level,
            "request",
            method=request.method,
            route=route,
            status=status,
            seconds=round(time.monotonic() - started, 6),
            bytes=request.content.total_bytes,
            images=request.get(_IMAGES, 0),
            **more,
            **(_names(request) if self._names else {}),
        )


ACCESS_LOG = web.AppKey("access-log", AccessLog)


def note_images(request: web.Request, images: int) -> None:
    """Remember for the log how many images a request brought."""
    request[_IMAGES] = images


def note_lane(request: web.Request, lane: Lane) -> None:
    """Remember which lane a request's images are on."""
    request[_LANE] = lane.value


def lane_of(request: web.Request) -> str | None:
    """Which lane its images are on, where that was noted."""
    return request.get(_LANE)


def route_of(request: web.Request) -> str:
    """The route's template, never the path: a path may hold a job id."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"


def _names(request: web.Request) -> dict[str, str]:
    job = random_part(request.match_info.get("job", ""))
    name = request.query.get("name") or request.headers.get("Idempotency-Key")
    return ({"job": job} if job else {}) | ({"name": clip(name, _NAME_BYTES)} if name else {})
