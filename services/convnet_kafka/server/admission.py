"""What is checked before a body is read, and so before `100 Continue`: the job, the size, the type, room, and whether Kafka answers.

An answer in the middle of a body is lost to most callers; one before it is not.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import HttpVersion11, web

from convnet_kafka.metrics import ServerMetrics
from convnet_kafka.server.accesslog import ACCESS_LOG, lane_of, route_of
from convnet_kafka.server.auth import GUARD
from convnet_kafka.server.lifecycle import Lifecycle
from convnet_kafka.server.problems import Problem, from_error
from convnet_kafka.server.traced import tell_refusal


def check_serving(lifecycle: Lifecycle) -> None:
    """New work is still taken.

    Raises:
        Problem: this server is going away.
    """
    if lifecycle.draining:
        raise Problem("shutting-down", "this server is going away: send it again, another one answers")


def guarded(routes: Iterable[web.AbstractRouteDef], metrics: ServerMetrics) -> list[web.AbstractRouteDef]:
    """The same routes, where those that check nothing before a body is sent at least ask who sends it."""
    ask = {"expect_handler": expect_handler(lambda _: None, metrics)}
    return [
        web.RouteDef(route.method, route.path, route.handler, ask | route.kwargs) if isinstance(route, web.RouteDef) else route
        for route in routes
    ]


def expect_handler(
    check: Callable[[web.Request], object], metrics: ServerMetrics
) -> Callable[[web.Request], Awaitable[web.Response | None]]:
    """The answer to `Expect: 100-continue`: go on, or at once what is wrong.

    Args:
        check: raises what is wrong with a request; called again by the handler itself, so it must take nothing.
        metrics: counts refusals, which no middleware sees; they are logged for the same reason.
    """

    async def expect(request: web.Request) -> web.Response | None:
        started = time.monotonic()
        try:
            request.app[GUARD].admit(request)
            check(request)
        except Exception as error:  # noqa: BLE001 - the boundary: from_error logs what nobody foresaw
            response = from_error(error).response()
            # The caller keeps its body, so nothing can follow on this connection.
            response.force_close()
            metrics.answered(route_of(request), response.status, time.monotonic() - started, lane_of(request))
            request.app[ACCESS_LOG].tell(request, response.status, started)
            tell_refusal(request, response.status)
            return response
        # Other expectations may be ignored (RFC 9110, section 10.1.1).
        if request.version >= HttpVersion11 and request.headers["Expect"].lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the answer itself has not begun
        return None

    return expect
