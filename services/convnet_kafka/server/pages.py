"""What people see in a browser: the page at `/`, the API's documentation at `/docs`, and a page for each kind of problem.

Owns the files under `web/`, read once when the application is built, and the headers that keep a browser from doing anything else with
them. Serves no other file, asks for no key, and needs neither Kafka nor a network.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

from aiohttp import hdrs, web

from convnet_kafka.server.describing import described
from convnet_kafka.server.problem_types import SLUGS
from convnet_kafka.server.problems import json_response

# Nothing but our own files and calls; no inline script or style, no HTML made from text, no frames. Thumbnails are canvases.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_PAGES = {"/": "index.html", "/docs": "docs.html"}
_PROBLEM = "problem.html"


@dataclass(frozen=True, slots=True)
class File:
    """One file of the page.

    Attributes:
        body: its bytes.
        content_type: with its character set.
        tag: changes with the bytes.
    """

    body: bytes
    content_type: str
    tag: str

    @classmethod
    def of(cls, name: str, body: bytes) -> File:
        """From the bytes of a file with this name."""
        kind = _TYPES[name.rpartition(".")[2]]
        return cls(body, f"{kind}; charset=utf-8", hashlib.sha256(body).hexdigest()[:32])


class Pages:
    """The handlers. Reads the files when made."""

    def __init__(self) -> None:
        folder = files("convnet_kafka.server") / "web"
        self._files = {
            each.name: File.of(each.name, each.read_bytes()) for each in folder.iterdir() if each.name.rpartition(".")[2] in _TYPES
        }
        self._problem = Template(self._files[_PROBLEM].body.decode())

    def routes(self) -> list[web.RouteDef]:
        """The routes served here."""
        return [
            *(web.get(path, self.page) for path in _PAGES),
            web.get("/web/{file}", self.file),
            web.get("/problems/{slug}", self.problem),
        ]

    async def page(self, request: web.Request) -> web.Response:
        """One of the pages."""
        return _answer(request, self._files[_PAGES[request.path]])

    async def file(self, request: web.Request) -> web.Response:
        """A style, a script or a picture of a page; only what was read at the start."""
        name = request.match_info["file"]
        found = self._files.get(name)
        if found is None or name.endswith(".html"):
            raise web.HTTPNotFound
        return _answer(request, found)

    @described("What a kind of problem means", tag="service", answers={200: None}, problems=("not-found",))
    async def problem(self, request: web.Request) -> web.Response:
        """As a page, or as JSON for those who do not ask for HTML."""
        slug = request.match_info["slug"]
        kind = SLUGS.get(slug)
        if kind is None:
            raise web.HTTPNotFound
        if "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
            return json_response({"type": f"/problems/{slug}", **kind._asdict()})
        told = {name: _markup(str(value)) for name, value in {"slug": slug, **kind._asdict()}.items()}
        return _answer(request, File.of(_PROBLEM, self._problem.substitute(told).encode()))


def _markup(text: str) -> str:
    """Text as HTML, where what stands in backquotes is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _answer(request: web.Request, file: File) -> web.Response:
    """A file, or 304 to a browser that has it. Browsers ask each time: a new version of the server is a new page at once."""
    headers = {**SECURITY_HEADERS, hdrs.ETAG: f'"{file.tag}"', hdrs.CACHE_CONTROL: "no-cache"}
    known = request.if_none_match
    if known is not None and any(tag.value in {file.tag, "*"} for tag in known):
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.body, headers={**headers, hdrs.CONTENT_TYPE: file.content_type})
