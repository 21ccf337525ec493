"""The calls of docs/http.md, one method each: builds requests, reads answers, and turns everything that can go wrong into a ServerError.

Tries nothing twice and decides nothing; that is for `uploads.py`, `stream.py` and `session.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import orjson
from aiohttp import hdrs

from convnet_kafka.client.errors import BrokenAnswer, Refused, ServerAway, Unreachable, error_of
from convnet_kafka.client.label import Filter
from convnet_kafka.client.packing import Batch
from convnet_kafka.errors import ServerError, SettingsError
from convnet_kafka.messages import Lane
from convnet_kafka.tracing import calls

# A server that is there accepts a connection in milliseconds; this is for the other side of the world.
_CONNECT_S = 10.0
# Between two reads: the labels stream has a heartbeat every 10 s.
_STREAM_SILENCE_S = 35.0
# From the end of an upload to its answer: Kafka has 15 s to acknowledge, the server 120 s for a whole request.
_ANSWER_S = 150.0
# A server, or a proxy that has never heard of 100 (Continue), may stay silent; then the body is sent unasked (RFC 9110, 10.1.1).
_CONTINUE_S = 5.0
_LARGEST_ANSWER_DETAIL = 500
_JOBS = "/v1/jobs/"


@dataclass(frozen=True, slots=True)
class UploadAnswer:
    """What became of a batch.

    Attributes:
        refused: names that will never be accepted, with code and detail.
        unknown: names that may or may not be stored, with the detail.
    """

    refused: Mapping[str, tuple[str, str]]
    unknown: Mapping[str, str]


class Api:
    """One server.

    Args:
        url: `http://host:port`, with a path before `/v1` if a proxy adds one.
        key: the API key, where the server asks for one.
        tracing: whether calls are traced by the application's OpenTelemetry.

    Attributes:
        traces: makes spans, or None.

    Raises:
        SettingsError: the address, the key, or tracing cannot be used.
    """

    def __init__(self, url: str, key: str | None = None, *, tracing: bool = False) -> None:
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise SettingsError(f"the server must be an http:// or https:// address, not {url!r}: for example http://127.0.0.1:8080")
        if key is not None and not (key.isascii() and key.isprintable() and key and " " not in key):
            # It is not shown: it may be a key with a line end behind it.
            raise SettingsError("the API key holds characters that no key has, or nothing: is it the right file or variable?")
        self._headers = {hdrs.AUTHORIZATION: f"Bearer {key}"} if key is not None else {}
        self._session: aiohttp.ClientSession | None = None
        self._ask_first = True
        self._met = False
        self.traces = calls(self.url) if tracing else None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # No limit of its own: a job's stream holds a connection until all its labels are there, and the uploads of as many jobs at
            # once as there were connections waited behind their streams for ever. Each job bounds its uploads itself.
            connector=aiohttp.TCPConnector(limit=0),
            request_class=_Request,
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_ANSWER_S),
            json_serialize=lambda value: orjson.dumps(value).decode(),
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()

    async def open_job(self, lane: Lane = Lane.BULK) -> str:
        """Open a job and return its id.

        Raises:
            ServerError: it could not be opened.
        """
        answer = await self._json("POST", "/v1/jobs", params={"lane": lane.value} if lane is not Lane.BULK else {})
        job = answer.get("job")
        if not isinstance(job, str) or not job:
            raise Refused(f"what answers at {self.url} is not a convnet-kafka server (it opened no job): check the address", status=200)
        return job

    async def close_job(self, job: str, images: int) -> None:
        """Say how many distinct images a job has.

        Raises:
            ServerError: not acknowledged; saying it again is harmless.
        """
        await self._json("POST", f"{_job_path(job)}/close", json={"images": images})

    async def cancel_job(self, job: str) -> dict[str, Any]:
        """Cancel what has no result yet; returns the job as docs/http.md shows it.

        Raises:
            ServerError: no such job, or not acknowledged; saying it again is harmless.
        """
        return await self._json("DELETE", _job_path(job))

    async def job_status(self, job: str) -> dict[str, Any]:
        """The job as docs/http.md shows it.

        Raises:
            ServerError: no such job, or no answer.
        """
        return await self._json("GET", _job_path(job))

    async def labels_page(self, job: str, cursor: str | None, limit: int, only: Filter) -> dict[str, Any]:
        """One page of results.

        Raises:
            ServerError: no such job, or no answer.
        """
        params = {"limit": str(limit)} | only.query | ({"cursor": cursor} if cursor is not None else {})
        return await self._json("GET", f"{_job_path(job)}/labels", params=params)

    @asynccontextmanager
    async def labels_stream(self, job: str, cursor: str | None, only: Filter) -> AsyncIterator[aiohttp.StreamReader]:
        """The NDJSON stream of results; what breaks while it is read is a ServerError as well.

        Raises:
            ServerError: no such job, or the connection broke.
        """
        async with self._request(
            "GET",
            f"{_job_path(job)}/labels",
            params=only.query | ({"cursor": cursor} if cursor is not None else {}),
            headers={hdrs.ACCEPT: "application/x-ndjson"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_STREAM_SILENCE_S),
        ) as response:
            yield response.content

    async def upload(self, job: str, batch: Batch) -> UploadAnswer:
        """Send a batch as one tar request.

        Raises:
            ServerError: refused as a whole, or broken; the images may or may not be stored.
        """
        begun = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            begun.set()
            for piece in batch.body():
                yield piece

        headers = {hdrs.CONTENT_TYPE: "application/x-tar", hdrs.CONTENT_LENGTH: str(batch.body_bytes)}
        try:
            async with asyncio.timeout(None) as limit:
                watch = asyncio.create_task(self._watch_continue(begun, limit)) if self._ask_first else None
                try:
                    answer = await self._json("POST", f"{_job_path(job)}/images", data=body(), headers=headers, expect100=self._ask_first)
                finally:
                    if watch is not None:
                        watch.cancel()
        except TimeoutError as error:
            raise ServerAway(f"the server at {self.url} did not say within {_CONTINUE_S:g} s that it wants the images") from error
        return _accounted(answer, batch)

    async def classify(self, content: bytes, name: str, timeout_s: float) -> dict[str, Any]:
        """One image on the fast lane, as docs/http.md answers it.

        Raises:
            ServerError: refused, or not answered.
        """
        params = {"name": name, "timeout": f"{timeout_s:g}"}
        headers = {hdrs.CONTENT_TYPE: "application/octet-stream"}
        return await self._json("POST", "/v1/classify", params=params, headers=headers, data=content)

    async def classify_all(self, batch: Batch, timeout_s: float) -> dict[str, Any]:
        """A few images on the fast lane, as docs/http.md answers them.

        Raises:
            ServerError: refused as a whole, or not answered.
        """
        headers = {hdrs.CONTENT_TYPE: "application/x-tar"}
        params = {"timeout": f"{timeout_s:g}"}
        return await self._json("POST", "/v1/classify", params=params, headers=headers, data=b"".join(batch.body()))

    async def _watch_continue(self, begun: asyncio.Event, limit: asyncio.Timeout) -> None:
        """Break a request off that waits in vain for the word to go on."""
        try:
            await asyncio.wait_for(begun.wait(), _CONTINUE_S)
        except TimeoutError:
            self._ask_first = False
            limit.reschedule(asyncio.get_running_loop().time())

    async def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        async with self._request(method, path, **options) as response:
            raw = await response.read()
            try:
                answer = orjson.loads(raw)
            except orjson.JSONDecodeError:
                answer = None
            if not isinstance(answer, dict):
                raise BrokenAnswer(f"what answers at {self.url} is not a convnet-kafka server (no JSON came): check the address")
            self._met = True
            return answer

    @asynccontextmanager
    async def _request(self, method: str, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        if self.traces is None:
            async with self._answer(method, path, **options) as response:
                yield response
            return
        headers = dict(options.pop("headers", None) or {})
        with self.traces.call(method, _route(path), headers) as call:
            async with self._answer(method, path, headers=headers, on_status=call.answered, **options) as response:
                yield response

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, on_status: Callable[[int], None] | None = None, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("the client is used outside of its `async with`")
        try:
            async with self._session.request(method, self.url + path, allow_redirects=False, **options) as response:
                if on_status is not None:
                    on_status(response.status)
                if response.status >= 300:
                    # Its body is not worth a connection, and after an answer before the body nobody knows what is still on the line.
                    try:
                        raise await self._problem(response)
                    finally:
                        response.close()
                yield response
        except aiohttp.ConnectionTimeoutError as error:
            raise Unreachable(f"the server at {self.url} cannot be reached: no connection within {_CONNECT_S:g} s") from error
        except TimeoutError as error:
            raise ServerAway(f"the server at {self.url} did not answer in time") from error
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(f"the server at {self.url} cannot be reached: {_reason(error)}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ServerAway(f"the connection to the server at {self.url} broke: {_reason(error)}") from error

    async def _problem(self, response: aiohttp.ClientResponse) -> ServerError:
        """An error answer as an exception: the server's own words when it is a problem+json, else the status."""
        if response.status < 400:
            target = response.headers.get(hdrs.LOCATION, "elsewhere")
            return Refused(f"the server at {self.url} points to {target}: use that address", status=response.status)
        try:
            problem = orjson.loads(await response.read())
        except (orjson.JSONDecodeError, aiohttp.ClientError, TimeoutError):
            problem = None
        if not isinstance(problem, dict):
            problem = {}
        slug = str(problem.get("type", "")).rpartition("/")[2] or None
        if response.status == 404 and slug is None and self._met:
            # None of the server's own. A proxy may know no way to servers that are all away for a moment: Traefik's Ingress says 404 then,
            # where others say 503.
            return ServerAway(f"the server at {self.url} is away: what stands before it answered 404")
        text = str(problem.get("detail") or problem.get("title") or response.reason or "no reason given")[:_LARGEST_ANSWER_DETAIL]
        return error_of(
            f"the server at {self.url} answered {response.status}: {text}",
            response.status,
            slug,
            _retry_after_s(response.headers.get(hdrs.RETRY_AFTER)),
        )


