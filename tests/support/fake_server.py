"""A server that plays docs/http.md in memory, in a thread of its own, and misbehaves on request: the client's stand-in for the real one."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import io
import tarfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from convnet_kafka.server.processes import reserve
from support.misbehaviour import Fast, Upload


@dataclass
class FakeJob:
    """What a job holds: each image once by name and bytes, and the lines of its labels stream in order."""

    images: dict[str, str] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    closes: list[int] = field(default_factory=list)
    cancelled: bool = False

    @property
    def total(self) -> int | None:
        return max(self.closes, default=None)

    @property
    def complete(self) -> bool:
        return self.total is not None and len({line["image"] for line in self.lines}) >= self.total


PLAN = web.RequestKey("plan", Upload)


class FakeServer:
    """The server. Attributes may be set before requests come; `uploads` and `streams` are used up one a request."""

    def __init__(self, *, label: Callable[[str], bool] = lambda name: True) -> None:
        self.jobs: dict[str, FakeJob] = {}
        self.uploads: deque[Upload] = deque()
        # What the next streams do: bytes after which the connection breaks, or "reconnect", or a text to send first.
        self.streams: deque[int | str] = deque()
        self.every_upload: Upload | None = None
        self.fast: deque[Fast] = deque()
        # As a server that is older than the filters.
        self.knows_filters = True
        self.opening: deque[web.Response] = deque()
        self.requests: Counter[str] = Counter()
        self.cursors: list[str | None] = []
        self.members: Counter[str] = Counter()
        self.label = label
        self.refuse: Callable[[str, bytes], str | None] = lambda name, content: None if content.startswith(b"\x89PNG") else "unsupported"
        self.max_body: int | None = None
        # As a proxy that knows nothing of `Expect`: neither says to go on nor refuses.
        self.never_continues = False
        self.on_upload: Callable[[], None] = lambda: None
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None
        # Bound for as long as this lives and never listening: nobody else gets the port while the server is stopped.
        self._reserved = reserve("127.0.0.1", 0)

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        asyncio.run_coroutine_threadsafe(self._end_tasks(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._reserved.close()

    def start(self) -> None:
        """Listen, on the same port as before."""
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def stop(self) -> None:
        """Break every connection off and listen no more, as kill -9 would; what was stored stays."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Call something on the server's loop after a while."""
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, what)

    def label_all(self) -> None:
        """Label what was held back."""
        self.label = lambda name: True

        def go() -> None:
            for job in self.jobs.values():
                done = {line["image"] for line in job.lines}
                for image, name in job.images.items():
                    if image not in done:
                        self._label(job, image, name)

        self._loop.call_soon_threadsafe(go)

    def replay(self, name: str) -> None:
        """Label an image once more, as after an operator's replay."""

        def go() -> None:
            for job in self.jobs.values():
                for image in [image for image, other in job.images.items() if other == name]:
                    self._label(job, image, name, revision=1)

        self._loop.call_soon_threadsafe(go)

    def add_line(self, job: FakeJob, line: dict[str, Any]) -> None:
        """Add any line to a job's labels."""
        line["cursor"] = str(len(job.lines) + 1)
        job.lines.append(line)
        self._notify()

    @property
    def job(self) -> FakeJob:
        """The only job."""
        (job,) = self.jobs.values()
        return job

    async def _start(self) -> None:
        app = web.Application(client_max_size=2**30, middlewares=[self._known])
        app.add_routes(
            [
                web.post("/v1/jobs", self._open),
                web.post("/v1/jobs/{job}/images", self._images, expect_handler=self._expect),
                web.post("/v1/jobs/{job}/close", self._close),
                web.get("/v1/jobs/{job}", self._status),
                web.delete("/v1/jobs/{job}", self._cancel),
                web.post("/v1/classify", self._classify),
                web.get("/v1/jobs/{job}/labels", self._labels),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.01, access_log=None)
        await self._runner.setup()
        port = self._reserved.getsockname()[1]
        await web.TCPSite(self._runner, "127.0.0.1", port, reuse_port=True).start()
        self.url = f"http://127.0.0.1:{port}"

    async def _stop(self) -> None:
        if self._runner is None:
            return
        for connection in list(self._runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await self._runner.cleanup()
        self._runner = None
        # Python 3.11 loses a connection that is accepted while the server closes: open, known to nobody, until its object is collected.
        gc.collect()

    async def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    @web.middleware
    async def _known(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.match_info.get("job", "") not in {"", *self.jobs}:
            return problem(404, "job-unknown", "there is no such job")
        return await handler(request)

    async def _open(self, _request: web.Request) -> web.Response:
        self.requests["open"] += 1
        if self.opening:
            return self.opening.popleft()
        job = f"job-{len(self.jobs) + 1}"
        self.jobs[job] = FakeJob()
        return web.json_response({"job": job, "expires_at_ms": 1}, status=201)

    def _find(self, request: web.Request) -> FakeJob:
        return self.jobs[request.match_info["job"]]

    async def _expect(self, request: web.Request) -> web.Response | None:
        self.on_upload()
        if self.never_continues:
            await asyncio.Event().wait()
        plan = self.every_upload or (self.uploads.popleft() if self.uploads else Upload())
        request[PLAN] = plan
        if plan.status:
            self.requests["upload"] += 1
            if plan.by_proxy:
                return web.Response(status=plan.status, text="404 page not found")
            return problem(plan.status, "too-many-uploads", "not now", plan.headers)
        if self.max_body is not None and (request.content_length or 0) > self.max_body:
            self.requests["upload"] += 1
            return problem(413, "too-large", "this is too much")
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    async def _images(self, request: web.Request) -> web.Response:
        self.requests["upload"] += 1
        job, plan = self._find(request), request.get(PLAN) or Upload()
        body = await request.read()
        if job.cancelled:
            return problem(409, "job-cancelled", "this job has been cancelled")
        members = list(untar(body))
        if plan.cut is not None:
            for name, content in members[: round(len(members) * plan.cut)]:
                self._store(job, name, content)
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        problems = []
        for name, content in members:
            self.members[name] += 1
            code = self.refuse(name, content)
            if code:
                problems.append({"name": name, "status": "refused", "code": code, "detail": "not a picture"})
            elif plan.unknown(name):
                problems.append({"name": name, "status": "unknown", "code": "not-acknowledged", "detail": "send it again"})
                if plan.store_unknown:
                    self._store(job, name, content)
            else:
                self._store(job, name, content)
        refused = sum(item["status"] == "refused" for item in problems)
        unknown = len(problems) - refused
        truth = {"accepted": len(members) - len(problems), "refused": refused, "unknown": unknown, "problems": problems}
        return web.json_response(plan.lie if plan.lie is not None else truth, status=202)

    def _store(self, job: FakeJob, name: str, content: bytes) -> None:
        image = hashlib.blake2b(name.encode() + b"\0" + content, digest_size=16).hexdigest()
        if image in job.images:
            return
        job.images[image] = name
        if self.label(name):
            self._label(job, image, name)

    def _label(self, job: FakeJob, image: str, name: str, revision: int = 0) -> None:
        line: dict[str, Any] = {"image": image, "name": name, "revision": revision, "lane": "bulk"}
        if "bad" in name and not revision:
            line |= {"error": "undecodable", "detail": "broken", "model": None}
        else:
            line |= {"label": "seven", "confidence": 0.5, "model": 3}
        self.add_line(job, {**line, "submitted_at_ms": 1, "labelled_at_ms": 2})

    async def _close(self, request: web.Request) -> web.Response:
        self.requests["close"] += 1
        job = self._find(request)
        job.closes.append((await request.json())["images"])
        self._notify()
        return web.json_response(self._status_of(job))

    async def _cancel(self, request: web.Request) -> web.Response:
        self.requests["cancel"] += 1
        job = self._find(request)
        job.cancelled = True
        done = {line["image"] for line in job.lines}
        for image, name in job.images.items():
            if image not in done:
                line = {"image": image, "name": name, "revision": 0, "error": "cancelled", "detail": "its job was cancelled", "model": None}
                self.add_line(job, line)
        self._notify()
        return web.json_response(self._status_of(job))

    async def _classify(self, request: web.Request) -> web.Response:
        self.requests["classify"] += 1
        plan = self.fast.popleft() if self.fast else Fast()
        if plan.status:
            return problem(plan.status, "too-many-uploads", "not now", {"Retry-After": "1"})
        token = f"job-{len(self.jobs) + 1}"
        job = self.jobs[token] = FakeJob()
        problems, missing = [], []
        for name, content in untar(await request.read()):
            self.members[name] += 1
            code = self.refuse(name, content)
            if code:
                problems.append({"name": name, "status": "refused", "code": code, "detail": "not a picture"})
            elif plan.unknown(name):
                problems.append({"name": name, "status": "unknown", "code": "not-acknowledged", "detail": "send it again"})
            elif plan.missing(name):
                missing.append(name)
            else:
                self._store(job, name, content)
        lines = list(job.lines)
        for name in missing:
            self._store(job, name, b"later" + name.encode())
        answer = {"job": token, "labels": lines, "missing": missing, "problems": problems}
        return web.json_response(answer, status=202 if missing else 200)

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response(self._status_of(self._find(request)))

    def _status_of(self, job: FakeJob) -> dict[str, Any]:
        failed = sum("error" in line for line in job.lines)
        return {
            "state": "cancelled" if job.cancelled else "open" if job.total is None else "closed",
            "total": job.total,
            "labelled": len(job.lines) - failed,
            "failed": failed,
            "complete": job.complete,
            "opened_at_ms": 1,
            "expires_at_ms": 2,
        }

    async def _labels(self, request: web.Request) -> web.StreamResponse:
        job = self._find(request)
        cursor = request.query.get("cursor")
        at = int(cursor or 0)
        if "ndjson" not in request.headers.get("Accept", ""):
            limit = min(int(request.query["limit"]), 3)
            lines = job.lines[at : at + limit]
            cursor = str(at + len(lines))
            return web.json_response(
                {"labels": self._filtered(request, lines), "cursor": cursor, "total": job.total, "complete": job.complete and not lines}
            )
        self.requests["stream"] += 1
        self.cursors.append(cursor)
        fault = self.streams.popleft() if self.streams else None
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        left = fault if isinstance(fault, int) else None
        if isinstance(fault, str) and fault != "reconnect":
            await response.write(fault.encode())
        while True:
            if fault == "reconnect" and job.lines:
                await response.write(orjson.dumps({"end": "reconnect", "cursor": str(at), "total": None}) + b"\n")
                return response
            changed = self._changed
            data = b"".join(orjson.dumps(line) + b"\n" for line in self._filtered(request, job.lines[at:]))
            at = len(job.lines)
            if job.complete:
                data += orjson.dumps({"end": "complete", "cursor": str(at), "total": job.total}) + b"\n"
            if left is not None and len(data) >= left:
                await response.write(data[:left])
                assert request.transport is not None
                request.transport.close()
                return response
            if data:
                left = left - len(data) if left is not None else None
                await response.write(data)
            if job.complete:
                return response
            await changed.wait()

    def _filtered(self, request: web.Request, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not self.knows_filters:
            return lines
        failed, below = request.query.get("failed"), request.query.get("below")
        if failed is not None:
            lines = [line for line in lines if ("error" in line) is (failed == "true")]
        if below is not None:
            lines = [line for line in lines if line.get("confidence", 1) < float(below)]
        return lines


def problem(status: int, slug: str, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """A problem+json answer."""
    body = orjson.dumps({"type": f"/problems/{slug}", "title": slug, "status": status, "detail": detail})
    return web.Response(status=status, body=body, content_type="application/problem+json", headers=headers)


def untar(body: bytes) -> Iterator[tuple[str, bytes]]:
    """With the standard library's own reader."""
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:") as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            yield member.name, file.read()
