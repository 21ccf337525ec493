"""What is checked before a body is read, and so before `100 Continue`: the job, the size, the type, room, and whether Kafka answers.

An answer in the middle of a body is lost to most callers; one before it is not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import HttpVersion11, web

from convnet_kafka.metrics import ServerMetrics
from convnet_kafka.server.lifecycle import Lifecycle
from convnet_kafka.server.problems import Problem, from_error

TAR_TYPES = frozenset({"application/x-tar", "application/tar"})


def is_tar(request: web.Request) -> bool:
    """True when the body is many images."""
    return request.content_type in TAR_TYPES


def check_body(request: web.Request, *, max_request_bytes: int, max_image_bytes: int) -> None:
    """The body is of a type that is taken, and not said to be too large.

    Raises:
        Problem: it is not.
    """
    kind = request.content_type
    if not (is_tar(request) or kind.startswith("image/") or kind == "application/octet-stream"):
        raise Problem(
            "unsupported",
            f"the content type is {kind[:100]!r}; send one image as image/* or application/octet-stream, or many as application/x-tar",
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem("unsupported", "the body has a Content-Encoding: send it as it is (images do not get smaller)")
    limit = max_request_bytes if is_tar(request) else max_image_bytes
    if request.content_length is not None and request.content_length > limit:
        what = "a request may have" if is_tar(request) else "an image may have"
        raise Problem("too-large", f"the body has {request.content_length} bytes; {what} {limit}")


def check_serving(lifecycle: Lifecycle) -> None:
    """New work is still taken.

    Raises:
        Problem: this server is going away.
    """
    if lifecycle.draining:
        raise Problem("shutting-down", "this server is going away: send it again, another one answers")


def expect_handler(
    check: Callable[[web.Request], object], metrics: ServerMetrics
) -> Callable[[web.Request], Awaitable[web.Response | None]]:
    """The answer to `Expect: 100-continue`: go on, or at once what is wrong.

    Args:
        check: raises what is wrong with a request; called again by the handler itself, so it must take nothing.
        metrics: counts refusals, which no middleware sees.
    """

    async def expect(request: web.Request) -> web.Response | None:
        try:
            check(request)
        except Exception as error:  # noqa: BLE001 - the boundary: from_error logs what nobody foresaw
            response = from_error(error).response()
            # The caller keeps its body, so nothing can follow on this connection.
            response.force_close()
            metrics.requests.labels(route_of(request), str(response.status)).inc()
            return response
        # Other expectations may be ignored (RFC 9110, section 10.1.1).
        if request.version >= HttpVersion11 and request.headers["Expect"].lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the answer itself has not begun
        return None

    return expect


def route_of(request: web.Request) -> str:
    """The route's template, never the path: a path may hold a job id."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"