class _Request(aiohttp.ClientRequest):
    """A request whose body is sent by a task that nobody waits for once the connection has gone.

    aiohttp lets that task end with an error when the connection goes before the headers of a request with `Expect`, and asyncio then prints
    a traceback. Whoever waits for the answer is told the same.
    """

    async def write_bytes(self, *args: Any, **options: Any) -> None:
        with contextlib.suppress(aiohttp.ClientConnectionResetError):
            await super().write_bytes(*args, **options)


def _job_path(job: str) -> str:
    return f"{_JOBS}{quote(job, safe='')}"


def _route(path: str) -> str:
    """A path as its template: a job's id gives access to it and stands in no span."""
    if not path.startswith(_JOBS):
        return path
    _, slash, rest = path.removeprefix(_JOBS).partition("/")
    return f"{_JOBS}{{job}}{slash}{rest}"


def _reason(error: BaseException) -> str:
    """What the system said, without aiohttp's words around it."""
    inner = getattr(error, "os_error", None) or error
    # asyncio writes "Connect call failed" over the system's words; a resolver's errors are negative and keep theirs.
    number = getattr(inner, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__


def _retry_after_s(value: str | None) -> float | None:
    """Seconds from a Retry-After header: a number, or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _accounted(answer: Mapping[str, Any], batch: Batch) -> UploadAnswer:
    """An answer that accounts for every image of the batch by count and name.

    Raises:
        BrokenAnswer: it does not.
    """
    names = set(batch.names)
    refused: dict[str, tuple[str, str]] = {}
    unknown: dict[str, str] = {}
    try:
        for problem in answer["problems"]:
            name, detail = problem["name"], str(problem.get("detail") or "")
            if name in names and problem["status"] == "refused":
                refused[name] = (str(problem["code"]), detail)
            elif name in names and problem["status"] == "unknown":
                unknown[name] = detail
        complete = answer["accepted"] + len(refused) + len(unknown) == len(batch)
        complete = complete and (answer["refused"], answer["unknown"]) == (len(refused), len(unknown))
    except (KeyError, TypeError, AttributeError) as error:
        raise BrokenAnswer("the server's answer to an upload is not as docs/http.md says") from error
    if not complete:
        raise BrokenAnswer(
            f"the server's answer to an upload of {len(batch)} images speaks of {answer['accepted']} accepted, {answer['refused']} "
            f"refused, {answer['unknown']} unknown, of which {len(refused) + len(unknown)} are named"
        )
    return UploadAnswer(refused, unknown)
